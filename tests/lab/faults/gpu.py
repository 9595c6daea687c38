"""Faults of GPUs, of the driver and of the firmware."""
from __future__ import annotations

import json

from tests.lab.errors import LabError
from tests.lab.faults import fault
from tests.lab.node.node import Node

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


@fault("held", "another driver holds the GPU, as for a virtual machine", gpu="1", driver="vfio-pci")
def held(node: Node, gpu: str, driver: str) -> str:
    """NVIDIA's driver gives the card up, with its device node, and the other one takes it."""
    card = _gpu(node, gpu)
    node.run("/usr/lib/lab/kmod/event.py", "held", card["bus_address"], driver)
    _publish(node)
    return f"GPU {gpu} ({card['bus_address']}) is held by {driver}"


@fault("xid", "the driver reports an Xid about a GPU in the kernel's log", gpu="0", code=None, text="")
def xid(node: Node, gpu: str, code: str, text: str) -> str:
    """One line in the form that the driver gives it."""
    address = _gpu(node, gpu)["bus_address"]
    kernel_log(node, f"NVRM: Xid (PCI:{address.rpartition('.')[0]}): {code}, pid='<unknown>', name=<unknown>, {text or 'reported by a test'}", "3")
    return f"Xid {code} of GPU {gpu} ({address})"


@fault("kernel-log", "the kernel logs a line", text=None, level="4")
def kernel_log(node: Node, text: str, level: str) -> str:
    """Write a line as the kernel writes it: `level` 0 (emergency) to 7 (debug)."""
    node.run("/usr/lib/lab/kmod/event.py", "log", level, text)
    return f"the kernel has logged: {text}"
