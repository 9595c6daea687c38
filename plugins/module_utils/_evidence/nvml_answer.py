# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What both ways to NVML share, so that they say the same of the same machine. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

NOT_SUPPORTED = "not supported"
LOST = "GPU is lost"

# nvmlReturn_t (nvml.h). Only the codes that a query can answer with.
CODES = {
    1: "NVML is not initialised",
    2: "invalid argument",
    3: NOT_SUPPORTED,
    4: "no permission",
    6: "not found",
    8: "the GPU's external power cables are not properly attached",
    9: "the NVIDIA driver is not loaded",
    10: "NVML gave up waiting",
    11: "the driver does not receive the GPU's interrupts",
    12: "the NVML library is not installed",
    13: "not offered by this driver",
    14: "the InfoROM is corrupted",
    15: LOST,
    16: "GPU requires reset",
    17: "the operating system has blocked the GPU",
    18: "the loaded kernel module and the NVML library have different versions",
    25: "not offered by this driver",
    27: "not ready",
    28: "GPU not found",
    29: "invalid state",
    999: "unknown error",
}
FUNCTION_NOT_FOUND = 13
CORRUPTED_INFOROM = 14
GPU_IS_LOST = 15
INFOROM_VALID = "inforom_valid"
# nvmlGpuVirtualizationMode_t
VIRTUALIZATION_MODES = ("none", "passthrough", "vgpu", "host_vgpu", "host_vsga")

# Bits of nvmlDeviceGetCurrentClocksEventReasons (nvml.h, nvmlClocksEventReason*).
EVENT_REASONS = (
    (0x1, "gpu_idle"),
    (0x2, "applications_clocks_setting"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
    (0x100, "display_clocks_setting"),
)

# A lost GPU may still answer these from what the driver remembers; everything else that it answers is stale and not reported.
IDENTITY = ("name", "uuid", "serial", "board_part_number", "vbios_version", "inforom_version")

ECC_COUNTS = ("ecc.volatile_corrected", "ecc.volatile_uncorrected", "ecc.aggregate_corrected", "ecc.aggregate_uncorrected")
REMAPPED_ROWS = ("remapped_rows.correctable", "remapped_rows.uncorrectable", "remapped_rows.pending", "remapped_rows.failure")


class Device:
    """The answers of one GPU: `values` (dotted field → value), `unavailable` (dotted field → reason)."""

    def __init__(self, index: int, bus_address: t.Optional[str]):
        self.index = index
        self.bus_address = bus_address
        self.pci: t.Dict[str, t.Optional[str]] = {}
        self.architecture: t.Optional[str] = None
        self.lost = False
        self.reason = ""
        self.values: t.Dict[str, t.Any] = {}
        self.unavailable: t.Dict[str, str] = {}

    def note(self, fields: t.Sequence[str], values: t.Sequence[t.Any]) -> None:
        """Keep `values` of `fields`; a None says that the answer lacked this part."""
        for field, value in zip(fields, values):
            if value is None:
                self.unavailable[field] = "not reported"
            else:
                self.values[field] = value

    def refuse(self, fields: t.Sequence[str], reason: str) -> None:
        """Keep `reason` for all `fields`."""
        self.unavailable.update(dict.fromkeys(fields, reason))

    def mark_lost(self) -> None:
        """The GPU has fallen off the bus: forget all but its identity."""
        self.lost = True
        self.reason = LOST
        self.values = {field: value for field, value in self.values.items() if field in IDENTITY}
        self.unavailable = {field: why for field, why in self.unavailable.items() if field in IDENTITY}

    def to_dict(self) -> t.Dict[str, t.Any]:
        """JSON types: index, bus_address, pci, architecture, lost, reason (for every field that has none of its own), values, unavailable."""
        return dict(vars(self))


def bus_address(text: str) -> t.Optional[str]:
    """NVML's `00000000:3B:00.0` as sysfs writes it (`0000:3b:00.0`; domains above ffff keep their digits); None for anything else."""
    domain, colon, rest = text.strip().lower().partition(":")
    try:
        return "%04x:%s" % (int(domain, 16), rest) if colon and len(rest) == 7 else None
    except ValueError:
        return None


def pci_ids(device: int, subsystem: int) -> t.Dict[str, str]:
    """`pci` of the facts from NVML's packed ids: device in the high, vendor in the low 16 bits (nvmlPciInfo_t)."""
    return {
        "vendor_id": "%04x" % (device & 0xFFFF),
        "device_id": "%04x" % (device >> 16 & 0xFFFF),
        "subsystem_vendor_id": "%04x" % (subsystem & 0xFFFF),
        "subsystem_device_id": "%04x" % (subsystem >> 16 & 0xFFFF),
    }


def answer(
    reader: t.Optional[str] = None,
    *,
    driver_version: t.Optional[str] = None,
    cuda_version: t.Optional[str] = None,
    devices: t.Sequence[Device] = (),
    error: str = "",
    code: t.Optional[int] = None,
) -> t.Dict[str, t.Any]:
    """What a reader returns: `error` is "" or why the answer is missing or not whole, `code` its nvmlReturn_t."""
    return {
        "reader": reader,
        "driver_version": driver_version,
        "cuda_version": cuda_version,
        "devices": [device.to_dict() for device in devices],
        "error": error,
        "code": code,
    }


def whole(reader: str, parts: t.Sequence[t.Dict[str, t.Any]], error: str) -> t.Dict[str, t.Any]:
    """One `answer` from the parts that a reader emitted before it ended with `error` ("": well). Devices that answered before are kept."""
    found = answer(reader)
    for part in parts:
        if "device" in part:
            found["devices"].append(part["device"])
        else:
            found.update(part)
    if error and not found["error"]:
        found["error"] = "%s: %s" % ("NVML" if reader == "pynvml" else reader, error)
    return found
