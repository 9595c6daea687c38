"""The kernel's own driver: it claims every card that has a memory region to work with."""
from __future__ import annotations

import kernel

BUS_DRIVER = "nouveau"


def insert(information: dict[str, str], options: dict[str, str]) -> None:
    """Claim the cards that no driver has."""
    if options.get("modeset") == "0":
        return
    bars = {gpu["bus_address"]: gpu["board"]["pci"]["bars"] for gpu in kernel.hardware()["gpus"]}
    for device in kernel.nvidia_gpus():
        if (device / "driver").exists():
            continue
        if not kernel.has_memory(device, bars[device.name]):
            kernel.log(3, f"nouveau {device.name}: probe with driver nouveau failed with error -12")
        else:
            kernel.bind(device, BUS_DRIVER)
            kernel.log(6, f"nouveau {device.name}: bound")


def remove() -> None:
    """Release the cards."""
    kernel.unbind(BUS_DRIVER)
