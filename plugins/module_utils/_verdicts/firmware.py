# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What firmware settings must have been, seen from where the PCI resources are. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import SKIPPED, UNKNOWN, Check
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import (
    firmware_above_4g, firmware_acs, firmware_aspm, firmware_pcie_link, firmware_resizable_bar,
)  # fmt: skip
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import PASSTHROUGH, Policy, events, integer

GATHER = "Gather facts with gpuops.fleet.gpu_facts on the host itself and pass all of them."


def check(facts: t.Any, policy: t.Optional[Policy] = None) -> t.List[Check]:
    """The checks of docs/checks.md whose names begin with `firmware.` and `pcie.`; one answer for the host when it has no GPU or they are not known."""
    policy = policy or Policy()
    found = known.count(facts)
    if found == 0:
        return [Check(firmware_above_4g.NAME, known.HOST, SKIPPED, "no GPU: nothing needs addresses above 4 GiB", firmware_above_4g.EXPECTED)]
    if found is None:
        return [Check(firmware_above_4g.NAME, known.HOST, UNKNOWN, "the GPUs of the host are not known", firmware_above_4g.EXPECTED, [], GATHER)]
    checks = _passthrough(facts) if policy.platform_role == PASSTHROUGH else []
    for device in known.devices(facts):
        checks.append(firmware_above_4g.check(device, facts))
        checks.append(firmware_resizable_bar.check(device, facts))
        checks.append(firmware_aspm.check(device, facts, policy.aspm_expected))
        checks.append(firmware_pcie_link.width(device, facts))
        checks.append(firmware_pcie_link.speed(device, facts))
        checks.append(firmware_acs.check(device, facts, policy.platform_role))
    checks.extend(_sriov(facts, policy.platform_role))
    if policy.bmc_settings is not None:
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware_bmc

        checks.extend(firmware_bmc.check(facts, policy, checks))
    return checks


def _passthrough(facts: t.Any) -> t.List[Check]:
    """`firmware.iommu`: on bare metal nothing is expected of it."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware_iommu

    return [firmware_iommu.host(facts)] + [firmware_iommu.group(device, facts) for device in known.devices(facts)]


def _sriov(facts: t.Any, role: str) -> t.List[Check]:
    """`firmware.sriov` of the GPUs that have virtual functions, or whose kernel messages speak of them."""
    concerned = [
        device
        for device in known.devices(facts)
        if role == PASSTHROUGH or integer(device, "pci", "sriov", "total_vfs") or events(facts, known.text(device.get("bus_address")), "sriov_mmio")
    ]
    if not concerned:
        return []
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware_sriov

    return [firmware_sriov.check(device, facts, role) for device in concerned]
