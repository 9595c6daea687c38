"""Writes the state directory of the NVML double from a resolved hardware profile."""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.lab.hardware import pci_files

ATTRIBUTES_FILE = Path(__file__).resolve().parents[1] / "nvml/attributes.yml"
NVSWITCH_CLASS = 0x068000
PLACES = ("l1_cache", "l2_cache", "device_memory", "register_file", "texture_memory", "texture_shared", "cbu", "sram")
ECC_PLACE = re.compile(rf"ecc_(volatile|aggregate)_(corrected|uncorrected)_({'|'.join(PLACES)})")


@cache
def attributes() -> dict[str, Any]:
    """Every attribute name → {about, default}."""
    groups = yaml.safe_load(ATTRIBUTES_FILE.read_text())
    return {name: rule for group in groups.values() for name, rule in group.items()}


def check_names(names: Any, where: str) -> None:
    """Raises ValueError when one of the names is not an attribute; `where` says whose they are."""
    unknown = sorted(name for name in names if name not in attributes() and not ECC_PLACE.fullmatch(str(name)))
    if unknown:
        raise ValueError(f"{where}: unknown NVML attribute {', '.join(unknown)}; the known ones are in tests/lab/nvml/attributes.yml")


def gpu_attributes(gpu: dict[str, Any], firmware: dict[str, Any]) -> dict[str, str]:
    """The attributes of one GPU of a resolved profile: defaults, its board's values, what place and firmware make of them, its own."""
    board, bus_address = gpu["board"], gpu["bus_address"]
    pci = board["pci"]
    values: dict[str, Any] = {name: rule["default"] for name, rule in attributes().items() if rule["default"] is not None}
    for source, where in ((board.get("nvml") or {}, f"board {board['name']}"), (gpu.get("nvml") or {}, f"GPU {bus_address}")):
        check_names(source, where)
        values.update(source)
    resized = [bar["size_mib"] for bar in pci_files.bars(pci, firmware) if "sizes_mib" in bar]
    identity = {
        "bus_address": bus_address,
        "uuid": gpu["uuid"],
        "serial": gpu["serial"],
        "upstream": gpu.get("upstream"),
        "pci_device_id": f"0x{pci['device']:04x}{pci['vendor']:04x}",
        "pci_subsystem_id": f"0x{pci['subsystem_device']:04x}{pci['subsystem_vendor']:04x}",
        "pci_class": f"0x{pci['class']:06x}",
        "lost": int(bool(gpu.get("lost"))),
        "numa_node": gpu.get("numa_node"),
        "pcie_width": (gpu.get("link") or {}).get("width"),
        "bar1_total_mib": resized[0] if resized else None,
    }
    own = gpu.get("nvml") or {}
    values.update({name: value for name, value in identity.items() if value is not None and name not in own})
    return {name: _text(value) for name, value in values.items() if value is not None}


def _link_ends(values: dict[str, str], switches: list[str]) -> dict[str, str]:
    """Where a GPU's NVLinks lead on a machine with NVSwitches: spread evenly over all of them, unless the profile says it."""
    links = values.get("nvlinks", "").split()
    if not links or links[0] == "error" or not switches or "nvlink_remotes" in values:
        return {}
    return {"nvlink_remotes": " ".join(switches[number * len(switches) // len(links)] for number in range(len(links)))}


def write_state(hardware: dict[str, Any], directory: Path) -> None:
    """Writes gpuN/ATTRIBUTE for every GPU of `hardware` into `directory`, and empty system/ and calls/ for tests to fill. Replaces what is there."""
    trees = {f"gpu{gpu['minor']}": gpu_attributes(gpu, hardware.get("firmware", {})) for gpu in hardware.get("gpus") or []}
    switches = [one["bus_address"] for one in hardware.get("devices") or [] if one["board"]["pci"]["class"] == NVSWITCH_CLASS]
    for values in trees.values():
        values.update(_link_ends(values, switches))
    directory.mkdir(parents=True, exist_ok=True)
    for old in [*directory.glob("gpu*"), directory / "system", directory / "calls"]:
        shutil.rmtree(old, ignore_errors=True)
    for name in ("system", "calls"):
        (directory / name).mkdir()
    for name, values in trees.items():
        (directory / name).mkdir()
        for attribute, value in values.items():
            (directory / name / attribute).write_text(f"{value}\n")


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
