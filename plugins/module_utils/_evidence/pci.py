# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPUs on the PCI bus, with or without a driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import pci_config
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text

Device = t.Dict[str, t.Any]

NVIDIA = "0x10de"
# VGA and 3D controllers: the classes that NVIDIA's kernel module accepts (nv-pci.c). Audio and USB functions of the same card have others.
GPU_CLASSES = ("0300", "0302")
BUS_ADDRESS = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
MIB = 1024 * 1024

# Flags of a line in `resource` (include/linux/ioport.h).
MEMORY_64_BIT = 0x00100000
UNSET = 0x20000000

GENERATIONS = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "8": 3, "16.0": 4, "16": 4, "32.0": 5, "32": 5, "64.0": 6, "64": 6}
LINK_FIELDS = ("generation_current", "generation_max", "width_current", "width_max", "aspm")


def read(root: str = "") -> t.List[Device]:
    """Every NVIDIA GPU under `root`/sys/bus/pci, ordered by bus address.

    Keys: `bus_address`, `pci`, `bar1` (`address` as hexadecimal text, `size_mib`), `pcie` (with `upstream`), as in the facts; `lost`
    (the device no longer answers on the bus), `source`, `unavailable` (dotted field → reason).
    """
    base = root + "/sys/bus/pci/devices"
    return [_device(base, name, root) for name in sorted(filter(BUS_ADDRESS.match, names(base)), key=order) if _is_gpu("%s/%s" % (base, name))]


def order(bus_address: str) -> t.Tuple[int, ...]:
    """Sort key of a bus address: domain, bus, device, function as numbers."""
    return tuple(int(part, 16) for part in re.split(r"[:.]", bus_address))


def _is_gpu(path: str) -> bool:
    vendor, _why = read_text(path + "/vendor")
    if vendor != NVIDIA:
        return False
    code, _why = read_text(path + "/class")
    return (code or "")[2:6] in GPU_CLASSES


def _device(base: str, name: str, root: str) -> Device:
    path = "%s/%s" % (base, name)
    unavailable: t.Dict[str, str] = {}
    pci: Device = {}
    for field, file in (("vendor_id", "vendor"), ("device_id", "device"), ("subsystem_vendor_id", "subsystem_vendor"),
                        ("subsystem_device_id", "subsystem_device"), ("class_code", "class")):  # fmt: skip
        value, why = read_text("%s/%s" % (path, file))
        pci[field] = value[2:].lower() if value and value.startswith("0x") else None
        if pci[field] is None:
            unavailable["pci." + field] = _outside(why, root) or "%s is not a hexadecimal number" % file
    try:
        pci["kernel_driver"] = os.path.basename(os.readlink(path + "/driver"))
    except OSError:
        pci["kernel_driver"] = None
        unavailable["pci.kernel_driver"] = "no kernel driver is bound"
    node, why = read_text(path + "/numa_node")
    pci["numa_node"] = int(node) if node is not None and node.isdigit() else None
    if pci["numa_node"] is None:
        unavailable["pci.numa_node"] = _outside(why, root) or "the firmware assigns no NUMA node"

    text, why = read_text(path + "/resource")
    address, size, problem = (None, None, _outside(why, root)) if text is None else bar1_region(text)
    bar1 = {"address": None if address is None else "0x%x" % address, "size_mib": None if size is None else size // MIB}
    for field, value in bar1.items():
        if value is None:
            unavailable["bar1." + field] = problem

    config, why = read_bytes(path + "/config", pci_config.SIZE)
    link = pci_config.link(config, _outside(why, root))
    pcie = _link(path, link, unavailable, "pcie.")
    upstream = os.path.basename(os.path.dirname(os.path.realpath(path)))
    if BUS_ADDRESS.match(upstream):
        above = os.path.dirname(os.path.realpath(path))
        config, why = read_bytes(above + "/config", pci_config.SIZE)
        pcie["upstream"] = dict({"bus_address": upstream}, **_link(above, pci_config.link(config, _outside(why, root)), unavailable, "pcie.upstream."))
    else:
        pcie["upstream"] = dict.fromkeys(("bus_address",) + LINK_FIELDS)
        unavailable.update(dict.fromkeys(("pcie.upstream." + field for field in pcie["upstream"]), "sysfs shows no bridge above the device"))
    return {"bus_address": name, "pci": pci, "bar1": bar1, "pcie": pcie, "lost": bool(link.get("lost")), "source": _outside("sysfs:" + path, root),
            "unavailable": unavailable}  # fmt: skip


def _link(path: str, seen: Device, unavailable: t.Dict[str, str], prefix: str) -> Device:
    """The link of one PCI function: from its configuration space where that can be read (root), else from what sysfs says of it."""
    link = {field: seen.get(field) for field in LINK_FIELDS}
    why = seen.get("reason") or "the link does not say"
    if not seen.get("lost"):
        for field, file in (("generation_current", "current_link_speed"), ("generation_max", "max_link_speed")):
            if link[field] is None:
                speed, _why = read_text("%s/%s" % (path, file))
                link[field] = GENERATIONS.get((speed or "").partition(" ")[0])
        for field, file in (("width_current", "current_link_width"), ("width_max", "max_link_width")):
            if link[field] is None:
                width, _why = read_text("%s/%s" % (path, file))
                link[field] = int(width) if width is not None and width.isdigit() and int(width) in pci_config.WIDTHS else None
        if link["aspm"] is None:
            states = [read_text("%s/link/%s_aspm" % (path, state))[0] for state in ("l0s", "l1")]
            # A state that the link cannot enter has no file; without any file the kernel does not own ASPM and the truth is in the registers.
            if "0" in states or "1" in states:
                link["aspm"] = pci_config.ASPM_NAMES[(states[0] == "1") | (states[1] == "1") << 1]
    for field in LINK_FIELDS:
        if link[field] is None:
            unavailable[prefix + field] = why
    return link


def bar1_region(text: str) -> t.Tuple[t.Optional[int], t.Optional[int], str]:
    """`(address, size in bytes, reason for what is None)` of BAR1 from the text of a sysfs `resource` file.

    A line is `start end flags`. BAR1 is the second memory region that the device has, as in NVIDIA's kernel module: a 64-bit BAR0 (Hopper
    and newer) takes two lines. An unassigned region keeps its size with the UNSET flag or start 0, or is all zeros (older kernels).
    """
    regions = []
    for line in text.splitlines()[:6]:
        parts = line.split()
        try:
            start, end, flags = (int(part, 16) for part in parts)
        except ValueError:
            return None, None, "resource is malformed: %.60s" % line
        if start < 0 or end < start:
            return None, None, "resource is malformed: %.60s" % line
        regions.append((start, end, flags))
    if len(regions) < 3:
        return None, None, "resource has no line for BAR1"
    index = 2 if regions[0][2] & MEMORY_64_BIT or regions[1] == (0, 0, 0) else 1
    start, end, flags = regions[index]
    if (start, end) == (0, 0):
        return None, None, "BAR1 is not assigned"
    if start == 0 or flags & UNSET:
        return None, end - start + 1, "BAR1 is not assigned"
    return start, end - start + 1, ""


def _outside(text: str, root: str) -> str:
    """`text` with paths as they are on the machine, also when it was read below another root."""
    return text.replace(root, "", 1) if root else text
