# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`pcie.acs`: how traffic between GPUs is led, as the role of the machine wants it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import GATHER, PASSTHROUGH, Device, not_here


def check(device: Device, facts: t.Any, role: str) -> Check:
    """The answer for one GPU. NVIDIA's NCCL guide: off on bare metal, on for passthrough."""
    wanted = role == PASSTHROUGH
    name, who, expected = "pcie.acs", known.subject(device), "ACS source validation %s on the port above" % ("on" if wanted else "off")
    absent = not_here(name, device, facts, expected)
    if absent:
        return absent
    if not wanted and known.count(facts) == 1:
        return Check(name, who, SKIPPED, "one GPU: no traffic between GPUs that ACS could slow down", expected)
    port = known.text(known.get(device, "pcie", "upstream", "bus_address")) or "the port above"
    value = known.get(device, "pcie", "upstream", "acs_source_validation")
    reason = known.text(known.get(device, "unavailable", "pcie.upstream.acs_source_validation")) or ""
    if not isinstance(value, bool):
        if "no Access Control Services" in reason or "no bridge" in reason:
            return Check(name, who, SKIPPED, "not applicable: %s" % reason, expected)
        seen = [evidence("ACSCtl of %s" % port, None)]
        return Check(name, who, UNKNOWN, "the ACS setting of %s is not known%s" % (port, ": " + reason if reason else ""), expected, seen, GATHER)
    seen = [evidence("ACSCtl of %s" % port, "SrcValid%s" % ("+" if value else "-"))]
    if value == wanted:
        return Check(name, who, PASS, "ACS source validation is %s on %s" % ("on" if value else "off", port), expected, seen)
    if wanted:
        return Check(name, who, WARN, "ACS source validation is off on %s: devices below it can reach each other" % port, expected, seen,
                     "Turn ACS on in firmware setup (the kernel sets it when the IOMMU is on).")  # fmt: skip
    return Check(name, who, WARN, "ACS source validation is on on %s: traffic between GPUs takes the way through the processor" % port, expected, seen,
                 "Turn ACS, or the IOMMU that brings it, off in firmware setup when GPUs are to talk to each other; set platform_role to passthrough "
                 "when they go to virtual machines.")  # fmt: skip
