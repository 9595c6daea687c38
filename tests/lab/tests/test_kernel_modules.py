"""The double of the kernel's side: what real modprobe and systemd-modules-load can and cannot do."""
from __future__ import annotations

import pytest

from tests.lab.node.node import Node

pytestmark = pytest.mark.lab

MODULES = ("nvidia_uvm", "nvidia_modeset", "nvidia")


def exists(node: Node, path: str) -> bool:
    return node.run("test", "-e", path, check=False)[0] == 0


def kernel_log(node: Node) -> str:
    return node.run("journalctl", "-k", "-b", "-o", "cat", "-n", "40")[1]


def unload(node: Node) -> None:
    node.run("systemctl", "stop", "nvidia-persistenced")
    node.run("modprobe", "-r", *MODULES)


def test_unload_and_load(broken: Node) -> None:
    unload(broken)
    for path in ("/sys/module/nvidia", "/proc/driver/nvidia", "/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm", "/sys/bus/pci/devices/0000:3b:00.0/driver"):
        assert not exists(broken, path), path
    assert "nvidia" not in broken.read("/proc/devices")
    assert broken.run("nvidia-smi", check=False)[0] == 9
    broken.run("modprobe", "nvidia-uvm")
    assert broken.read("/sys/module/nvidia/initstate").strip() == "live"
    # nvidia_uvm, and what persistenced, which udev starts, has opened by now.
    assert int(broken.read("/sys/module/nvidia/refcnt")) >= 1
    assert broken.read("/proc/driver/nvidia/version").startswith("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05")
    assert "\n195 nvidia\n" in broken.read("/proc/devices")
    assert broken.run("stat", "-c", "%t:%T %a", "/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm")[1].split("\n")[:4] == [
        "c3:0 666",
        "c3:1 666",
        "c3:ff 666",
        "1fe:0 666",
    ]
    broken.run("modprobe", "nvidia_modeset")


def test_a_module_in_use_stays(broken: Node) -> None:
    broken.run("systemctl", "start", "nvidia-persistenced", check=False)
    status, text = broken.run("modprobe", "-r", "nvidia", check=False)
    assert (status, "Module nvidia is in use" in text) == (1, True), text
    assert exists(broken, "/dev/nvidia0")


def test_a_module_without_a_file_is_not_found(broken: Node) -> None:
    unload(broken)
    folder = broken.run("sh", "-c", 'dirname "$(modinfo -n nvidia)"')[1].strip()
    broken.run("mv", folder, "/root/modules")
    broken.run("depmod")
    try:
        status, text = broken.run("modprobe", "nvidia", check=False)
        assert (status, "Module nvidia not found" in text) == (1, True), text
    finally:
        broken.run("mv", "/root/modules", folder)
        broken.run("depmod")
    broken.run("modprobe", "-a", *MODULES)


def test_modules_come_back_after_a_reboot(broken: Node) -> None:
    broken.write("/etc/modules-load.d/nvidia.conf", "nvidia-uvm\n")
    broken.reboot()
    assert exists(broken, "/dev/nvidia-uvm")
    assert broken.read("/sys/module/nvidia/version").strip() == "580.95.05"
    assert broken.run("nvidia-smi", "-L")[1].count("Tesla P40") == 2
    assert broken.run("systemctl", "is-active", "nvidia-persistenced")[1].strip() == "active"


def test_nouveau_keeps_nvidia_away_until_it_is_blacklisted(bare: Node) -> None:
    from tests.lab.packages.build import install_arguments

    assert bare.run("lspci", "-k", "-d", "10de:")[1].count("Kernel driver in use: nouveau") == 2
    bare.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *install_arguments("580-server"), environment={"DEBIAN_FRONTEND": "noninteractive"})
    status, text = bare.run("modprobe", "nvidia", check=False)
    assert (status, "could not insert 'nvidia': No such device" in text) == (1, True), text
    assert "NVRM: The NVIDIA probe routine was not called for 2 device(s)." in kernel_log(bare)
    # The driver's package blacklists nouveau: from the next boot on the cards are free.
    bare.reboot()
    assert not exists(bare, "/sys/module/nouveau")
    assert bare.run("lspci", "-k", "-d", "10de:")[1].count("Kernel driver in use: nvidia") == 2


def test_the_open_module_refuses_cards_without_gsp(bare: Node) -> None:
    from tests.lab.packages.build import install_arguments

    release = bare.run("uname", "-r")[1].strip()
    removed = ["nvidia-headless-no-dkms-580-server-", f"linux-modules-nvidia-580-server-{release}-", f"linux-objects-nvidia-580-server-{release}-"]
    packages = install_arguments("580-server", flavor="open") + removed
    bare.run("systemctl", "stop", "nvidia-persistenced", check=False)
    bare.run("sh", "-c", "for m in nvidia_uvm nvidia_modeset nvidia; do modprobe -r $m; done")
    bare.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, environment={"DEBIAN_FRONTEND": "noninteractive"})
    assert bare.run("modinfo", "-F", "license", "nvidia")[1].strip() == "Dual MIT/GPL"
    status, text = bare.run("modprobe", "nvidia", check=False)
    assert (status, "No such device" in text) == (1, True), text
    log = kernel_log(bare)
    assert "NVRM: nvidia.ko because it does not include the required GPU" in log
    assert "NVRM: None of the NVIDIA devices were initialized." in log
