#!/usr/bin/python3
"""What inserting and removing a kernel module does to a node. Called by modprobe's install and remove lines."""
from __future__ import annotations

import errno
import os
import subprocess
import sys

import kernel
import nouveau
import nvidia
import udev

DRIVERS = {"nouveau": nouveau, "nvidia": nvidia, "nvidia_uvm": nvidia.Uvm, "nvidia_modeset": nvidia.Modeset}


def insert(name: str, options: list[str]) -> int:
    """Insert a module after those it depends on; the error texts are modprobe's."""
    if kernel.module_folder(name).exists():
        return 0
    information = kernel.module_information(name)
    if not information:
        print(f"modprobe: FATAL: Module {name} not found in directory /lib/modules/{os.uname().release}", file=sys.stderr)
        return 1
    dependencies = [word for word in information.get("depends", "").split(",") if word and kernel.module_information(word)]
    for dependency in dependencies:
        if subprocess.run(["modprobe", dependency], check=False).returncode:
            return 1
    driver = DRIVERS.get(name)
    try:
        if driver:
            driver.insert(information, kernel.module_options(name, options))
    except OSError as error:
        print(f"modprobe: ERROR: could not insert '{name}': {os.strerror(error.errno or errno.EIO)}", file=sys.stderr)
        return 1
    kernel.show_module(name, information, dependencies)
    if name == "nvidia":
        nvidia.publish_state()
    udev.event("add", f"/module/{name}", "module")
    if driver and hasattr(driver, "BUS_DRIVER"):
        udev.event("add", f"/bus/pci/drivers/{driver.BUS_DRIVER}", "drivers")
    return 0


def remove(name: str) -> int:
    """Remove a module that nothing uses."""
    if not kernel.module_folder(name).exists():
        return 0
    users = kernel.holders(name) + (nvidia.users() if name.startswith("nvidia") else [])
    if users:
        print(f"modprobe: FATAL: Module {name} is in use.", file=sys.stderr)
        return 1
    driver = DRIVERS.get(name)
    if driver:
        driver.remove()
    kernel.hide_module(name)
    if driver and hasattr(driver, "BUS_DRIVER"):
        udev.event("remove", f"/bus/pci/drivers/{driver.BUS_DRIVER}", "drivers")
    udev.event("remove", f"/module/{name}", "module")
    return 0


if __name__ == "__main__":
    sys.exit(insert(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "insert" else remove(sys.argv[2]))
