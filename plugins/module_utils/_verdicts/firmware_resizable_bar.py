# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.resizable_bar`: BAR1 covers the memory where the card can do that. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import row
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_above_4g import SMALL_BAR1_MIB, native_bar1_mib, unassigned
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import GATHER, Device, events, integer, logged, remedy, size

NAME = "firmware.resizable_bar"
EXPECTED = "BAR1 as large as the memory"
# No VBIOS of these offers Resizable BAR; NVIDIA began with the GeForce RTX 30 series.
FIXED = ("kepler", "maxwell", "pascal", "volta", "turing")
DRIVER_OPTION = "Or let the driver try it: option nvidia NVreg_EnableResizableBar=1 in /etc/modprobe.d (it is off by default)."


def check(device: Device, facts: t.Any) -> Check:
    """The answer for one GPU."""
    who = known.subject(device)
    bar1, native = integer(device, "bar1", "size_mib"), native_bar1_mib(device)
    source = "%s/resource BAR1" % known.source(device, "pci", "sysfs:/sys/bus/pci/devices/%s" % who)
    if bar1 is None:
        bar1, source = integer(device, "bar1", "total_mib"), "%s BAR1 total" % known.source(device, "nvml", "NVML")
    seen = [evidence(source, size(bar1) if bar1 else None)]
    if native is not None and native > SMALL_BAR1_MIB:
        return Check(NAME, who, SKIPPED, "not applicable: this board has a fixed BAR1 of %s" % size(native), EXPECTED, seen)
    if unassigned(device):
        return Check(NAME, who, SKIPPED, "BAR1 is not assigned: firmware.above_4g tells more", EXPECTED, seen)
    memory = integer(device, "memory", "total_mib") or _fitted(device)
    if not bar1 or not memory:
        what = "BAR1" if not bar1 else "the memory"
        return Check(NAME, who, UNKNOWN, "how large %s is, is not known" % what, EXPECTED, seen, GATHER)
    if bar1 >= memory:
        return Check(NAME, who, PASS, "BAR1 of %s covers the memory of %s" % (size(bar1), size(memory)), EXPECTED, seen)
    offered = known.get(device, "pci", "resizable_bar_sizes_mib")
    largest = max((int(known.number(one) or 0) for one in offered), default=0) if isinstance(offered, list) else None
    if largest is not None and largest <= bar1:
        seen.append(evidence("PCI Resizable BAR capability", "none" if not offered else "up to %s" % size(largest)))
        return Check(NAME, who, SKIPPED, "not applicable: this card's BAR1 cannot be larger than %s" % size(bar1), EXPECTED, seen)
    if largest is None and known.text(device.get("architecture")) in FIXED:
        return Check(NAME, who, SKIPPED, "not applicable: %s cards have no Resizable BAR" % device["architecture"], EXPECTED, seen)
    if largest:
        seen.append(evidence("PCI Resizable BAR capability", "up to %s" % size(largest)))
    # The driver's own attempt that found no addresses: the card works with the small BAR1.
    tried = events(facts, known.text(device.get("bus_address")), "bar_resize")
    seen.extend(logged(event) for event in tried[:1])
    summary = "BAR1 is %s, the memory %s: transfers between host and GPU and between GPUs go through a small window" % (size(bar1), size(memory))
    return Check(NAME, who, WARN, summary, EXPECTED, seen, "%s %s" % (remedy(facts, "resizable_bar"), DRIVER_OPTION))


def _fitted(device: Device) -> t.Optional[int]:
    found = row(device.get("pci"))
    return int(found["memory_mib"]) if found and found["memory_mib"] else None
