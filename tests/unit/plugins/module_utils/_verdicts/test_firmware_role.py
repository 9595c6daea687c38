"""pcie.acs, firmware.iommu and firmware.sriov: section 6 of the evidence page. They depend on what the machine is for."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import Policy

from tests.unit.facts_samples import device, facts

ROLE = {name: Policy(platform_role=name) for name in ("baremetal", "passthrough")}
GROUPED = {"pci__iommu_group": 27}
NO_ACS = {"pcie.upstream.acs_source_validation": "the port has no Access Control Services"}


def checks(name, role, *devices, **host):
    return [found for found in firmware.check(facts(*devices, **host), ROLE[role]) if found.id == name]


@pytest.mark.parametrize(
    "role, value, status",
    [("baremetal", False, "pass"), ("baremetal", True, "warn"), ("passthrough", True, "pass"), ("passthrough", False, "warn"),
     ("baremetal", None, "unknown"), ("passthrough", None, "unknown"), ("baremetal", 1, "unknown")],
)  # fmt: skip
def test_acs(role, value, status):
    found = checks("pcie.acs", role, device("p40", pcie__upstream__acs_source_validation=value), "p40")[0]
    assert found.status == status and "0000:3a:00.0" in found.summary, found.line()


def test_acs_of_a_port_without_it_or_of_a_lonely_gpu():
    without = device("p40", pcie__upstream__acs_source_validation=None, unavailable=NO_ACS)
    assert checks("pcie.acs", "baremetal", without, "p40")[0].status == "skipped"
    assert checks("pcie.acs", "baremetal", device("p40", pcie__upstream__acs_source_validation=True))[0].status == "skipped"


def test_bare_metal_expects_nothing_of_the_iommu():
    assert checks("firmware.iommu", "baremetal", "p40", "p40") == []


@pytest.mark.parametrize(
    "one, host, statuses",
    [
        (device("p40", **GROUPED), {"iommu_group_count": 60}, ["pass", "pass"]),
        (device("p40"), {"iommu_group_count": 0}, ["fail", "skipped"]),
        (device("p40"), {"iommu_group_count": None}, ["unknown", "unknown"]),
        (device("p40", unavailable={"pci.iommu_group": "the device is in no IOMMU group"}), {"iommu_group_count": 60}, ["pass", "fail"]),
        # The card's own audio function, another GPU and the port above are no strangers.
        (device("p40", **GROUPED, pci__iommu_group_peers=["0000:3b:00.1", "0000:3c:00.0", "0000:3a:00.0"]), {"iommu_group_count": 60}, ["pass", "pass"]),
        (device("p40", **GROUPED, pci__iommu_group_peers=["0000:3d:00.0"]), {"iommu_group_count": 60}, ["pass", "warn"]),
        (device("p40", **GROUPED), {"iommu_group_count": 0, "system_vendor": "QEMU", "virtualization": "kvm"}, ["skipped", "skipped"]),
    ],
)
def test_passthrough_needs_groups(one, host, statuses):
    found = checks("firmware.iommu", "passthrough", one, device("p40", 1, **GROUPED), **host)
    assert [check.status for check in found[:2]] == statuses, [check.line() for check in found]
    assert [check.subject for check in found] == ["host", "0000:3b:00.0", "0000:3c:00.0"]


def event(kind, address="0000:3b:00.0"):
    return {"kind": kind, "bus_address": address, "code": None, "seconds_ago": 60, "text": "nvidia 0000:3b:00.0: not enough MMIO resources for SR-IOV"}


VFS = {"pci__sriov": {"total_vfs": 16, "num_vfs": 4}}


@pytest.mark.parametrize(
    "role, one, events, statuses",
    [
        ("baremetal", device("p40"), [], []),
        ("baremetal", device("a100", **VFS), [], ["pass"]),
        ("baremetal", device("a100", **VFS), [event("sriov_mmio")], ["fail"]),
        ("baremetal", device("p40"), [event("sriov_mmio")], ["fail"]),
        ("baremetal", device("a100", **VFS), [event("sriov_mmio", "0000:b0:00.0")], ["pass"]),  # a network card
        # Functions that nobody asked for need no addresses.
        ("baremetal", device("a100", **VFS), [event("vf_bar_unassigned")], ["pass"]),
        ("passthrough", device("a100", **VFS), [event("vf_bar_unassigned")], ["fail"]),
        ("passthrough", device("a100", pci__sriov={"total_vfs": 16, "num_vfs": None}), [], ["unknown"]),
        ("passthrough", device("a100", **VFS), None, ["unknown"]),  # a user who may not read the kernel's log
        ("baremetal", device("a100", **VFS), None, ["unknown"]),
        ("passthrough", device("p40", unavailable={"pci.sriov.total_vfs": "the device has no SR-IOV"}), [], ["skipped"]),
        ("passthrough", device("p40", unavailable={"pci.sriov.total_vfs": "permission denied"}), [], ["unknown"]),
        ("passthrough", device("p40", pci__sriov={"total_vfs": 0, "num_vfs": 0}), [], ["skipped"]),
    ],
)
def test_sriov(role, one, events, statuses):
    found = checks("firmware.sriov", role, one, kernel_events=events)
    assert [check.status for check in found] == statuses, [check.line() for check in found]


def test_in_a_guest_the_verdict_speaks_of_virtual_firmware():
    found = firmware.check(facts("p40", system_vendor="QEMU", virtualization="kvm"), ROLE["passthrough"])
    by_id = {check.id: check for check in found}
    assert by_id["firmware.above_4g"].status == "pass" and "virtual firmware" in by_id["firmware.above_4g"].summary
    assert "virtual firmware" in next(check for check in found if check.subject == "host").summary
    assert {check.status for check in found} == {"pass", "skipped"}
