# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.iommu`: GPUs can be given to virtual machines. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import (
    GATHER, Device, integer, not_here, why, words,
)  # fmt: skip
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.machine import guest

GROUPS = "/sys/kernel/iommu_groups"


def host(facts: t.Any) -> Check:
    """The answer for the host: passing GPUs to virtual machines needs groups."""
    name, expected = "firmware.iommu", "IOMMU groups, for passing GPUs to virtual machines"
    groups = integer(facts, "host", "iommu_group_count")
    seen = [evidence(GROUPS, None if groups is None else "%d groups" % groups)]
    if guest(facts):
        return Check(name, known.HOST, SKIPPED, "virtual machine: virtual firmware, the IOMMU that counts is its host's", expected)
    if groups is None:
        return Check(name, known.HOST, UNKNOWN, "whether the IOMMU is on is not known", expected, seen, GATHER)
    if groups == 0:
        text = words(facts, "iommu")
        remedy = "%s, and boot with intel_iommu=on on Intel processors." % (text[0].upper() + text[1:])
        line = known.text(known.get(facts, "host", "kernel_command_line"))
        return Check(name, known.HOST, FAIL, "the IOMMU is off", expected, seen + [evidence("/proc/cmdline", line)], remedy)
    return Check(name, known.HOST, PASS, "the IOMMU is on, with %d groups" % groups, expected, seen)


def group(device: Device, facts: t.Any) -> Check:
    """The answer for one GPU: a group goes to a virtual machine as a whole."""
    name, who, expected = "firmware.iommu", known.subject(device), "no foreign device in the GPU's IOMMU group"
    absent = not_here(name, device, facts, expected)
    if absent:
        return absent
    number, peers = integer(device, "pci", "iommu_group"), known.get(device, "pci", "iommu_group_peers")
    if number is None or not isinstance(peers, list):
        groups = integer(facts, "host", "iommu_group_count")
        if groups == 0:
            return Check(name, who, SKIPPED, "there are no IOMMU groups", expected)
        if groups and "in no IOMMU group" in why(device, "pci.iommu_group"):
            remedy = "Check in firmware setup and in the kernel log (DMAR, AMD-Vi) why the IOMMU leaves this slot out."
            return Check(name, who, FAIL, "the GPU is in no IOMMU group", expected, [evidence(GROUPS, "%d groups" % groups)], remedy)
        return Check(name, who, UNKNOWN, "the IOMMU group is not known%s" % why(device, "pci.iommu_group"), expected, [evidence(GROUPS, None)], GATHER)
    gpus = {known.text(one.get("bus_address")) for one in known.devices(facts)}
    own = who.rpartition(".")[0]
    port = known.text(known.get(device, "pcie", "upstream", "bus_address"))
    # Other functions of the card and the port above it belong to it.
    foreign = sorted(str(one) for one in peers if str(one).rpartition(".")[0] != own and one not in gpus and one != port)
    seen = [evidence("%s/%d" % (GROUPS, number), ", ".join(sorted(map(str, peers))) or "the GPU alone")]
    if foreign:
        remedy = "Move the card to a slot with a root port of its own, or turn ACS on in firmware setup."
        return Check(name, who, WARN, "shares IOMMU group %d with %s" % (number, ", ".join(foreign)), expected, seen, remedy)
    return Check(name, who, PASS, "no foreign device in IOMMU group %d" % number, expected, seen)
