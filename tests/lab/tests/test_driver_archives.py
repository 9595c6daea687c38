"""The lab's second kernel, its defective drivers, and reference counts: what a real machine would show."""
from __future__ import annotations

import time

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.packages.build import install_arguments
from tests.lab.packages.recipes import next_release, running_release

pytestmark = pytest.mark.lab

INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "--allow-downgrades")
MODULES = ("nvidia_uvm", "nvidia_modeset", "nvidia")


def install(node: Node, *packages: str, check: bool = True) -> tuple[int, str]:
    return node.run(*INSTALL, *packages, check=check, environment={"DEBIAN_FRONTEND": "noninteractive"})


def reload(node: Node) -> None:
    node.run("systemctl", "stop", "nvidia-persistenced")
    node.run("modprobe", "-r", *MODULES)
    node.run("modprobe", "-a", "nvidia", "nvidia_uvm", "nvidia_modeset")


def count(node: Node, module: str) -> int:
    return int(node.read(f"/sys/module/{module}/refcnt"))


def wait_for(node: Node, module: str, wanted: int) -> None:
    until = time.monotonic() + 10
    while count(node, module) != wanted and time.monotonic() < until:
        time.sleep(0.2)
    assert count(node, module) == wanted


def test_who_uses_a_module_is_counted(two_kernels: Node) -> None:
    two_kernels.run("systemctl", "stop", "nvidia-persistenced", check=False)
    wait_for(two_kernels, "nvidia", 2)
    two_kernels.run("systemctl", "start", "nvidia-persistenced")
    # Two GPUs and the control device.
    wait_for(two_kernels, "nvidia", 5)
    assert count(two_kernels, "nvidia_uvm") == 0
    # The unified memory module is free, so it goes; the core module below is held.
    two_kernels.run("modprobe", "-r", "nvidia_uvm")
    wait_for(two_kernels, "nvidia", 4)
    status, text = two_kernels.run("modprobe", "-r", "nvidia", check=False)
    assert (status, "Module nvidia is in use" in text) == (1, True), text
    two_kernels.run("systemctl", "stop", "nvidia-persistenced")
    two_kernels.run("modprobe", "-r", "nvidia_modeset")
    assert two_kernels.run("test", "-e", "/sys/module/nvidia", check=False)[0] == 1, "nothing uses it any more: it goes with the last module on top"
    two_kernels.run("modprobe", "-a", "nvidia", "nvidia_uvm", "nvidia_modeset")


def test_the_menu_decides_which_kernel_boots(two_kernels: Node) -> None:
    running, following = running_release(), next_release()
    assert two_kernels.run("uname", "-r")[1].strip() == running
    two_kernels.reboot()
    assert two_kernels.run("uname", "-r")[1].strip() == following
    assert two_kernels.run("python3", "-c", "import os, platform; print(os.uname().release, platform.release())")[1].split() == [following] * 2
    assert following in two_kernels.read("/proc/cmdline") and following in two_kernels.read("/proc/version")
    status, text = two_kernels.run("modprobe", "nvidia", check=False)
    assert (status, f"/lib/modules/{following}" in text) == (1, True), text
    two_kernels.run("grub-reboot", "1>1")
    two_kernels.reboot()
    assert two_kernels.run("uname", "-r")[1].strip() == running
    assert two_kernels.run("nvidia-smi", "-L")[1].count("Tesla P40") == 2
    # Chosen for one boot only.
    assert two_kernels.run("/usr/lib/lab/grub.py", "boot")[1].strip() == following


def test_a_module_of_another_version_fails_its_proof(two_kernels: Node) -> None:
    lifecycle.serve("bad-proof", two_kernels.name)
    install(two_kernels, *install_arguments("580-server", "580.998.01", source="ubuntu/bad-proof"))
    reload(two_kernels)
    assert two_kernels.read("/sys/module/nvidia/version").strip() == "580.997.01"
    status, text = two_kernels.run("nvidia-smi", check=False)
    assert (status, "Driver/library version mismatch" in text) == (18, True), text


def test_a_gpu_that_does_not_come_up(two_kernels: Node) -> None:
    lifecycle.serve("bad-gpu", two_kernels.name)
    install(two_kernels, *install_arguments("580-server", "580.998.02", source="ubuntu/bad-gpu"))
    reload(two_kernels)
    assert two_kernels.run("nvidia-smi", "-L")[1].count("Tesla P40") == 1
    assert "RmInitAdapter failed" in two_kernels.run("journalctl", "-k", "-b", "-o", "cat", "-n", "40")[1]


def test_a_module_that_does_not_build(two_kernels: Node) -> None:
    lifecycle.serve("broken", two_kernels.name)
    release = two_kernels.run("uname", "-r")[1].strip()
    # With the updates as a source the headers' metapackage is the next kernel's: those of the running one have to be named.
    install(two_kernels, f"linux-headers-{release}")
    status, text = install(two_kernels, *install_arguments("580-server", "580.999.01", source="ubuntu/broken"), check=False)
    assert status == 100 and "Bad return status for module build" in text, text[-3000:]
    assert "too few arguments to function" in two_kernels.read("/var/lib/dkms/nvidia-srv/580.999.01/build/make.log")
    # Going back to a whole driver makes dpkg whole again.
    install(two_kernels, *install_arguments("580-server", "580.95.05"), "nvidia-dkms-580-server-", "nvidia-headless-580-server-")
    assert not two_kernels.run("dpkg", "--audit")[1]
    reload(two_kernels)
    assert two_kernels.run("nvidia-smi", "-L")[1].count("Tesla P40") == 2
