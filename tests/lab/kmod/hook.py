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
import refcount
import trust
import udev

DRIVERS = {"nouveau": nouveau, "nvidia": nvidia, "nvidia_uvm": nvidia.Uvm, "nvidia_modeset": nvidia.Modeset}

_COUNTING = ("systemd-run", "--quiet", "--no-block", "--collect", "--unit=lab-refcount", "--property=Type=exec", "python3")


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
    reason = trust.refusal(information)
    if reason:
        kernel.log(5, f"Loading of {reason} is rejected")
        print(f"modprobe: ERROR: could not insert '{name}': Key was rejected by service", file=sys.stderr)
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
        subprocess.run([*_COUNTING, refcount.__file__], check=False, stderr=subprocess.DEVNULL)
    udev.event("add", f"/module/{name}", "module")
    if driver and hasattr(driver, "BUS_DRIVER"):
        udev.event("add", f"/bus/pci/drivers/{driver.BUS_DRIVER}", "drivers")
    return 0


def remove(name: str) -> int:
    """Remove a module that nothing uses, and then those below it that nothing uses any more, as modprobe does."""
    if not kernel.module_folder(name).exists():
        return 0
    if kernel.holders(name) or refcount.users().get(name):
        print(f"modprobe: FATAL: Module {name} is in use.", file=sys.stderr)
        return 1
    driver = DRIVERS.get(name)
    if driver:
        driver.remove()
    below = kernel.hide_module(name)
    if driver and hasattr(driver, "BUS_DRIVER"):
        udev.event("remove", f"/bus/pci/drivers/{driver.BUS_DRIVER}", "drivers")
    udev.event("remove", f"/module/{name}", "module")
    for unused in below:
        if not kernel.holders(unused) and not refcount.users().get(unused):
            remove(unused)
    return 0


if __name__ == "__main__":
    status = insert(sys.argv[2], sys.argv[3:]) if sys.argv[1] == "insert" else remove(sys.argv[2])
    refcount.refresh()
    sys.exit(status)
