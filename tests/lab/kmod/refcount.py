#!/usr/bin/python3
"""Reference counts of the driver's modules, as the kernel shows them: one for each module on top, one for each open device of a process.

`refresh` writes them once. Run as a program it keeps them true while the driver is loaded: the end of a process shows at once, a process that
opens a device within a second.
"""
from __future__ import annotations

import os
import re
import select
from pathlib import Path

import kernel

# Which device nodes belong to a module, and which libraries stand for them: the doubles of the driver's libraries open no device.
_NODES = {"nvidia": re.compile(r"/dev/nvidia(\d+|ctl)$"), "nvidia_uvm": re.compile(r"/dev/nvidia-uvm"), "nvidia_modeset": re.compile(r"/dev/nvidia-modeset$")}
_LIBRARIES = {"nvidia": ("/libnvidia-ml.so.", "/libcuda.so."), "nvidia_uvm": ("/libcuda.so.",)}
_PATIENCE_MS = 1000


def users() -> dict[str, dict[int, int]]:
    """Return module → process → how many of the module's devices it holds."""
    found: dict[str, dict[int, int]] = {name: {} for name in _NODES}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text()
            opened = [os.readlink(entry) for entry in (process / "fd").iterdir()]
        except OSError:
            continue  # gone since
        for name, pattern in _NODES.items():
            uses = sum(bool(pattern.match(path)) for path in opened)
            uses = uses or int(any(library in maps for library in _LIBRARIES.get(name, ())))
            if uses:
                found[name][int(process.name)] = uses
    return found


def refresh() -> set[int]:
    """Write the counts of all modules of the driver that are loaded; returns the processes that hold one."""
    found = users()
    for name in (folder.name for folder in kernel.MODULES.glob("nvidia*")):
        try:
            kernel.count(name, sum(found.get(name, {}).values()))
        except FileNotFoundError:
            continue  # removed since
    return {process for held in found.values() for process in held}


def main() -> None:
    """Keep the counts true until the driver is gone."""
    while kernel.module_folder("nvidia").exists():
        ends = []
        poll = select.poll()
        for process in refresh():
            try:
                ends.append(os.pidfd_open(process))
                poll.register(ends[-1], select.POLLIN)
            except ProcessLookupError:
                continue
        poll.poll(_PATIENCE_MS)
        for end in ends:
            os.close(end)


if __name__ == "__main__":
    main()
