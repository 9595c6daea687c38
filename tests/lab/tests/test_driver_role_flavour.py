"""The role nvidia_driver on eight H100 with Fabric Manager: from proprietary to open kernel modules and back, and what unattended upgrades would do."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

NEW = "580.173.02"
DROP_IN = "/etc/apt/apt.conf.d/52gpuops-nvidia-driver"
LICENCES = {"open": "Dual MIT/GPL", "proprietary": "NVIDIA"}


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Eight H100 with the proprietary driver 580.95.05 and Fabric Manager."""
    name = f"driver-flavour-{os.getpid()}"
    try:
        lifecycle.up("h100x8", name)
        yield lifecycle.find(name)
    finally:
        lifecycle.down(name)


def assert_flavour(node: Node, flavour: str) -> None:
    """The kernel, the module on disk and the packages say the same, and Fabric Manager is of the same version."""
    assert role.driver(node) == role.whole(NEW, 8)
    assert ("Open Kernel Module" in node.read("/proc/driver/nvidia/version")) is (flavour == "open")
    assert node.run("modinfo", "-F", "license", "nvidia")[1].strip() == LICENCES[flavour]
    names = role.packages(node)
    modules = [name for name in names if name.startswith(("linux-modules-nvidia-", "nvidia-kernel-", "nvidia-headless-")) and "common" not in name]
    assert modules and {("-open" in name) for name in modules if name.startswith("linux-modules-nvidia-")} == {flavour == "open"}, modules
    assert names["nvidia-fabricmanager-580"].startswith(NEW) and role.active(node, "nvidia-fabricmanager")


def would_upgrade(node: Node) -> list[str]:
    """Driver packages that unattended-upgrades would replace, as it says itself."""
    told = node.run("unattended-upgrade", "--dry-run", "-v", check=False)[1]
    assert "Allowed origins are:" in told, told
    listed = [line.partition(":")[2].split() for line in told.splitlines() if "Packages that will be upgraded:" in line]
    return [name for names in listed for name in names if "nvidia" in name]


def test_the_kernel_modules_become_open(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=580, gpu_preflight_driver_flavor="open", nvidia_driver_hold=False)
    assert done.code == 0 and done.result and done.result["flavor"] == "open" and done.result["rebooted"] is False, done.text
    assert_flavour(server, "open")


def test_unattended_upgrades_leave_the_driver_alone_for_the_drop_in(server: Node) -> None:
    # Nothing is held here, so the drop-in alone is in the way of the next version.
    assert role.held(server) == set()
    server.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "unattended-upgrades", environment={"DEBIAN_FRONTEND": "noninteractive"})
    server.write("/etc/apt/apt.conf.d/51lab-origins", 'Unattended-Upgrade::Allowed-Origins { "${distro_id}:${distro_codename}"; };\n')
    lifecycle.serve("bad-proof", server.name)
    assert would_upgrade(server) == []
    server.run("mv", DROP_IN, "/root/")
    touched = would_upgrade(server)
    server.run("mv", f"/root/{Path(DROP_IN).name}", DROP_IN)
    assert "nvidia-utils-580-server" in touched and "libnvidia-compute-580-server" in touched, touched
    assert would_upgrade(server) == []
    server.run("rm", "/etc/apt/sources.list.d/lab-bad-proof.sources")


def test_the_kernel_modules_become_proprietary_again(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=580, gpu_preflight_driver_flavor="proprietary")
    assert done.code == 0 and done.result and done.result["flavor"] == "proprietary" and done.result["rebooted"] is False, done.text
    assert_flavour(server, "proprietary")
    assert set(role.packages(server)) <= role.held(server)
