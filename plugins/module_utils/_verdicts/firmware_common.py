# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all firmware checks share: policy, links that cannot be seen, kernel messages, words for remedies. Private to gpuops.fleet."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import SKIPPED, Check, PolicyError, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.machine import guest, vendor

Device = t.Dict[str, t.Any]

BAREMETAL, PASSTHROUGH = ROLES = ("baremetal", "passthrough")
DISABLED, ANY = ASPM_EXPECTED = ("disabled", "any")
GATHER = "Gather facts with gpuops.fleet.gpu_facts as root on the host itself, not in a container."
LOG = "kernel log"


@dataclasses.dataclass(frozen=True)
class Policy:
    """What the user expects of the firmware. `bmc_settings`: attribute name → `{value, pending, canonical}`, None when no BMC was asked."""

    platform_role: str = BAREMETAL
    aspm_expected: str = DISABLED
    bmc_settings: t.Optional[t.Dict[str, t.Any]] = None

    def __post_init__(self) -> None:
        for option, allowed in (("platform_role", ROLES), ("aspm_expected", ASPM_EXPECTED)):
            if getattr(self, option) not in allowed:
                raise PolicyError("%s is %s: it must be one of %s" % (option, getattr(self, option), ", ".join(allowed)), option=option)
        for name, setting in (self.bmc_settings or {}).items():
            if not isinstance(setting, dict) or "value" not in setting:
                raise PolicyError("bmc_settings: %s has no value; pass what was read from the BMC, attribute name to {value, pending, canonical}" % name,
                                  option="bmc_settings")  # fmt: skip


def words(facts: t.Any, setting: str) -> str:
    """What to set, in the words of the vendor, of the hypervisor or of most firmware setups."""
    # Imported here: where nothing is wrong, no remedy is needed.
    from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import firmware_settings as catalog

    if guest(facts) and setting in catalog.GUEST:
        return catalog.GUEST[setting]
    return catalog.SETTINGS[setting].get(vendor(facts) or "") or catalog.GENERIC[setting]


def remedy(facts: t.Any, setting: str) -> str:
    """`words` as a sentence."""
    text = words(facts, setting)
    return "%s, then restart." % (text[0].upper() + text[1:])


def not_here(check: str, device: Device, facts: t.Any, expected: str) -> t.Optional[Check]:
    """The answer of a check about the physical link where there is none to see: in a virtual machine, or on a GPU that is gone."""
    who = known.subject(device)
    if guest(facts):
        kind = known.text(known.get(facts, "host", "virtualization"))
        return Check(check, who, SKIPPED, "virtual machine (%s): the link belongs to its host, check it there" % kind, expected)
    if known.text(device.get("virtualization_mode")) == "vgpu":
        return Check(check, who, SKIPPED, "virtual GPU: the link belongs to its host, check it there", expected)
    if device.get("state") == "lost":
        return Check(check, who, SKIPPED, "GPU is lost: its link cannot be read (gpu.lost tells more)", expected)
    return None


def events(facts: t.Any, address: t.Optional[str], *kinds: str) -> t.List[t.Dict[str, t.Any]]:
    """The events of the kernel log of one of `kinds` about the device at `address` (None: about no device)."""
    listed = known.get(facts, "host", "kernel_events")
    if not isinstance(listed, list):
        return []
    return [one for one in listed if isinstance(one, dict) and one.get("kind") in kinds and one.get("bus_address") == address]


def logged(event: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """A kernel event as evidence."""
    return evidence(LOG, known.text(event.get("text")) or str(event.get("kind")))


def integer(owner: t.Any, *keys: str) -> t.Optional[int]:
    """The whole number below `keys`, or None."""
    value = known.number(known.get(owner, *keys))
    return None if value is None else int(value)


def why(device: Device, field: str) -> str:
    """`: reason` why `field` of the device is not known, or nothing."""
    reason = known.text(known.get(device, "unavailable", field))
    return ": %s" % reason if reason else ""


def size(mib: float) -> str:
    """`256 MiB`, `32 GiB`."""
    return "%g GiB" % (mib / 1024) if mib >= 1024 else "%g MiB" % mib


def hexadecimal(value: t.Any) -> t.Optional[int]:
    """An address that the facts carry as text such as `0x39f000000000`, or None."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    try:
        address = int(value, 16)
    except (TypeError, ValueError):
        return None
    return address if address >= 0 else None
