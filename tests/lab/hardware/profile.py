"""Profiles: one YAML file a host, resolved against the boards it names."""
from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import yaml

from tests.lab.errors import LabError

_LAB = Path(__file__).parent.parent
PROFILES = _LAB / "profiles"
BOARDS = _LAB / "boards"

Hardware = dict[str, Any]
IDENTITIES = ("ubuntu-24.04", "debian-12", "debian-13", "rocky-9")
_KEYS = {"identity", "machine", "firmware", "gpus", "driver", "nouveau", "served", "sources", "next_kernel"}
_NEEDED_GPU_KEYS = {"board", "bus_address", "upstream"}
_GPU_KEYS = _NEEDED_GPU_KEYS | {"uuid", "serial", "lost", "nvml"}


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted(path.stem for path in PROFILES.glob("*.yml"))


def _board(name: str) -> Hardware:
    path = BOARDS / f"{name}.yml"
    if not path.exists():
        raise LabError(f"no board {name}: there are {', '.join(sorted(p.stem for p in BOARDS.glob('*.yml')))}")
    return yaml.safe_load(path.read_text())


def _gpu(minor: int, gpu: Hardware, host: str) -> Hardware:
    if unknown := gpu.keys() - _GPU_KEYS:
        raise LabError(f"profile {host}: unknown keys of a GPU: {', '.join(sorted(unknown))}")
    if missing := _NEEDED_GPU_KEYS - gpu.keys():
        raise LabError(f"profile {host}: a GPU lacks {', '.join(sorted(missing))}")
    board = _board(gpu["board"])
    identifier = uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}.{gpu['bus_address']}")
    return {
        "minor": minor,
        "bus_address": gpu["bus_address"],
        "upstream": gpu["upstream"],
        "uuid": gpu.get("uuid", f"GPU-{identifier}"),
        "serial": gpu.get("serial", f"032{identifier.int % 10**10:010d}"),
        "lost": gpu.get("lost", False),
        "nvml": gpu.get("nvml", {}),
        "board": board,
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
    machine = {"manufacturer": "Dell Inc.", "product": "PowerEdge R740", "supplies": [{"watts": 1100}, {"watts": 1100}], **profile.get("machine", {})}
    return {
        "identity": identity,
        "machine": machine,
        "firmware": {"above_4g": True, "aspm": "off", "secure_boot": None, "dkms_key_enrolled": False, **profile.get("firmware", {})},
        "gpus": [_gpu(minor, gpu, name) for minor, gpu in enumerate(sorted(profile.get("gpus", []), key=lambda g: g.get("bus_address", "")))],
        "driver": profile.get("driver"),
        "nouveau": profile.get("nouveau", False),
        "served": profile.get("served", []),
        "sources": profile.get("sources", []),
        "next_kernel": profile.get("next_kernel", False),
    }
