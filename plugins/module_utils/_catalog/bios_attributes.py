# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How server vendors name the BIOS attributes that matter to GPUs. Private to gpuops.fleet: the names may change in any release.

Sources: attribute registries of Dell (iDRAC 9), HPE (iLO 5 to 7), Supermicro (X11 to GB300), Lenovo (XCC) and AMI MegaRAC boards (ASUS, Gigabyte),
and the trees recorded from such machines under tests/fixtures/redfish.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

# A name ends in an underscore and four hexadecimal digits where the vendor appends a model's id: Above4GDecoding_00B1.
SUFFIX = r"_[0-9A-Fa-f]{4}\Z"

# Setting → names of the attribute, suffix stripped, in lower case; the first that a machine has counts.
NAMES: t.Dict[str, t.Tuple[str, ...]] = {
    "above_4g": ("mmioabove4gb", "above4gdecoding", "devicesandioports_pci64bitresourceallocation", "pci64bitresourceallocation"),
    # The window above 4 GiB: how large it is, or how much is kept free in it. HPE has this and no switch.
    "mmio_window": ("memorymappedioh", "mmiolimit", "pciresourcepadding", "devicesandioports_mmconfigbase", "mmiohighsize", "mmiohsize"),
    "sriov": ("sriovglobalenable", "sriov", "sr_iovsupport", "sr-iovsupport", "sriovsupport", "devicesandioports_sriov"),
    "aspm": ("pcieaspml1", "pcieglobalaspm", "aspmsupport", "pcieaspm", "devicesandioports_aspm"),
    "resizable_bar": ("re_sizebarsupport", "resizablebar", "resizebarsupport", "devicesandioports_resizablebar", "resizablebarsupport"),
    "acs": ("acsenable", "accesscontrolservice"),
    "iommu": ("iommusupport", "iommu", "intelprocvtd", "amdprocvirtualization", "intelvtfordirectedio", "vtdsupport"),
    "virtualization": ("procvirtualization", "intelprocvirtualization", "svmmode", "intelvirtualizationtechnology"),
}

# Setting → regular expression on the registry's DisplayName, for names that tell nothing (AMI: PCIS007) or are not listed above.
DISPLAY_NAMES: t.Dict[str, str] = {
    "above_4g": r"\babove 4 ?gi?b?\b(?!.*\b(size|limit)\b)|memory mapped i/?o above 4 ?gb|64[- ]bit resource allocation",
    "mmio_window": r"above 4 ?g.* (size|limit)|memory hole for pci mmio|pci resource padding|"
    r"memory mapped i/?o (base|size|limit)|mmio ?(high|h) (size|granularity)",
    "sriov": r"\bsr-?iov\b",
    "aspm": r"\baspm\b|active state power management",
    "resizable_bar": r"re-?siz(e|able)[ -]?bar\b",
    "acs": r"\bacs (enable|support|control)|access control service",
    "iommu": r"\biommu\b|\bvt-d\b|vt for directed i/?o",
    "virtualization": r"\bsvm mode\b|virtualization technology\b(?!.*directed)",
}
# Never a setting: what a port advertises is a capability.
NOT_A_SETTING = r"advertise|capabilit"

# Settings that a slot or a socket has of its own: setting → regular expression on the attribute's name; group 1 is the slot.
SLOTS: t.Dict[str, str] = {"aspm": r"PciSlot(\d+)Aspm\Z|PCIeSlot(\d+)ASPM\Z"}

# Values of a switch, in lower case without blanks, in all the registries.
ON = ("enabled", "enable", "on", "true", "yes", "auto-enabled", "aspml1enabled", "l1", "l0s", "l0sl1", "l0sandl1", "aspml1")
OFF = ("disabled", "disable", "off", "false", "no", "none")
