"""Profiles: one YAML file a host, resolved against the boards it names."""
from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from tests.lab.errors import LabError
from tests.lab.hardware.pci_files import node_of

_LAB = Path(__file__).parent.parent
PROFILES = _LAB / "profiles"
BOARDS = _LAB / "boards"

Hardware = dict[str, Any]
IDENTITIES = ("ubuntu-24.04", "debian-12", "debian-13", "rocky-9")
_KEYS = {"identity", "machine", "firmware", "gpus", "devices", "driver", "nouveau", "served", "sources", "next_kernel"}
_NEEDED_KEYS = {"board", "bus_address", "upstream"}
_PCI_KEYS = _NEEDED_KEYS | {"link", "aer", "numa_node", "cpus"}
_GPU_KEYS = _PCI_KEYS | {"uuid", "serial", "lost", "nvml"}
# ACS of the root ports: null, and the kernel switches it on with the IOMMU; "absent": they have none.
_FIRMWARE = {
    "above_4g": True, "aspm": "off", "iommu": False, "acs": None, "sriov": True, "resizable_bar": False, "secure_boot": None, "dkms_key_enrolled": False,
}  # fmt: skip


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yml"))


def _board(name: str) -> Hardware:
    path = BOARDS / f"{name}.yml"
    if not path.exists():
        raise LabError(f"no board {name}: there are {', '.join(sorted(p.stem for p in BOARDS.glob('*.yml')))}")
    return yaml.safe_load(path.read_text())


def firmware(given: Hardware) -> Hardware:
    """Return the firmware's settings with the defaults filled in."""
    if unknown := given.keys() - _FIRMWARE.keys():
        raise LabError(f"unknown keys of firmware: {', '.join(sorted(unknown))}; there are {', '.join(_FIRMWARE)}")
    settings = {**_FIRMWARE, **given}
    if settings["acs"] is None:
        settings["acs"] = settings["iommu"]
    return {**settings, "acs": None if settings["acs"] == "absent" else settings["acs"]}


def _pci(device: Hardware, kind: str, keys: set[str], host: str) -> Hardware:
    """What a GPU and any other device have in common, of the resolved profile."""
    if unknown := device.keys() - keys:
        raise LabError(f"profile {host}: unknown keys of a {kind}: {', '.join(sorted(unknown))}")
    if missing := _NEEDED_KEYS - device.keys():
        raise LabError(f"profile {host}: a {kind} lacks {', '.join(sorted(missing))}")
    numa_node = device.get("numa_node", node_of(device["bus_address"]))
    return {
        "bus_address": device["bus_address"], "upstream": device["upstream"], "link": device.get("link", {}), "aer": device.get("aer", {}),
        "numa_node": numa_node, "cpus": device.get("cpus"), "board": _board(device["board"]),
    }  # fmt: skip


def _gpu(minor: int, gpu: Hardware, host: str) -> Hardware:
    known = _pci(gpu, "GPU", _GPU_KEYS, host)
    identifier = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.{gpu['bus_address']}")
    return {
        "minor": minor,
        **known,
        "uuid": gpu.get("uuid", f"GPU-{identifier}"),
        "serial": gpu.get("serial", f"032{identifier.int % 10**10:010d}"),
        "lost": gpu.get("lost", False),
        "nvml": gpu.get("nvml", {}),
    }


def load(name: str) -> Hardware:
    """Return the resolved profile: defaults filled in, every GPU with its minor, UUID, serial, whole board and own NVML values."""
    path = PROFILES / f"{name}.yml"
    if not path.exists():
        raise LabError(f"no profile {name}: there are {', '.join(profile_names())}")
    profile = yaml.safe_load(path.read_text()) or {}
    if unknown := profile.keys() - _KEYS:
        raise LabError(f"profile {name}: unknown keys: {', '.join(sorted(unknown))}")
    identity = profile.get("identity", IDENTITIES[0])
    if identity not in IDENTITIES:
        raise LabError(f"profile {name}: identity {identity} is none of {', '.join(IDENTITIES)}")
    try:
        settings = firmware(profile.get("firmware", {}))
    except LabError as error:
        raise LabError(f"profile {name}: {error}") from error
    machine = {"manufacturer": "Dell Inc.", "product": "PowerEdge R740", "supplies": [{"watts": 1100}, {"watts": 1100}], **profile.get("machine", {})}
    return {
        "identity": identity,
        "machine": machine,
        "firmware": settings,
        "gpus": [_gpu(minor, gpu, name) for minor, gpu in enumerate(sorted(profile.get("gpus", []), key=lambda g: g.get("bus_address", "")))],
        "devices": [_pci(device, "device", _PCI_KEYS, name) for device in profile.get("devices", [])],
        "driver": profile.get("driver"),
        "nouveau": profile.get("nouveau", False),
        "served": profile.get("served", []),
        "sources": profile.get("sources", []),
        "next_kernel": profile.get("next_kernel", False),
    }
