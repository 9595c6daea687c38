"""A GPU server as a folder: the files that the readers of evidence look at, below a root of their own."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.lab.hardware import nvml_state, pci_tree, profile

NVRM = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}  Tue Sep 23 10:11:16 UTC 2025\nGCC version:  gcc version 13.3.0\n"
NVRM_OPEN = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder@U22-I3-AF01-09-4)  Sun Mar 30 07:36:48 UTC 2025\n"


def write(root, path, content):
    """Write `content` (text or bytes) to `path` below `root`."""
    target = Path(root) / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content if isinstance(content, bytes) else content.encode())
    return target


def machine(root, name):
    """Write the PCI tree of the lab's profile `name` and the state of its NVML double (`root`/nvml)."""
    root = Path(root)
    hardware = profile.load(name)
    pci_tree.write_tree(hardware, root / "tree")
    (root / "sys/bus").mkdir(parents=True)
    (root / "tree/bus").rename(root / "sys/bus/pci")
    (root / "tree/devices").rename(root / "sys/devices")
    nvml_state.write_state(hardware, root / "nvml")
    return hardware


def driver(root, version="580.95.05", flavor="proprietary"):
    """Load a driver: what the kernel shows of it."""
    write(root, "/sys/module/nvidia/version", version + "\n")
    write(root, "/proc/driver/nvidia/version", (NVRM if flavor == "proprietary" else NVRM_OPEN).format(version))


def kernel_module(modinfo):
    """An ELF64 object with the section .modinfo, as `modinfo` of the kernel's build writes it: {key: value} → bytes."""
    names = b"\0.modinfo\0.shstrtab\0"
    info = b"".join(b"%s=%s\0" % (key.encode(), value.encode()) for key, value in modinfo.items())
    data = info + names
    sections = [(0, 0, 0, 0), (1, 1, 64, len(info)), (10, 3, 64 + len(info), len(names))]
    table = b"".join(struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, offset, size, 0, 0, 1, 0) for name, kind, offset, size in sections)
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, 64 + len(data), 0, 64, 0, 0, 64, 3, 2)
    return header + data + table


def no_commands(args, **_options):
    """A `run` for machines without any program."""
    return 127, "", "%s: not found" % args[0]
