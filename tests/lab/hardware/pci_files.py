"""The sysfs files of one PCI device (Documentation/ABI/testing/sysfs-bus-pci and -devices-aer_stats)."""
from __future__ import annotations

import os
from typing import Any

from tests.lab.hardware import pci_config
from tests.lab.hardware.pci_config import Link

Files = dict[str, str | bytes]

_UNCORRECTABLE = (
    "Undefined", "DLP", "SDES", "TLP", "FCP", "CmpltTO", "CmpltAbrt", "UnxCmplt", "RxOF", "MalfTLP", "ECRC", "UnsupReq", "ACSViol", "UncorrIntErr",
    "BlockedTLP", "AtomicOpBlocked", "TLPBlockedErr", "PoisonTLPBlocked",
)  # fmt: skip
# Kind → names of the errors, and of the line with their sum (drivers/pci/pcie/aer.c).
ERRORS = {
    "correctable": (("RxErr", "BadTLP", "BadDLLP", "Rollover", "Timeout", "NonFatalErr", "CorrIntErr", "HeaderOF"), "TOTAL_ERR_COR"),
    "nonfatal": (_UNCORRECTABLE, "TOTAL_ERR_NONFATAL"),
    "fatal": (_UNCORRECTABLE, "TOTAL_ERR_FATAL"),
}


def node_of(address: str) -> int:
    """The NUMA node of a device that does not say otherwise: the second half of the buses hangs on the second processor."""
    return int(int(address[5:7], 16) >= 0x80)


def bars(pci: dict[str, Any], firmware: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a board's BARs in the sizes that the firmware gives them."""
    return [{**bar, "size_mib": max(bar["sizes_mib"])} if firmware.get("resizable_bar") and "sizes_mib" in bar else bar for bar in pci["bars"]]


def common(address: str, *, ids: tuple[int, int], subsystem: tuple[int, int], class_code: int, revision: int, link: Link, place: dict[str, Any]) -> Files:
    """Return what every device has. `place`: `numa_node` and `cpus` where the defaults do not hold."""
    vendor, device = ids
    base, sub, interface = class_code >> 16, class_code >> 8 & 0xFF, class_code & 0xFF
    alias = f"pci:v{vendor:08X}d{device:08X}sv{subsystem[0]:08X}sd{subsystem[1]:08X}bc{base:02X}sc{sub:02X}i{interface:02X}"
    event = f"PCI_CLASS={class_code:X}\nPCI_ID={vendor:04X}:{device:04X}\nPCI_SUBSYS_ID={subsystem[0]:04X}:{subsystem[1]:04X}\n"
    event += f"PCI_SLOT_NAME={address}\nMODALIAS={alias}\n"
    generation, width = link.current
    node = place.get("numa_node")
    return {
        "vendor": f"0x{vendor:04x}\n", "device": f"0x{device:04x}\n", "class": f"0x{class_code:06x}\n", "revision": f"0x{revision:02x}\n",
        "subsystem_vendor": f"0x{subsystem[0]:04x}\n", "subsystem_device": f"0x{subsystem[1]:04x}\n", "modalias": f"{alias}\n", "uevent": event,
        "current_link_speed": f"{pci_config.speed_text(generation)}\n", "max_link_speed": f"{pci_config.speed_text(link.generation)}\n",
        "current_link_width": f"{width}\n", "max_link_width": f"{link.width}\n",
        "numa_node": f"{node_of(address) if node is None else node}\n", "local_cpulist": f"{place.get('cpus') or f'0-{(os.cpu_count() or 1) - 1}'}\n",
        "irq": "16\n", "enable": "1\n", "d3cold_allowed": "1\n", "broken_parity_status": "0\n", "power/control": "on\n", "power/runtime_status": "active\n",
        **errors({}),
    }  # fmt: skip


def errors(counts: dict[str, dict[str, int]]) -> Files:
    """Return the counters of Advanced Error Reporting; `counts`: kind → error → number, 0 where nothing is said."""
    found: Files = {}
    for kind, (names, total) in ERRORS.items():
        own = counts.get(kind, {})
        if unknown := own.keys() - set(names):
            raise ValueError(f"aer {kind}: unknown error {', '.join(sorted(unknown))}; the known ones are {', '.join(names)}")
        found[f"aer_dev_{kind}"] = "".join(f"{name} {own.get(name, 0)}\n" for name in names) + f"{total} {sum(own.values())}\n"
    return found


def virtual_functions(count: int, device: int) -> Files:
    """Return the files of a device with SR-IOV, none of whose virtual functions is on."""
    if not count:
        return {}
    values = {"totalvfs": count, "numvfs": 0, "offset": 4, "stride": 1, "vf_device": f"{device:x}", "drivers_autoprobe": 1}
    return {f"sriov_{name}": f"{value}\n" for name, value in values.items()}


def resizable(registers: dict[int, tuple[int, int]]) -> Files:
    """Return the files of the resizable BARs, as pci_config has them: the sizes as a mask, bit 0 is 1 MiB."""
    return {f"resource{index}_resize": f"{bits:016x}\n" for index, (bits, _size) in registers.items()}
