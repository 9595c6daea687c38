# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.above_4g`: BAR1 has a proper place. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import row
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import (
    Device, events, hexadecimal, integer, logged, remedy, size, words,
)  # fmt: skip
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.machine import guest

NAME = "firmware.above_4g"
EXPECTED = "BAR1 at or above 4 GiB"
FOUR_GIB = 4 * known.GIB
MIB = 1 << 20
# A BAR1 of 256 MiB fits below 4 GiB on any machine; only a larger one needs Above 4G Decoding.
SMALL_BAR1_MIB = 256
VIRTUAL = " (by the virtual firmware of the virtual machine; its host's is not seen)"


def check(device: Device, facts: t.Any) -> Check:
    """The answer for one GPU."""
    who = known.subject(device)
    where = "%s/resource BAR1" % known.source(device, "pci", "sysfs:/sys/bus/pci/devices/%s" % who)
    address, native = bar1_address(device), native_bar1_mib(device)
    seen = [evidence(where, _shown(device))]
    told = _told(device, facts)
    virtual = VIRTUAL if guest(facts) else ""
    if unassigned(device) or integer(device, "bar1", "total_mib") == 0 or (address is None and told):
        if integer(device, "bar1", "total_mib") == 0:
            seen.append(evidence("%s BAR1 total" % known.source(device, "nvml", "NVML"), "0 MiB"))
        seen.extend(logged(event) for event in told + _bridge(device, facts))
        name = "BAR1" if native is None else "BAR1 (%s)" % size(native)
        summary = "%s is not assigned: Above 4G Decoding is off, or its window is too small" % name
        return Check(NAME, who, FAIL, summary + virtual, EXPECTED, seen, remedy(facts, "above_4g"))
    if address is None:
        place = where.rsplit(" ", 1)[0].split(":", 1)[-1]
        return Check(NAME, who, UNKNOWN, "where BAR1 lies is not known", EXPECTED, seen, "Read %s on the host itself (not in a container)." % place)
    misplaced = _misplaced(device, address)
    if misplaced:
        what = misplaced[0] + virtual
        return Check(NAME, who, FAIL, what, misplaced[1], seen + misplaced[2], "Update the firmware (in a virtual machine: the hypervisor), then restart.")
    # What the driver refused at its start is history when it works by now; another region than BAR1 shows in the log alone.
    refused = [] if device.get("state") == "ok" else [one for one in told if one.get("kind") == "bar_invalid" or one.get("code") != 1]
    if refused:
        seen.extend(logged(event) for event in refused + events(facts, None, "prefetch_window"))
        summary = "BAR%s has no place that the driver accepts" % refused[0].get("code")
        return Check(NAME, who, FAIL, summary + virtual, "every memory region of the GPU assigned", seen, remedy(facts, "above_4g"))
    if address >= FOUR_GIB:
        return Check(NAME, who, PASS, "BAR1 lies at %#x%s" % (address, virtual), EXPECTED, seen)
    if native is not None and native > SMALL_BAR1_MIB:
        summary = "BAR1 lies at %#x, below 4 GiB, although this board asks for %s" % (address, size(native))
        return Check(NAME, who, WARN, summary + virtual, EXPECTED, seen, remedy(facts, "above_4g"))
    return _small(device, facts, address, native, seen)


def _small(device: Device, facts: t.Any, address: int, native: t.Optional[float], seen: t.List[t.Dict[str, t.Any]]) -> Check:
    who = known.subject(device)
    other = next((one for one in proof(facts) if one is not device), None)
    if other is not None:
        seen.append(evidence("%s/resource BAR1" % known.source(other, "pci", known.subject(other)), _shown(other)))
        summary = "Above 4G Decoding is on: %s has its BAR1 above 4 GiB; this one is small and may lie below" % known.subject(other)
        return Check(NAME, who, PASS, summary, "Above 4G Decoding on", seen)
    if native is not None and (integer(device, "bar1", "size_mib") or 0) >= native:
        summary = "BAR1 lies at %#x in its full size of %s: this board needs no address above 4 GiB" % (address, size(native))
        return Check(NAME, who, PASS, summary, "BAR1 assigned in full", seen)
    return Check(
        NAME,
        who,
        UNKNOWN,
        "BAR1 is small and lies at %#x: Above 4G Decoding is off, or was not needed" % address,
        EXPECTED,
        seen,
        "Nothing is broken by it. To be sure, look in firmware setup: %s." % words(facts, "above_4g"),
    )


def proof(facts: t.Any) -> t.List[Device]:
    """The GPUs whose BAR1 proves that addresses above 4 GiB are handed out."""
    return [device for device in known.devices(facts) if (bar1_address(device) or 0) >= FOUR_GIB]


def native_bar1_mib(device: Device) -> t.Optional[float]:
    """BAR1 that the board asks for without Resizable BAR (board catalogue), in MiB; None when not known."""
    found = row(device.get("pci"))
    return known.number(found["native_bar1_mib"]) if found else None


def unassigned(device: Device) -> bool:
    """True when the kernel shows that BAR1 has no address, which is not the same as an address that could not be read."""
    reason = known.text(known.get(device, "unavailable", "bar1.address"))
    return bar1_address(device) == 0 or (known.get(device, "bar1", "address") is None and reason is not None and "not assigned" in reason)


def bar1_address(device: Device) -> t.Optional[int]:
    """Where BAR1 lies, or None when that is not known."""
    return hexadecimal(known.get(device, "bar1", "address"))


def _told(device: Device, facts: t.Any) -> t.List[t.Dict[str, t.Any]]:
    """What the kernel log says about the regions of this very GPU; unrelated bridges and attempts to resize are left out."""
    return events(facts, known.text(device.get("bus_address")), "bar_unassigned", "bar_invalid")


def _bridge(device: Device, facts: t.Any) -> t.List[t.Dict[str, t.Any]]:
    address = known.text(known.get(device, "pcie", "upstream", "bus_address"))
    return events(facts, address, "bridge_window") if address else []


def _misplaced(device: Device, address: int) -> t.Optional[t.Tuple[str, str, t.List[t.Dict[str, t.Any]]]]:
    """Summary, expectation and evidence when BAR1 has an address at which it cannot work."""
    bytes_ = (integer(device, "bar1", "size_mib") or 0) * MIB
    if bytes_ and bytes_ & (bytes_ - 1) == 0 and address % bytes_:
        return "BAR1 lies at %#x, which is not a multiple of its size" % address, "BAR1 aligned to its size", []
    window = known.get(device, "pcie", "upstream", "prefetchable_window")
    first, last = hexadecimal(known.get(window, "start")), hexadecimal(known.get(window, "end"))
    if address < FOUR_GIB or not bytes_ or first is None or last is None or first >= last:
        return None
    if first <= address and address + bytes_ - 1 <= last:
        return None
    bridge = known.text(known.get(device, "pcie", "upstream", "bus_address"))
    seen = [evidence("prefetchable window of the bridge %s" % bridge, "%#x to %#x" % (first, last))]
    return "BAR1 lies at %#x, outside the window of the bridge above it" % address, "BAR1 inside the window of its bridge", seen


def _shown(device: Device) -> t.Optional[str]:
    address, mib = bar1_address(device), known.number(known.get(device, "bar1", "size_mib"))
    if unassigned(device):
        return "not assigned%s" % ("" if mib is None else ", %s" % size(mib))
    if address is None:
        return None
    return "%#x%s" % (address, "" if mib is None else ", %s" % size(mib))
