"""What is installed on a node before anybody works on it: the kernel's packages, and the driver of its profile."""
from __future__ import annotations

from typing import Any

from tests.lab.cache import progress
from tests.lab.errors import LabError
from tests.lab.node.node import Node
from tests.lab.packages.build import install_arguments
from tests.lab.packages.recipes import kernel_words, next_release, package_release

_SOURCE = "/etc/apt/sources.list.d/ubuntu.sources"
# Only the lab's own source: the archive's lists are part of the image.
_UPDATE = ("apt-get", "update", "-q", "-o", f"Dir::Etc::SourceList={_SOURCE}", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=0")
_INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends")
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset")


def install(node: Node, hardware: dict[str, Any]) -> None:
    """Install with apt from the mirror, load the modules as an administrator would, and prove it."""
    driver = hardware["driver"]
    if not hardware["identity"].startswith("ubuntu"):
        if driver:
            raise LabError(f"{node.name}: the mirror has driver packages for Ubuntu only")
        return
    packages = [f"linux-image-generic={kernel_words()['KV']}"]
    if driver:
        progress(f"{node.name}: installing driver {driver['version']} ({driver['branch']})")
        packages += install_arguments(driver["branch"], driver["version"], driver.get("flavor", "proprietary"))
    node.run(*_UPDATE)
    node.run(*_INSTALL, *packages, environment=_QUIET)
    if driver:
        node.run("modprobe", "-a", *_MODULES)
        loaded = node.read("/sys/module/nvidia/version").strip()
        if loaded != driver["version"]:
            raise LabError(f"{node.name}: driver {loaded} is loaded, the profile wants {driver['version']}")
    elif hardware["nouveau"] and hardware["gpus"]:
        node.run("modprobe", "nouveau")
    if hardware["next_kernel"]:
        progress(f"{node.name}: installing the next kernel")
        node.run(*_INSTALL, f"linux-image-{package_release(next_release())}", environment=_QUIET)
