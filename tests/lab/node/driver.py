"""What is installed on a node before anybody works on it: the kernel's packages, and the driver of its profile."""
from __future__ import annotations

from typing import Any

from tests.lab.cache import progress
from tests.lab.errors import LabError
from tests.lab.hardware.nvml_state import NVSWITCH_CLASS
from tests.lab.node import sources
from tests.lab.node.node import Node
from tests.lab.packages.build import install_arguments
from tests.lab.packages.driver import fabric_manager
from tests.lab.packages.recipes import kernel_words, next_release, package_release

_UBUNTU = "/etc/apt/sources.list.d/ubuntu.sources"
_KERNEL_FLAVOUR = {"ubuntu": "generic", "debian": "amd64"}
_PERSISTENCED = "nvidia-persistenced.service"
_INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset")


def install(node: Node, hardware: dict[str, Any]) -> None:
    """Install with apt from the mirror, load the modules as an administrator would, and prove it."""
    driver, distribution = hardware["driver"], hardware["identity"].partition("-")[0]
    if distribution not in _KERNEL_FLAVOUR:
        if driver:
            raise LabError(f"{node.name}: the mirror has driver packages for Ubuntu and Debian only")
        return
    kernel, packages = [f"linux-image-{_KERNEL_FLAVOUR[distribution]}={kernel_words()['KV']}"], []
    if distribution == "ubuntu":
        sources.update(node, _UBUNTU)
    if driver:
        progress(f"{node.name}: installing driver {driver['version']} ({driver['branch']})")
        _extra, archive = sources.archive_of(hardware)
        packages = install_arguments(driver["branch"], driver["version"], driver.get("flavor", "proprietary"), archive)
        if archive != "ubuntu":
            # DKMS builds for the headers that are there before it.
            node.run(*_INSTALL, *kernel, f"linux-headers-{_KERNEL_FLAVOUR[distribution]}={kernel_words()['KV']}", environment=_QUIET)
    node.run(*_INSTALL, *kernel, *packages, environment=_QUIET)
    if driver:
        node.run("modprobe", "-a", *_MODULES)
        if any(device["board"]["pci"]["class"] == NVSWITCH_CLASS for device in hardware["devices"]):
            node.run(*_INSTALL, fabric_manager(driver["branch"], driver["version"]), environment=_QUIET)
            node.run("systemctl", "enable", "--now", "nvidia-fabricmanager.service")
        loaded = node.read("/sys/module/nvidia/version").strip()
        if loaded != driver["version"]:
            raise LabError(f"{node.name}: driver {loaded} is loaded, the profile wants {driver['version']}")
        if node.run("systemctl", "is-enabled", _PERSISTENCED, check=False)[1].strip() == "enabled":
            # It was started before there was a module, until systemd gave up.
            node.run("systemctl", "reset-failed", _PERSISTENCED)
            node.run("systemctl", "restart", _PERSISTENCED)
    elif hardware["nouveau"] and hardware["gpus"]:
        node.run("modprobe", "nouveau")
    if hardware["next_kernel"]:
        progress(f"{node.name}: installing the next kernel")
        node.run(*_INSTALL, f"linux-image-{package_release(next_release())}", environment=_QUIET)
