# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power supplies as the firmware's SMBIOS tables list them. Private to gpuops.fleet: the names may change in any release.

Source: DMTF DSP0134 (System Management BIOS), section 6.1.2 and 6.1.3 (structure header, strings), 7.40 (System Power Supply, type 39). The tables
are read from the file that the kernel exports for root (Documentation/ABI/testing/sysfs-firmware-dmi-tables), without dmidecode.

Many firmwares fill these structures from a template: what cannot be true is refused here, with the reason.
"""

from __future__ import annotations

import re
import struct
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_bytes

TABLES = "/sys/firmware/dmi/tables/DMI"
# The 32-bit entry point can describe 64 KiB of tables; firmware of large servers uses up to some hundred KiB of the 64-bit one.
LIMIT_BYTES = 4 * 1024 * 1024
LIMIT_STRUCTURES = 65536

SYSTEM_POWER_SUPPLY, END_OF_TABLE = 39, 127
UNKNOWN_WATTS = 0x8000
# No server supply gives less; none that fits into one gives more. A smaller number is a placeholder, or was written in another unit.
PLAUSIBLE_WATTS = (200, 12000)
STATES = {3: "ok", 4: "failed", 5: "failed"}
PLACEHOLDER = re.compile(
    r"(to be filled.*|default string|not (specified|available|applicable)|unknown|none|null|n/?a|oem([_ -]?defined?\W*\d*)?|string\d*|[0x\W]*)\Z", re.IGNORECASE
)


def read(root: str = "") -> t.Tuple[t.Optional[t.Dict[str, t.Any]], str]:
    """`(source, reason)`: a power source as docs/architecture.md has it (Facts, power), or None and why there is none. Never raises."""
    data, why = read_bytes(root + TABLES, LIMIT_BYTES)
    if data is None:
        return None, why.replace(root, "", 1) if root else why
    return parse(data)


def parse(data: bytes) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], str]:
    """As `read`, of the bytes of the tables. Whatever they are, nothing is raised; a structure that is cut off ends the reading."""
    supplies: t.List[t.Dict[str, t.Any]] = []
    refused: t.List[t.Dict[str, str]] = []
    for body, strings in structures(data, SYSTEM_POWER_SUPPLY):
        supply, why = _supply(body, strings, len(supplies) + len(refused) + 1)
        if why:
            refused.append({"name": supply["name"], "reason": why})
            # A bay that is refused for what it says of its watts is still there: the capacity is then not known as a whole.
            if supply["state"] == "absent":
                continue
        supplies.append(supply)
    if not supplies and not refused:
        return None, "%s: no power supply (type 39)" % TABLES
    if all(supply["watts"] is None for supply in supplies if supply["state"] != "absent"):
        return None, "%s: %s" % (TABLES, "; ".join("%(name)s: %(reason)s" % one for one in refused[:4]) or "no power supply is present")
    groups: t.Dict[str, int] = {}
    for supply in supplies:
        if supply["redundancy_group"] and supply["state"] != "absent":
            groups[supply["redundancy_group"]] = groups.get(supply["redundancy_group"], 0) + 1
    # The same group number on several supplies says that they are redundant, not how many are needed: one may fail is the least it can mean.
    redundancy = [{"name": name, "members": members, "needed": members, "state": None} for name, members in sorted(groups.items()) if members > 1]
    return {
        "source": "smbios", "where": "%s type 39" % TABLES, "capacity_watts": None, "consumed_watts": None,
        "supplies": supplies, "redundancy": redundancy, "refused": refused,
    }, ""  # fmt: skip


def structures(data: bytes, wanted: int) -> t.Iterator[t.Tuple[bytes, t.List[str]]]:
    """`(formatted part with its header, strings)` of every structure of the type `wanted`."""
    offset = 0
    for _number in range(LIMIT_STRUCTURES):
        if offset + 4 > len(data):
            return
        kind, length = data[offset], data[offset + 1]
        end = data.find(b"\0\0", offset + length)
        # Length counts the header of 4 bytes; a shorter one would never come to an end.
        if length < 4 or offset + length > len(data) or end < 0:
            return
        if kind == wanted:
            text = data[offset + length : end]
            yield data[offset : offset + length], [part.decode("latin-1").strip() for part in text.split(b"\0")] if text else []
        if kind == END_OF_TABLE:
            return
        offset = end + 2


def _supply(body: bytes, strings: t.List[str], number: int) -> t.Tuple[t.Dict[str, t.Any], str]:
    """`(supply, reason why its watts do not count)`."""
    found: t.Dict[str, t.Any] = {
        "name": "supply %d" % number, "watts": None, "rated_watts": None, "state": "unknown", "hot_plug": None, "redundancy_group": None, "line_volts": None,
    }  # fmt: skip
    if len(body) < 0x10:
        return found, "the structure is too short"
    group, location, device, maker, _serial, _asset, part = struct.unpack_from("<7B", body, 4)
    watts, characteristics = struct.unpack_from("<HH", body, 0x0C)
    said = {name: _string(strings, index) for name, index in (("location", location), ("device", device), ("maker", maker), ("part", part))}
    found["name"] = said["location"] or said["device"] or found["name"]
    found["hot_plug"] = bool(characteristics & 1)
    if not characteristics & 2:
        found["state"] = "absent"
        return found, "not present"
    found["state"] = "unplugged" if characteristics & 4 else STATES.get(characteristics >> 7 & 7, "unknown")
    found["redundancy_group"] = str(group) if group else None
    if watts == UNKNOWN_WATTS:
        return found, "its capacity is unknown to the firmware"
    if not PLAUSIBLE_WATTS[0] <= watts <= PLAUSIBLE_WATTS[1]:
        return found, "%d W is not what a server's power supply gives" % watts
    if not (said["device"] or said["maker"] or said["part"]):
        return found, "the firmware's text is a placeholder (%s)" % (", ".join(repr(text) for text in strings[:3]) or "none")
    found["watts"] = found["rated_watts"] = float(watts)
    return found, ""


def _string(strings: t.List[str], index: int) -> t.Optional[str]:
    """The string with this number (1 is the first, 0 is none), or None when it says nothing."""
    text = strings[index - 1] if 0 < index <= len(strings) else ""
    return None if PLACEHOLDER.match(text) else re.sub(r"[^ -~]", "?", text)[:64]
