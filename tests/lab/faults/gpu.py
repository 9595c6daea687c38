"""Faults of GPUs, of the driver and of the firmware."""
from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.faults import fault
from tests.lab.node.node import Node
from tests.lab.node.payload import write_hardware

_NVML = "/var/lib/lab/nvml"


def _gpu(node: Node, number: str) -> dict:
    gpus = node.hardware()["gpus"]
    if not number.isdigit() or int(number) >= len(gpus):
        raise LabError(f"no gpu={number}: {node.name} has {len(gpus)} GPUs, counted from 0")
    return gpus[int(number)]


def _publish(node: Node) -> None:
    if node.run("test", "-e", "/sys/module/nvidia", check=False)[0] == 0:
        node.run("/usr/lib/lab/pack-nvml-state")


def _set_attributes(node: Node, number: str, values: dict[str, str]) -> None:
    for attribute, value in values.items():
        node.write(f"{_NVML}/gpu{number}/{attribute}", f"{value}\n")
    _publish(node)


def _change_hardware(node: Node, change) -> None:  # noqa: ANN001
    hardware = node.hardware()
    change(hardware)
    node.write("/var/lib/lab/hardware.json", json.dumps(hardware, indent=2) + "\n")


@fault("lost-gpu", "the GPU falls off the bus (Xid 79)", gpu="1")
def lost_gpu(node: Node, gpu: str) -> str:
    """NVML says that it is lost, configuration space reads all ones, the kernel's log tells when."""
    card = _gpu(node, gpu)
    _change_hardware(node, lambda hardware: hardware["gpus"][int(gpu)].update(lost=True))
    _set_attributes(node, gpu, {"lost": "1"})
    node.run("/usr/lib/lab/kmod/event.py", "lost", card["bus_address"])
    return f"GPU {gpu} ({card['bus_address']}) has fallen off the bus"


@fault("nvml-error", "an NVML function fails, or one attribute of a GPU when gpu= and attribute= are given", function="", code="999", gpu="", attribute="")
def nvml_error(node: Node, function: str, code: str, gpu: str, attribute: str) -> str:
    """Write `error CODE` where the NVML double looks."""
    return _answer(node, f"error {code}", function, gpu, attribute)


@fault("nvml-hang", "as nvml-error, but the call hangs", function="", seconds="3600", gpu="", attribute="")
def nvml_hang(node: Node, function: str, seconds: str, gpu: str, attribute: str) -> str:
    """Write `hang SECONDS` where the NVML double looks."""
    return _answer(node, f"hang {seconds}", function, gpu, attribute)


def _answer(node: Node, answer: str, function: str, gpu: str, attribute: str) -> str:
    if attribute:
        number = gpu or "0"
        _gpu(node, number)
        _set_attributes(node, number, {attribute: answer})
        return f"attribute {attribute} of GPU {number} answers {answer}"
    name = function or "nvmlInit_v2"
    node.write(f"{_NVML}/calls/{name}", f"{answer}\n")
    _publish(node)
    return f"{name} answers {answer}"


@fault("nvml-restore", "takes back nvml-error and nvml-hang of functions")
def nvml_restore(node: Node) -> str:
    """Empty calls/."""
    node.run("sh", "-c", f"rm -f {_NVML}/calls/*")
    _publish(node)
    return "NVML functions work again"


@fault("ecc-error", "uncorrected ECC errors are counted (Xid 48)", gpu="0", count="1")
def ecc_error(node: Node, gpu: str, count: str) -> str:
    """Volatile and aggregate counters rise, the kernel's log tells when."""
    card = _gpu(node, gpu)
    _set_attributes(node, gpu, {"ecc_volatile_uncorrected": count, "ecc_aggregate_uncorrected": count})
    node.run("/usr/lib/lab/kmod/event.py", "ecc", card["bus_address"])
    return f"GPU {gpu} ({card['bus_address']}) counts {count} uncorrected ECC errors"


@fault("set", "sets one NVML attribute of a GPU (tests/lab/nvml/attributes.yml)", gpu="0", attribute=None, value=None)
def set_attribute(node: Node, gpu: str, attribute: str, value: str) -> str:
    """Write the attribute's file."""
    _gpu(node, gpu)
    _set_attributes(node, gpu, {attribute: value})
    return f"{attribute} of GPU {gpu} is {value}"


@fault("above4g-off", "Above 4G Decoding is switched off in the firmware; the node reboots")
def above_4g_off(node: Node) -> str:
    """Write the hardware anew and reboot: firmware assigns addresses at power-on."""
    return _change_firmware(node, above_4g=False) + "Above 4G Decoding is off"


@fault("aspm-on", "ASPM L0s and L1 are switched on in the firmware; the node reboots")
def aspm_on(node: Node) -> str:
    """Write the hardware anew and reboot: firmware sets Link Control at power-on."""
    return _change_firmware(node, aspm="l0s_l1") + "ASPM is on"


def _change_firmware(node: Node, **settings: object) -> str:
    hardware = node.hardware()
    hardware["firmware"].update(settings)
    node.run("rm", "-rf", "/var/lib/lab/pci", "/var/lib/lab/firmware", _NVML, "/var/lib/lab/hardware.json")
    with tempfile.TemporaryDirectory(prefix="gpuops-lab-") as root:
        write_hardware(hardware, Path(root))
        node.put(Path(root))
    node.reboot()
    return "rebooted, "
