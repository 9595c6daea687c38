# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How server vendors name firmware settings. Private to gpuops.fleet.

Sources: the vendors' Redfish attribute registries (Dell iDRAC, HPE iLO, Supermicro, Lenovo XCC) and their firmware setup menus.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

# Part of the DMI vendor name in lower case → what to do in firmware setup so that 64-bit BARs get addresses above 4 GiB.
# HPE has no such switch from Gen10 on: 64-bit placement is always on, and only the reserved window can be too small.
ABOVE_4G: t.Dict[str, str] = {
    "dell": 'set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled in System BIOS Settings, Integrated Devices',
    "supermicro": 'set "Above 4G Decoding" (BIOS attribute Above4GDecoding) to Enabled in Advanced, PCIe/PCI/PnP Configuration',
    "hp": 'set "PCI Resource Padding" (BIOS attribute PciResourcePadding) to High; this firmware has no switch named Above 4G Decoding',
    "lenovo": 'set "PCI 64-bit Resource Allocation" (BIOS attribute DevicesandIOPorts_PCI64BitResourceAllocation) to Enable in Devices and I/O Ports',
}
ABOVE_4G_GENERIC = 'set "Above 4G Decoding" (also named "64-bit MMIO" or "Memory Mapped I/O above 4GB") to Enabled in firmware setup'
ABOVE_4G_GUEST = (
    "give the virtual machine a larger 64-bit MMIO window (QEMU/OVMF: the 64-bit PCI hole; VMware: pciPassthru.use64bitMMIO and "
    "pciPassthru.64bitMMIOSizeGB) and check Above 4G Decoding on its host"
)
