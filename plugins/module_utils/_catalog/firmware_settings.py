# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How server vendors name firmware settings. Private to gpuops.fleet.

Sources: the vendors' Redfish attribute registries (Dell iDRAC, HPE iLO, Supermicro, Lenovo XCC) and their firmware setup menus.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

# What is set → part of the DMI vendor name in lower case → what to do in firmware setup.
SETTINGS: t.Dict[str, t.Dict[str, str]] = {
    # HPE has no such switch from Gen10 on: 64-bit placement is always on, and only the reserved window can be too small.
    "above_4g": {
        "dell": 'set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled in System BIOS Settings, Integrated Devices',
        "supermicro": 'set "Above 4G Decoding" (BIOS attribute Above4GDecoding) to Enabled in Advanced, PCIe/PCI/PnP Configuration',
        "hp": 'set "PCI Resource Padding" (BIOS attribute PciResourcePadding) to High; this firmware has no switch named Above 4G Decoding',
        "lenovo": 'set "PCI 64-bit Resource Allocation" (BIOS attribute DevicesandIOPorts_PCI64BitResourceAllocation) to Enable in Devices and I/O Ports',
    },
    "aspm": {
        "dell": 'set "PCI ASPM L1 Link Power Management" (BIOS attribute PcieAspmL1) to Disabled',
        "supermicro": 'set "ASPM Support" (BIOS attribute ASPMSupport) to Disabled',
        "hp": "set ASPM of the slot (BIOS attribute PciSlotNAspm, N is the slot) to Disabled",
    },
    "sriov": {
        "dell": 'set "SR-IOV Global Enable" (BIOS attribute SriovGlobalEnable) to Enabled',
        "supermicro": 'set "SR-IOV Support" (BIOS attribute SR_IOVSupport) to Enabled',
        "hp": 'set "SR-IOV" (BIOS attribute Sriov) to Enabled',
    },
    "resizable_bar": {
        "supermicro": 'set "Re-Size BAR Support" (BIOS attribute Re_SizeBARSupport) to Enabled',
    },
    "iommu": {
        "dell": 'set "Virtualization Technology" (BIOS attribute ProcVirtualization; AMD: IommuSupport) to Enabled',
        "hp": 'set "Intel VT-d" (BIOS attribute IntelProcVtd; AMD: "AMD IOMMU") to Enabled',
    },
}
# For every other vendor, and for one whose name of the setting is not known.
GENERIC: t.Dict[str, str] = {
    "above_4g": 'set "Above 4G Decoding" (also named "64-bit MMIO" or "Memory Mapped I/O above 4GB") to Enabled in firmware setup',
    "aspm": 'set "PCIe ASPM" (also named "Active State Power Management") to Disabled in firmware setup',
    "sriov": 'set "SR-IOV Support" to Enabled in firmware setup',
    "resizable_bar": 'set "Re-Size BAR Support" to Enabled in firmware setup, which needs Above 4G Decoding and UEFI boot without CSM',
    "iommu": 'set "VT-d" (Intel) or "AMD IOMMU" to Enabled in firmware setup',
}
# In a virtual machine, whose firmware has no setup to speak of.
GUEST: t.Dict[str, str] = {
    "above_4g": "give the virtual machine a larger 64-bit MMIO window (QEMU/OVMF: the 64-bit PCI hole; VMware: pciPassthru.use64bitMMIO and "
    "pciPassthru.64bitMMIOSizeGB) and check Above 4G Decoding on its host",
}
