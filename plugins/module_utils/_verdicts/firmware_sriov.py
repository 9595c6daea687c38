# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.sriov`: virtual functions have addresses where they are wanted. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import (
    GATHER, PASSTHROUGH, Device, events, integer, logged, not_here, why, words,
)  # fmt: skip

NAME = "firmware.sriov"
EXPECTED = "addresses for the virtual functions that are wanted"


def check(device: Device, facts: t.Any, role: str) -> Check:
    """The answer for one GPU."""
    who = known.subject(device)
    absent = not_here(NAME, device, facts, EXPECTED)
    if absent:
        return absent
    address = known.text(device.get("bus_address"))
    total, enabled = integer(device, "pci", "sriov", "total_vfs"), integer(device, "pci", "sriov", "num_vfs")
    seen = [evidence("sriov_numvfs of sriov_totalvfs", None if total is None else "%s of %d" % ("?" if enabled is None else enabled, total))]
    refused = events(facts, address, "sriov_mmio")
    # At boot the kernel tries to find a place for all of them; without passthrough nobody needs it.
    if role == PASSTHROUGH:
        refused += events(facts, address, "vf_bar_unassigned")
    if refused:
        text = "%s and %s" % (words(facts, "above_4g"), words(facts, "sriov"))
        remedy = "%s, then restart; where that is not enough, boot with pci=realloc." % (text[0].upper() + text[1:])
        return Check(NAME, who, FAIL, "no addresses for the virtual functions", EXPECTED, seen + [logged(event) for event in refused[:2]], remedy)
    if total is None:
        reason = known.text(known.get(device, "unavailable", "pci.sriov.total_vfs")) or ""
        if reason and "no SR-IOV" not in reason:
            return Check(NAME, who, UNKNOWN, "whether the GPU has virtual functions is not known: %s" % reason, EXPECTED, seen, GATHER)
        return Check(NAME, who, SKIPPED, "not applicable: the GPU shows no virtual functions", EXPECTED)
    if not total:
        return Check(NAME, who, SKIPPED, "not applicable: the GPU has no virtual functions", EXPECTED, seen)
    if not isinstance(known.get(facts, "host", "kernel_events"), list):
        summary = "whether the kernel found addresses for the virtual functions is not known: its log of this boot was not read"
        return Check(NAME, who, UNKNOWN, summary, EXPECTED, seen, GATHER)
    if enabled is None:
        return Check(NAME, who, UNKNOWN, "how many virtual functions are on is not known%s" % why(device, "pci.sriov.num_vfs"), EXPECTED, seen, GATHER)
    return Check(NAME, who, PASS, "%d of %d virtual functions are on, and the kernel reports no lack of addresses" % (enabled, total), EXPECTED, seen)
