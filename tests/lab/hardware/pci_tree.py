"""The PCI part of sysfs, as firmware and kernel leave it after power-on (Documentation/ABI/testing/sysfs-bus-pci)."""
from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.lab.hardware import pci_config, pci_files
from tests.lab.hardware.iommu import write_groups
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


def _regions(bars: list[dict[str, Any]], above_4g: bool, allocator: _Allocator) -> dict[int, dict[str, Any]]:
    regions = {}
    for bar in sorted(bars, key=lambda bar: -bar["size_mib"]):
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


def _window(regions: list[dict[str, Any]], wide: bool) -> tuple[int, int] | None:
    taken = [(r["address"], r["address"] + r["size"] - 1) for r in regions if r["wide"] == wide and r["size"]]
    return (min(first for first, _ in taken), max(last for _, last in taken)) if taken else None


def _write(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def _link(device: dict[str, Any], firmware: dict[str, Any]) -> Link:
    card, trained = device["board"]["pci"]["link"], device.get("link") or {}
    support = ASPM[card["aspm_support"]]
    trained_generation, trained_width = trained.get("generation", 0), trained.get("width", 0)
    return Link(card["generation"], card["width"], support, ASPM[firmware["aspm"]] & support, trained_generation, trained_width)


def _endpoint(folder: Path, device: dict[str, Any], firmware: dict[str, Any], allocator: _Allocator) -> list[dict[str, Any]]:
    """Write a device into `folder`; return its regions."""
    pci, link = device["board"]["pci"], _link(device, firmware)
    identity = {
        "ids": (pci["vendor"], pci["device"]), "subsystem": (pci["subsystem_vendor"], pci["subsystem_device"]), "class_code": pci["class"],
        "revision": pci["revision"], "link": link,
    }  # fmt: skip
    sized = pci_files.bars(pci, firmware)
    regions = _regions(sized, firmware["above_4g"], allocator)
    resizable = {bar["index"]: (sum(bar["sizes_mib"]), bar["size_mib"].bit_length() - 1) for bar in sized if "sizes_mib" in bar}
    functions = pci.get("virtual_functions", 0)
    bars = {index: (region["address"], region["wide"]) for index, region in regions.items()}
    states = {f"link/{name}_aspm": f"{int(bool(link.aspm_control & bit))}\n" for name, bit in (("l0s", 1), ("l1", 2)) if link.aspm_support & bit}
    _write(folder, {
        **pci_files.common(device["bus_address"], **identity, place=device),
        **pci_files.errors(device.get("aer") or {}), **pci_files.virtual_functions(functions, pci["device"]), **pci_files.resizable(resizable),
        **states, "resource": _resource(regions), "boot_vga": "0\n",
        "config": pci_config.endpoint(**identity, bars=bars, resizable=resizable, virtual_functions=functions),
    })  # fmt: skip
    return list(regions.values())


def _port(tree: Path, port: str, devices: list[dict[str, Any]], firmware: dict[str, Any], allocator: _Allocator) -> None:
    """Write a root port and the devices below it."""
    folder = tree / f"devices/pci{port[:7]}/{port}"
    regions = [region for device in devices for region in _endpoint(folder / device["bus_address"], device, firmware, allocator)]
    below = _link(devices[0], firmware)
    link = Link(below.generation, below.width, 3, below.aspm_control, below.trained_generation, below.trained_width)
    buses = (int(port[5:7], 16), int(devices[0]["bus_address"][5:7], 16))
    config = pci_config.root_port(
        ids=_ROOT_PORT, buses=buses, memory=_window(regions, False), prefetchable=_window(regions, True), link=link, access_control=firmware["acs"]
    )
    place = {"numa_node": devices[0].get("numa_node"), "cpus": devices[0].get("cpus")}
    files = pci_files.common(port, ids=_ROOT_PORT, subsystem=(0, 0), class_code=0x060400, revision=4, link=link, place=place)
    numbers = {"secondary_bus_number": f"{buses[1]}\n", "subordinate_bus_number": f"{buses[1]}\n"}
    _write(folder, {**files, "resource": _resource({}), "config": config, **numbers})
    for path in (folder, *(folder / device["bus_address"] for device in devices)):
        depth = "../" * len(path.relative_to(tree).parts)
        (path / "subsystem").symlink_to(f"{depth}bus/pci")
        (tree / "bus/devices" / path.name).symlink_to(f"../../../{path.relative_to(tree)}")
    (folder / "driver").symlink_to("../../../bus/pci/drivers/pcieport")
    (tree / "bus/drivers/pcieport" / port).symlink_to(f"../../../../{folder.relative_to(tree)}")


def write_tree(hardware: dict[str, Any], tree: Path) -> None:
    """Write `tree`/devices (what becomes part of /sys/devices), `tree`/bus (/sys/bus/pci) and `tree`/iommu_groups (/sys/kernel/iommu_groups)."""
    for folder in ("devices", "bus/devices", "bus/drivers/pcieport", "bus/slots", "iommu_groups"):
        (tree / folder).mkdir(parents=True)
    _write(tree / "bus", {"drivers_autoprobe": "1\n", "rescan": ""})
    allocator, firmware = _Allocator(), hardware["firmware"]
    ports: dict[str, list[dict[str, Any]]] = {}
    for device in [*hardware["gpus"], *hardware["devices"]]:
        ports.setdefault(device["upstream"], []).append(device)
    for port, devices in ports.items():
        _port(tree, port, devices, firmware, allocator)
    if firmware["iommu"]:
        write_groups({port: [device["bus_address"] for device in devices] for port, devices in ports.items()}, bool(firmware["acs"]), tree)
