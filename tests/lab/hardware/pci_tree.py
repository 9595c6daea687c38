"""The PCI part of sysfs, as firmware and kernel leave it after power-on (Documentation/ABI/testing/sysfs-bus-pci)."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tests.lab.hardware import pci_config
from tests.lab.hardware.pci_config import ASPM, Link

_MIB = 1 << 20
_MEM, _PREFETCH, _SIZEALIGN, _MEM64 = 0x200, 0x2000, 0x40000, 0x100000  # include/linux/ioport.h
_LOW, _HIGH = 0xC0000000, 0x200000000000
# Without "Above 4G Decoding" firmware finds room below 4 GiB for regions up to this size.
_LARGEST_LOW = 256 * _MIB
# Sky Lake-E PCI Express Root Port A
_ROOT_PORT = (0x8086, 0x2030)


class _Allocator:
    """Hands out addresses, each aligned to its size as PCI wants it."""

    def __init__(self) -> None:
        self._next = {False: _LOW, True: _HIGH}

    def take(self, size: int, high: bool) -> int:
        address = -(-self._next[high] // size) * size
        self._next[high] = address + size
        return address


def _regions(board: dict[str, Any], above_4g: bool, allocator: _Allocator) -> dict[int, dict[str, Any]]:
    regions = {}
    for bar in sorted(board["pci"]["bars"], key=lambda bar: -bar["size_mib"]):
        size = bar["size_mib"] * _MIB
        wide = bar["kind"] != "mem32"
        fits = not wide or above_4g or size <= _LARGEST_LOW
        flags = (_MEM | _SIZEALIGN | (_PREFETCH | _MEM64 | 0xC if wide else 0)) if fits else 0
        regions[bar["index"]] = {"address": allocator.take(size, wide and above_4g) if fits else 0, "size": size if fits else 0, "flags": flags, "wide": wide}
    return regions


def _resource(regions: dict[int, dict[str, Any]]) -> str:
    lines = []
    for index in range(13):
        region = regions.get(index, {"address": 0, "size": 0, "flags": 0})
        last = region["address"] + region["size"] - 1 if region["size"] else 0
        lines.append(f"0x{region['address']:016x} 0x{last:016x} 0x{region['flags']:016x}\n")
    return "".join(lines)


def _window(regions: dict[int, dict[str, Any]], wide: bool) -> tuple[int, int] | None:
    taken = [(r["address"], r["address"] + r["size"] - 1) for r in regions.values() if r["wide"] == wide and r["size"]]
    return (min(first for first, _ in taken), max(last for _, last in taken)) if taken else None


def _write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _common(address: str, *, ids: tuple[int, int], subsystem: tuple[int, int], class_code: int, revision: int, link: Link) -> dict[str, str | bytes]:
    vendor, device = ids
    base, sub, interface = class_code >> 16, class_code >> 8 & 0xFF, class_code & 0xFF
    alias = f"pci:v{vendor:08X}d{device:08X}sv{subsystem[0]:08X}sd{subsystem[1]:08X}bc{base:02X}sc{sub:02X}i{interface:02X}"
    event = f"PCI_CLASS={class_code:X}\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SUBSYS_ID={subsystem[0]:04X}:{subsystem[1]:04X}\n"
    event += f"PCI_SLOT_NAME={address}\nMODALIAS={alias}\n"
    speed = pci_config.speed_text(link.generation)
    return {
        "vendor": f"0x{vendor:04x}\n", "device": f"0x{device:04x}\n", "class": f"0x{class_code:06x}\n", "revision": f"0x{revision:02x}\n",
        "subsystem_vendor": f"0x{subsystem[0]:04x}\n", "subsystem_device": f"0x{subsystem[1]:04x}\n", "modalias": f"{alias}\n", "uevent": event,
        "current_link_speed": f"{speed}\n", "max_link_speed": f"{speed}\n", "current_link_width": f"{link.width}\n", "max_link_width": f"{link.width}\n",
        "numa_node": f"{int(int(address[5:7], 16) >= 0x80)}\n", "local_cpulist": f"0-{(os.cpu_count() or 1) - 1}\n", "irq": "16\n", "enable": "1\n",
        "d3cold_allowed": "1\n", "broken_parity_status": "0\n", "power/control": "on\n", "power/runtime_status": "active\n",
    }  # fmt: skip


def _gpu(tree: Path, gpu: dict[str, Any], firmware: dict[str, Any], allocator: _Allocator) -> None:
    pci = gpu["board"]["pci"]
    support = ASPM[pci["link"]["aspm_support"]]
    link = Link(pci["link"]["generation"], pci["link"]["width"], support, ASPM[firmware["aspm"]] & support)
    port_link = Link(link.generation, link.width, 3, link.aspm_control)
    regions = _regions(gpu["board"], firmware["above_4g"], allocator)
    port, address = gpu["upstream"], gpu["bus_address"]
    subsystem = (pci["subsystem_vendor"], pci["subsystem_device"])
    parent = tree / f"devices/pci{port[:7]}/{port}"
    bars = {index: (region["address"], region["wide"]) for index, region in regions.items()}
    identity = {"ids": (pci["vendor"], pci["device"]), "subsystem": subsystem, "class_code": pci["class"], "revision": pci["revision"], "link": link}
    config = pci_config.endpoint(**identity, bars=bars)
    files = _common(address, **identity)
    states = {f"link/{name}_aspm": f"{int(bool(link.aspm_control & bit))}\n" for name, bit in (("l0s", 1), ("l1", 2)) if support & bit}
    _write(parent / address, {**files, **states, "resource": _resource(regions), "config": config, "boot_vga": "0\n"})

    buses = (int(port[5:7], 16), int(address[5:7], 16))
    memory, prefetchable = _window(regions, False), _window(regions, True)
    config = pci_config.root_port(ids=_ROOT_PORT, buses=buses, memory=memory, prefetchable=prefetchable, link=port_link)
    files = _common(port, ids=_ROOT_PORT, subsystem=(0, 0), class_code=0x060400, revision=4, link=port_link)
    _write(parent, {**files, "resource": _resource({}), "config": config, "secondary_bus_number": f"{buses[1]}\n", "subordinate_bus_number": f"{buses[1]}\n"})

    for folder, name in ((parent, port), (parent / address, address)):
        depth = "../" * len(folder.relative_to(tree).parts)
        (folder / "subsystem").symlink_to(f"{depth}bus/pci")
        (tree / "bus/devices" / name).symlink_to(f"../../../{folder.relative_to(tree)}")
    (parent / "driver").symlink_to("../../../bus/pci/drivers/pcieport")
    (tree / "bus/drivers/pcieport" / port).symlink_to(f"../../../../{parent.relative_to(tree)}")


def write_tree(hardware: dict[str, Any], tree: Path) -> None:
    """Write `tree`/devices (what becomes part of /sys/devices) and `tree`/bus (what becomes /sys/bus/pci)."""
    for folder in ("devices", "bus/devices", "bus/drivers/pcieport", "bus/slots"):
        (tree / folder).mkdir(parents=True)
    _write(tree / "bus", {"drivers_autoprobe": "1\n", "rescan": ""})
    allocator = _Allocator()
    for gpu in hardware["gpus"]:
        _gpu(tree, gpu, hardware["firmware"], allocator)
