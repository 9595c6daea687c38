#!/usr/bin/python3
"""What hardware does to a node: `event.py boot`, `event.py lost|ecc BUS_ADDRESS` while it runs, `event.py held
BUS_ADDRESS DRIVER`, or `event.py log LEVEL LINE…`."""
from __future__ import annotations

import sys

import kernel
import nvidia


def boot() -> None:
    """Write what the kernel logs about the GPUs, and devices that stand beside them, while it enumerates the bus."""
    hardware = kernel.hardware()
    for gpu in [*hardware["gpus"], *hardware["devices"]]:
        address, pci = gpu["bus_address"], gpu["board"]["pci"]
        lines = (kernel.PCI / "devices" / address / "resource").read_text().splitlines()
        kernel.log(6, f"pci {address}: [{pci['vendor']:04x}:{pci['device']:04x}] type 00 class {pci['class']:#08x} PCIe Endpoint")
        for bar in pci["bars"]:
            first, last, flags = lines[bar["index"]].split()
            kind = " 64bit pref" if bar["kind"] == "mem64pref" else ""
            name = f"pci {address}: BAR {bar['index']}"
            if int(flags, 16):
                kernel.log(6, f"{name} [mem {int(first, 16):#x}-{int(last, 16):#x}{kind}]")
            else:
                size = f"[mem size {bar['size_mib'] << 20:#x}{kind}]"
                kernel.log(4, f"{name} {size}: can't assign; no space", f"{name} {size}: failed to assign")
        functions = pci.get("virtual_functions", 0)
        if functions and not (hardware["firmware"]["sriov"] and hardware["firmware"]["above_4g"]):
            # All virtual functions together need their largest region as often as there are functions.
            largest = max(bar["size_mib"] for bar in pci["bars"])
            name, size = f"pci {address}: VF BAR 2", f"[mem size {(largest << 20) * functions:#x} 64bit pref]"
            kernel.log(4, f"{name} {size}: can't assign; no space", f"{name} {size}: failed to assign")


if __name__ == "__main__":
    event, *words = sys.argv[1:]
    if event == "boot":
        boot()
    if event == "log":
        kernel.log(int(words[0]), *words[1:])
    if event == "held":
        nvidia.give_up(kernel.PCI / "devices" / words[0])
        kernel.bind(kernel.PCI / "devices" / words[0], words[1])
    for address in words if event in ("lost", "ecc") else ():
        device = kernel.PCI / "devices" / address
        card = next(gpu for gpu in kernel.hardware()["gpus"] if gpu["bus_address"] == address)
        {"lost": nvidia.fall_off_the_bus, "ecc": nvidia.report_ecc_error}[event](card, device)
