"""Faults of firmware and slots. Each writes the hardware anew and reboots: firmware assigns addresses and trains links at power-on."""
from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.lab.errors import LabError
from tests.lab.faults import fault
from tests.lab.hardware import profile
from tests.lab.hardware.profile import Hardware
from tests.lab.node.node import Node
from tests.lab.node.payload import write_hardware

_STATE = "/var/lib/lab"


def reassemble(node: Node, change: Callable[[Hardware], None]) -> None:
    """Change the resolved profile, write all that is derived from it, and reboot. Settings that GPUs keep are lost with it."""
    hardware = node.hardware()
    change(hardware)
    node.run("rm", "-rf", *(f"{_STATE}/{name}" for name in ("pci", "firmware", "nvml", "hardware.json")))
    with tempfile.TemporaryDirectory(prefix="gpuops-lab-") as root:
        write_hardware(hardware, Path(root))
        node.put(Path(root))
    node.reboot()


@fault("above4g-off", "Above 4G Decoding is switched off in the firmware; the node reboots")
def above_4g_off(node: Node) -> str:
    """Without it, large regions get no address."""
    return firmware(node, "above_4g", "false")


@fault("aspm-on", "ASPM L0s and L1 are switched on in the firmware; the node reboots")
def aspm_on(node: Node) -> str:
    """Firmware sets Link Control at both ends."""
    return firmware(node, "aspm", "l0s_l1")


@fault("firmware", "one setting of the firmware is changed (README, profiles); the node reboots", key=None, value=None)
def firmware(node: Node, key: str, value: str) -> str:
    """`value` as a profile has it."""
    settings = profile.firmware({key: yaml.safe_load(value)})
    reassemble(node, lambda hardware: hardware["firmware"].update({key: settings[key]}))
    return f"rebooted, {key} is {value} in the firmware"


@fault("link-width", "the link of a GPU comes up with fewer lanes; the node reboots", gpu="0", lanes="8")
def link_width(node: Node, gpu: str, lanes: str) -> str:
    """As with a card that is not fully seated."""

    def change(hardware: Hardware) -> None:
        if not gpu.isdigit() or int(gpu) >= len(hardware["gpus"]):
            raise LabError(f"no gpu={gpu}: {node.name} has {len(hardware['gpus'])} GPUs, counted from 0")
        hardware["gpus"][int(gpu)]["link"] = {"width": int(lanes)}

    reassemble(node, change)
    return f"rebooted, GPU {gpu} uses {lanes} lanes"


@fault("move", "a device moves below another root port; the node reboots", device=None, upstream=None)
def move(node: Node, device: str, upstream: str) -> str:
    """`device`: the bus address of a GPU or of another device of the profile."""

    def change(hardware: Hardware) -> None:
        found = [one for one in [*hardware["gpus"], *hardware["devices"]] if one["bus_address"] == device]
        if not found:
            raise LabError(f"no device={device} in {node.name}")
        found[0]["upstream"] = upstream

    reassemble(node, change)
    return f"rebooted, {device} is below {upstream}"
