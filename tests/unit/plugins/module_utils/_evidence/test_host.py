"""The host around the GPUs, from the files of several machines."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import host, packages

from tests.unit.gpu_machine import no_commands, write

BARE = "flags\t\t: fpu vme de pse\n"
GUEST = "flags\t\t: fpu vme hypervisor lahf_lm\n"


@pytest.mark.parametrize(
    "cpu, dmi, expected",
    [
        (BARE, {"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R740"}, "none"),
        (GUEST, {"sys_vendor": "QEMU", "product_name": "Standard PC (Q35 + ICH9, 2009)"}, "qemu"),
        (GUEST, {"sys_vendor": "QEMU", "product_name": "KVM Virtual Machine"}, "kvm"),
        (GUEST, {"sys_vendor": "VMware, Inc.", "product_name": "VMware7,1"}, "vmware"),
        (GUEST, {"sys_vendor": "Amazon EC2", "product_name": "g5.xlarge"}, "amazon"),
        (BARE, {"sys_vendor": "Amazon EC2", "product_name": "g5g.metal"}, "none"),
        (GUEST, {"sys_vendor": "Microsoft Corporation", "product_name": "Virtual Machine"}, "microsoft"),
        (GUEST, {"sys_vendor": "Google", "product_name": "Google Compute Engine"}, "google"),
        (GUEST, {"sys_vendor": "Dell Inc.", "product_name": "PowerEdge R740"}, "vm-other"),
        (GUEST, {}, "vm-other"),
        ("Features : fp asimd\n", {"sys_vendor": "GIGABYTE", "product_name": "R282"}, "none"),  # 64-bit Arm has no such flag
        ("Features : fp asimd\n", {}, None),
        (None, {}, None),
    ],
)
def test_virtualization(tmp_path, cpu, dmi, expected):
    if cpu is not None:
        write(tmp_path, "/proc/cpuinfo", cpu)
    for name, value in dmi.items():
        write(tmp_path, "/sys/class/dmi/id/" + name, value + "\n")
    found, reason = host.virtualization(str(tmp_path))
    assert found == expected and bool(reason) == (expected is None)


@pytest.mark.parametrize(
    "files, expected",
    [
        ({host.SECURE_BOOT: b"\x06\0\0\0\x01"}, True),
        ({host.SECURE_BOOT: b"\x06\0\0\0\x00"}, False),
        ({host.SECURE_BOOT: b"\x06\0\0\0"}, None),
        ({"/sys/firmware/efi/runtime": b""}, None),
        ({"/sys/firmware/acpi/tables/DSDT": b""}, False),
        ({}, None),
    ],
)
def test_secure_boot(tmp_path, files, expected):
    for name, content in files.items():
        write(tmp_path, name, content)
    found, reason = host.secure_boot(str(tmp_path))
    assert found is expected and bool(reason) == (expected is None)


STATUS = """Package: libnvidia-compute-580-server
Status: install ok installed
Priority: optional
Version: 580.95.05-0ubuntu0.24.04.1
Description: NVIDIA libcompute package
 Package: nvidia-trap
 Version: 9

Package: nvidia-dkms-535
Status: deinstall ok config-files
Version: 535.1

Package: nvidia-driver-550
Status: install ok half-configured
Version: 550.2

Package: nvidia-container-toolkit
Status: install ok installed
Version: 1.20.1-1

Package: docker-ce
Status: install ok installed
Version: 5:27.5.1-1~ubuntu.24.04~noble

Package: linux-modules-nvidia-580-server-6.8.0-87-generic
Version: 6.8.0-87.88
Status: install ok installed

Package: bash
Status: install ok installed
Version: 5.2

Package: cuda-drivers-580
Status: hold ok installed
Version: 580.95.05-0ubuntu1
"""


def test_packages_of_dpkg(tmp_path):
    write(tmp_path, packages.DPKG_STATUS, STATUS)
    installed, source, reason = packages.read(no_commands, str(tmp_path))
    assert (source, reason) == (packages.DPKG_STATUS, "")
    assert packages.driver_packages(installed) == {
        "cuda-drivers-580": "580.95.05-0ubuntu1",
        "libnvidia-compute-580-server": "580.95.05-0ubuntu0.24.04.1",
        "linux-modules-nvidia-580-server-6.8.0-87-generic": "6.8.0-87.88",
    }
    found = host.read(no_commands, str(tmp_path), 1, installed)
    assert found["docker"] == {"version": "27.5.1"} and found["container_toolkit"] == {"version": "1.20.1"}
    assert found["sources"]["docker"] == "package docker-ce"


def test_packages_that_cannot_be_read(tmp_path):
    assert packages.read(no_commands, str(tmp_path))[0] is None
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    installed, _source, reason = packages.read(no_commands, str(tmp_path))
    assert installed is None and reason == "rpm -qa: rc 127 rpm: not found"


@pytest.mark.parametrize(
    "text, expected",
    [("5:27.5.1-1~ubuntu", "27.5.1"), ("26.1.5+dfsg1", "26.1.5"), ("1.20.1-1", "1.20.1"), ("v1.2", "1.2"), ("", None), (None, None), ("none", None)],
)
def test_upstream_versions(text, expected):
    assert packages.upstream(text) == expected


@pytest.mark.parametrize(
    "rc, out, version",
    [(0, "NVIDIA Container Toolkit CLI version 1.20.1\ncommit: abc\n", "1.20.1"), (124, "", None), (0, "version unknown", None)],
)
def test_a_toolkit_that_is_no_package_is_asked(tmp_path, rc, out, version):
    write(tmp_path, "/usr/bin/nvidia-ctk", "")
    found = host.read(lambda args, timeout_seconds=None: (rc, out, ""), str(tmp_path), 1)
    assert found["container_toolkit"] == {"version": version} and ("container_toolkit.version" in found["unavailable"]) == (version is None)


def test_a_host_that_shows_nothing_has_the_same_keys(tmp_path):
    found = host.read(no_commands, str(tmp_path), 1)
    assert set(found["unavailable"]) == {"kernel_command_line", "virtualization", "secure_boot", "system_vendor", "docker.version", "container_toolkit.version",
                                         "aspm_policy", "fabric_manager.version", "fabric_manager.active"}  # fmt: skip
    assert not any(str(tmp_path) in reason for reason in found["unavailable"].values())


@pytest.mark.parametrize(
    "text, expected", [("[default] performance powersave powersupersave\n", "default"), ("default [performance] powersave", "performance"), ("x", None)]
)
def test_aspm_policy(tmp_path, text, expected):
    write(tmp_path, host.ASPM_POLICY, text)
    found, reason = host.aspm_policy(str(tmp_path))
    assert found == expected and bool(reason) == (expected is None)


@pytest.mark.parametrize("base", host.UNITS)
@pytest.mark.parametrize("processes, active", [("812\n813\n", True), ("", False), (None, False)])
def test_fabric_manager(tmp_path, base, processes, active):
    (tmp_path / base.lstrip("/")).mkdir(parents=True)
    if processes is not None:
        write(tmp_path, "%s/%s/cgroup.procs" % (base, host.FABRIC_MANAGER_UNIT), processes)
    found, reasons = host.fabric_manager(str(tmp_path), {"nvidia-fabricmanager-580": "580.95.05-0ubuntu0.24.04.1"})
    assert found == {"version": "580.95.05", "active": active} and reasons == {}


def test_iommu_groups_are_counted(tmp_path):
    for number in range(3):
        (tmp_path / "sys/kernel/iommu_groups" / str(number)).mkdir(parents=True)
    assert host.read(no_commands, str(tmp_path), 1, nvswitches=["0000:86:00.0"])["iommu_group_count"] == 3
