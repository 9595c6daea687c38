# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel and NVIDIA's driver log about GPUs. Private to gpuops.fleet: the names may change in any release.

Two generations of the kernel's PCI messages exist: up to Linux 6.7 "BAR 1: no space for [mem size …]", from 6.8 on
"BAR 1 [mem size …]: can't assign; no space"; bridge windows are BAR 13 to 15 in the old ones and "bridge window" in the new ones.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"
KERNEL = "Linux, drivers/pci/setup-res.c and setup-bus.c"
NVRM = "NVIDIA open-gpu-kernel-modules, kernel-open/nvidia/nv-pci.c"
NVRM_INIT = "NVIDIA open-gpu-kernel-modules, arch/nvalloc/unix/src/osinit.c"
XID = "NVIDIA, XID Errors"

_ADDRESS = r"(?P<address>[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}(?:\.[0-7])?)"
# "pci", "pcieport" or a driver, then the device that the message is about.
_DEVICE = r"(?P<driver>[\w-]+) " + _ADDRESS + r": "
_NO_PLACE = r"(?:no space for|failed to assign|can't assign)"

# A line that holds none of these words matches no pattern below; readers skip it without a closer look.
MARKERS: t.Tuple[str, ...] = ("NVRM", "BAR", "bridge window", "MMIO resources", "FADT", "nvidia", "nouveau")
# First lines of messages that go on in the next lines, each of which may come as an entry of its own.
CONTINUED: t.Tuple[str, ...] = (
    r"NVRM: The NVIDIA (?:GPU )?" + _ADDRESS,
    r"NVRM: The NVIDIA .* GPU installed",
    r"NVRM: This PCI I/O region assigned to your NVIDIA device is invalid",
    r"NVRM: This is a 64-bit BAR mapped above 4GB",
    r"NVRM: API mismatch",
)

# Kind, pattern, source. The first pattern that matches decides. Groups: `address` the bus address, `code` the Xid, the status or the model,
# `bar` the number of the BAR (an expansion ROM is BAR 6 and not needed), `driver` who speaks.
#   bar_resize       a driver tried to make a BAR larger and put it back: information
#   bar_unassigned   the kernel found no addresses for a BAR of a device
#   bar_assigned     the kernel found some after all: takes bar_unassigned back
#   bar_invalid      the driver refuses the BAR that it got
#   bridge_window    the kernel found no addresses for the window of a bridge
#   prefetch_window  the bridge above the GPU has no window for its BAR
#   sriov_mmio       virtual functions were asked for, and there are no addresses for them
#   vf_bar_unassigned   the kernel found no addresses for them at boot; nobody may need them
#   aspm_firmware    the firmware tables ask the kernel to leave ASPM alone: no statement about ASPM being on
#   xid, lost, power_cable, rm_init_failed, legacy_branch, open_unsupported, unsupported, api_mismatch, nouveau_conflict   from the driver
MESSAGES: t.Tuple[t.Tuple[str, str, str], ...] = (
    ("xid", r"NVRM: Xid \((?:PCI:)?" + _ADDRESS + r"\): (?P<code>\d+)", XID),
    ("lost", r"NVRM: The NVIDIA GPU " + _ADDRESS + r".*fallen off the bus and is not responding", NVRM),
    ("lost", r"NVRM: GPU (?:at )?(?:PCI:)?" + _ADDRESS + r": GPU has fallen off the bus", NVRM_INIT),
    ("power_cable", r"NVRM: GPU " + _ADDRESS + r": GPU does not have the necessary power cables connected", NVRM_INIT),
    ("rm_init_failed", r"NVRM: GPU " + _ADDRESS + r": RmInitAdapter failed! \((?P<code>0x[0-9a-fA-F]+:0x[0-9a-fA-F]+)", NVRM_INIT),
    ("bar_invalid", r"NVRM: .*?BAR(?P<bar>\d) is \d+M @ 0x[0-9a-fA-F]+ \(PCI:" + _ADDRESS + r"\)", NVRM),
    ("prefetch_window", r"NVRM: This is a 64-bit BAR mapped above 4GB .* (?:prefetchable memory window)", NVRM),
    ("open_unsupported", r"NVRM: The NVIDIA GPU " + _ADDRESS + r".*not supported by open", NVRM),
    ("legacy_branch", r"NVRM: The NVIDIA (?P<code>.*) GPU installed in this system is.*Legacy drivers", NVRM),
    ("unsupported", r"NVRM: The NVIDIA GPU " + _ADDRESS + r".*not supported by the", NVRM),
    ("api_mismatch", r"NVRM: API mismatch", "NVIDIA open-gpu-kernel-modules, arch/nvalloc/unix/src/osapi.c"),
    ("nouveau_conflict", r"NVRM: The NVIDIA probe routine was not called for \d+ device", NVRM),
    ("bar_resize", r"nvidia " + _ADDRESS + r": BAR \d+.*" + _NO_PLACE, KERNEL),
    ("bar_resize", r"NVRM: No address space to allocate resized BAR1", NVRM),
    ("sriov_mmio", _DEVICE + r"not enough MMIO resources for SR-IOV", "Linux, drivers/pci/iov.c"),
    ("vf_bar_unassigned", _DEVICE + r"VF BAR \d+.*" + _NO_PLACE, KERNEL),
    ("vf_bar_unassigned", _DEVICE + r"BAR (?:[7-9]|1[0-2]): " + _NO_PLACE + r" \[mem", KERNEL),
    ("bridge_window", _DEVICE + r"bridge window \[mem .*" + _NO_PLACE, KERNEL),
    ("bridge_window", _DEVICE + r"BAR 1[45]: " + _NO_PLACE + r" \[mem", KERNEL),
    ("bar_unassigned", _DEVICE + r"BAR (?P<bar>[0-5]): " + _NO_PLACE + r" \[mem", KERNEL),
    ("bar_unassigned", _DEVICE + r"BAR (?P<bar>[0-5]) \[mem .*\]: " + _NO_PLACE, KERNEL),
    ("bar_assigned", _DEVICE + r"BAR (?P<bar>[0-5]) \[mem 0x.*\]: assigned", KERNEL),
    ("bar_assigned", _DEVICE + r"BAR (?P<bar>[0-5]): assigned \[mem 0x", KERNEL),
    ("aspm_firmware", r"FADT indicates ASPM is unsupported", "Linux, drivers/pci/pci-acpi.c"),
)  # fmt: skip

# A kind that only follows from another one about the same GPU: what it follows from.
CONSEQUENCES: t.Dict[str, t.Tuple[str, ...]] = {"rm_init_failed": ("bar_invalid", "bar_unassigned", "power_cable", "lost")}
