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
# "Other bridge": every NVSwitch that is on the PCI bus.
NVSWITCH_CLASS = "0680"
BRIDGE_CLASS = "06"
DEVICES = "/sys/bus/pci/devices"
BUS_ADDRESS = re.compile(r"^[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$")
MIB = 1024 * 1024

# Flags of a line in `resource` (include/linux/ioport.h).
MEMORY_64_BIT = 0x00100000
UNSET = 0x20000000

GENERATIONS = {"2.5": 1, "5.0": 2, "5": 2, "8.0": 3, "8": 3, "16.0": 4, "16": 4, "32.0": 5, "32": 5, "64.0": 6, "64": 6}
LINK_FIELDS = ("generation_current", "generation_max", "width_current", "width_max", "aspm")
IDS = (("vendor_id", "vendor"), ("device_id", "device"), ("subsystem_vendor_id", "subsystem_vendor"), ("subsystem_device_id", "subsystem_device"),
       ("class_code", "class"))  # fmt: skip
# Group, field → file that only some devices have.
AER = tuple((kind, "aer_dev_" + kind) for kind in ("correctable", "nonfatal", "fatal"))
SRIOV = (("total_vfs", "sriov_totalvfs"), ("num_vfs", "sriov_numvfs"))
NO_SRIOV = "the device has no SR-IOV"
NO_AER = "the kernel counts no errors of the device (no AER)"


def scan(root: str = "") -> t.Tuple[t.List[str], t.List[str]]:
    """`(GPUs, NVSwitches)`: bus addresses of NVIDIA's devices under `root`/sys/bus/pci, in the order of the bus."""
    gpus, switches = [], []
    for name in names(root + DEVICES):
        path = "%s%s/%s" % (root, DEVICES, name)
        if BUS_ADDRESS.match(name) and read_text(path + "/vendor")[0] == NVIDIA:
            code = (read_text(path + "/class")[0] or "")[2:6]
            if code in GPU_CLASSES:
                gpus.append(name)
            elif code == NVSWITCH_CLASS:
                switches.append(name)
    return sorted(gpus, key=order), sorted(switches, key=order)


def read(root: str = "", addresses: t.Optional[t.Sequence[str]] = None) -> t.List[Device]:
    """The GPUs with these bus addresses (None: every one that `scan` finds).

    Keys: `bus_address`, `pci`, `bar1` (`address` as hexadecimal text, `size_mib`), `pcie` (with `upstream`), as in the facts; `lost`
    (the device no longer answers on the bus), `route` (names of the host bridge and of each bridge down to the device), `source`,
    `unavailable` (dotted field → reason).
    """
    return [_device(name, root) for name in (scan(root)[0] if addresses is None else addresses)]


def order(bus_address: str) -> t.Tuple[int, ...]:
    """Sort key of a bus address: domain, bus, device, function as numbers."""
    return tuple(int(part, 16) for part in re.split(r"[:.]", bus_address))


def _device(name: str, root: str) -> Device:
    path = "%s%s/%s" % (root, DEVICES, name)
    present = names(path)
    unavailable: t.Dict[str, str] = {}
    pci: Device = {}
    for field, file in IDS:
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
    pci["numa_node"] = _number(node)
    if pci["numa_node"] is None:
        unavailable["pci.numa_node"] = _outside(why, root) or "the firmware assigns no NUMA node"
    affinity, why = read_text(path + "/local_cpulist")
    pci["cpu_affinity"] = affinity or None
    if not affinity:
        unavailable["pci.cpu_affinity"] = _outside(why, root) or "the kernel lists no processors"
    _iommu(path, name, pci, unavailable)
    for group, files, convert, why in (("aer", AER, errors, NO_AER), ("sriov", SRIOV, _number, NO_SRIOV)):
        pci[group] = {field: convert(read_text("%s/%s" % (path, file))[0]) if file in present else None for field, file in files}
        unavailable.update({"pci.%s.%s" % (group, field): why for field, value in pci[group].items() if value is None})

    text, why = read_text(path + "/resource")
    address, size, problem = (None, None, _outside(why, root)) if text is None else bar1_region(text)
    bar1 = {"address": None if address is None else "0x%x" % address, "size_mib": None if size is None else size // MIB}
    for field, value in bar1.items():
        if value is None:
            unavailable["bar1." + field] = problem

    config, why = read_bytes(path + "/config", pci_config.SIZE)
    link = pci_config.link(config, _outside(why, root))
    pcie = _link(path, link, unavailable, "pcie.")
    pci["resizable_bar_sizes_mib"] = pci_config.bar1_sizes(config)
    if pci["resizable_bar_sizes_mib"] is None:
        bits = next((read_text("%s/%s" % (path, file))[0] for file in ("resource1_resize", "resource2_resize") if file in present), None)
        if bits and re.match(r"[0-9a-fA-F]{1,16}\Z", bits):
            pci["resizable_bar_sizes_mib"] = pci_config.sizes(int(bits, 16))
    if pci["resizable_bar_sizes_mib"] is None:
        unavailable["pci.resizable_bar_sizes_mib"] = link.get("reason") or "the configuration space is cut short"

    route = [part for part in os.path.realpath(path)[len(root) :].split("/") if part.startswith("pci") or BUS_ADDRESS.match(part)]
    upstream = route[-2] if len(route) > 1 and BUS_ADDRESS.match(route[-2]) else None
    pcie["upstream"] = _upstream(os.path.dirname(os.path.realpath(path)), upstream, root, unavailable)
    return {"bus_address": name, "pci": pci, "bar1": bar1, "pcie": pcie, "lost": bool(link.get("lost")), "route": route,
            "source": _outside("sysfs:" + path, root), "unavailable": unavailable}  # fmt: skip


def _upstream(path: str, name: t.Optional[str], root: str, unavailable: t.Dict[str, str]) -> Device:
    fields = ("bus_address",) + LINK_FIELDS + ("acs_source_validation", "prefetchable_window")
    if name is None:
        unavailable.update(dict.fromkeys(("pcie.upstream." + field for field in fields), "sysfs shows no bridge above the device"))
        return dict.fromkeys(fields)
    config, why = read_bytes(path + "/config", pci_config.SIZE)
    link = pci_config.link(config, _outside(why, root))
    found = dict({"bus_address": name}, **_link(path, link, unavailable, "pcie.upstream."))
    found["acs_source_validation"] = pci_config.source_validation(config)
    if found["acs_source_validation"] is None:
        unavailable["pcie.upstream.acs_source_validation"] = link.get("reason") or "the port has no Access Control Services"
    window = pci_config.prefetchable_window(config)
    found["prefetchable_window"] = None if window is None else {"start": "0x%x" % window[0], "end": "0x%x" % window[1]}
    if window is None:
        readable = config is not None and len(config) >= pci_config.HEADER_BYTES and not link.get("lost")
        unavailable["pcie.upstream.prefetchable_window"] = "the bridge passes on no prefetchable memory" if readable else link["reason"]
    return found


def _iommu(path: str, name: str, pci: Device, unavailable: t.Dict[str, str]) -> None:
    """The device's IOMMU group and who shares it; bridges belong to every group below them and are left out."""
    try:
        pci["iommu_group"] = _number(os.path.basename(os.readlink(path + "/iommu_group")))
    except OSError:
        pci["iommu_group"] = None
    peers = names(path + "/iommu_group/devices")
    base = os.path.dirname(path)
    pci["iommu_group_peers"] = [
        one for one in peers if one != name and BUS_ADDRESS.match(one) and not (read_text("%s/%s/class" % (base, one))[0] or "")[2:].startswith(BRIDGE_CLASS)
    ]
    if pci["iommu_group"] is None:
        unavailable["pci.iommu_group"] = "the device is in no IOMMU group"


def _number(text: t.Optional[str]) -> t.Optional[int]:
    return int(text) if text is not None and re.match(r"[0-9]{1,18}\Z", text) else None


def errors(text: t.Optional[str]) -> t.Optional[int]:
    """The sum in a `aer_dev_*` file: lines `name count`, the last one `TOTAL_ERR_… sum` (kernel, Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats)."""
    counts = re.findall(r"^(\w+) ([0-9]{1,18})$", text or "", re.MULTILINE)
    totals = [int(number) for name, number in counts if name.startswith("TOTAL_")]
    return totals[-1] if totals else sum(int(number) for _name, number in counts) if counts else None


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
