#!/usr/bin/python3
"""What the hardware does to a running node: `event.py lost|ecc BUS_ADDRESS`."""
from __future__ import annotations

import sys

import kernel
import nvidia

if __name__ == "__main__":
    event, address = sys.argv[1:]
    device = kernel.PCI / "devices" / address
    card = next(gpu for gpu in kernel.hardware()["gpus"] if gpu["bus_address"] == address)
    {"lost": nvidia.fall_off_the_bus, "ecc": nvidia.report_ecc_error}[event](card, device)
