# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU architectures and the driver branches that support them. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

DATE = "2026-11-24"

SOURCES = (
    "NVIDIA data centre driver documentation: CUDA toolkit, driver and architecture matrix",
    # Last branch: the product tables of open-gpu-kernel-modules name Maxwell, Pascal and Volta in 580.142 and no longer in 590.44.01.
    "product tables of the open GPU kernel modules, releases 580.142 and 590.44.01",
    "CUDA toolkit release notes (first branches: the driver shipped with the first toolkit that knows the compute capability)",
)

# In order of age. Per architecture:
#   compute_capabilities  tuple of CUDA compute capabilities
#   first_branch          first driver branch that supports any of them; None: older than any branch still to be had
#   first_branches        compute capability → first branch, where it differs from first_branch
#   last_branch           last branch that supports it; None: supported by the newest branch known on DATE
#   flavors               kernel module flavours that can drive it, preferred one first
#   first_open_branch     first branch whose open flavour drives it; None: no open flavour does
#   first_cuda, last_cuda CUDA toolkits that compile for it; None in last_cuda: the newest one does
ARCHITECTURES = {
    "fermi": {
        "compute_capabilities": ("2.0", "2.1"),
        "first_branch": None,
        "first_branches": {},
        "last_branch": 390,
        "flavors": ("proprietary",),
        "first_open_branch": None,
        "first_cuda": None,
        "last_cuda": "8.0",
    },
    "kepler": {
        "compute_capabilities": ("3.0", "3.2", "3.5", "3.7"),
        "first_branch": None,
        "first_branches": {},
        "last_branch": 470,
        "flavors": ("proprietary",),
        "first_open_branch": None,
        "first_cuda": "6.0",
        "last_cuda": "11.8",
    },
    "maxwell": {
        "compute_capabilities": ("5.0", "5.2", "5.3"),
        "first_branch": None,
        "first_branches": {},
        "last_branch": 580,
        "flavors": ("proprietary",),
        "first_open_branch": None,
        "first_cuda": "6.5",
        "last_cuda": "12.9",
    },
    "pascal": {
        "compute_capabilities": ("6.0", "6.1", "6.2"),
        "first_branch": 367,
        "first_branches": {},
        "last_branch": 580,
        "flavors": ("proprietary",),
        "first_open_branch": None,
        "first_cuda": "8.0",
        "last_cuda": "12.9",
    },
    "volta": {
        "compute_capabilities": ("7.0", "7.2"),
        "first_branch": 384,
        "first_branches": {},
        "last_branch": 580,
        "flavors": ("proprietary",),
        "first_open_branch": None,
        "first_cuda": "9.0",
        "last_cuda": "12.9",
    },
    "turing": {
        "compute_capabilities": ("7.5",),
        "first_branch": 410,
        "first_branches": {},
        "last_branch": None,
        "flavors": ("open", "proprietary"),
        "first_open_branch": 515,
        "first_cuda": "10.0",
        "last_cuda": None,
    },
    "ampere": {
        "compute_capabilities": ("8.0", "8.6", "8.7"),
        "first_branch": 450,
        "first_branches": {"8.6": 455},
        "last_branch": None,
        "flavors": ("open", "proprietary"),
        "first_open_branch": 515,
        "first_cuda": "11.0",
        "last_cuda": None,
    },
    "ada": {
        "compute_capabilities": ("8.9",),
        "first_branch": 520,
        "first_branches": {},
        "last_branch": None,
        "flavors": ("open", "proprietary"),
        "first_open_branch": 520,
        "first_cuda": "11.8",
        "last_cuda": None,
    },
    "hopper": {
        "compute_capabilities": ("9.0",),
        "first_branch": 520,
        "first_branches": {},
        "last_branch": None,
        "flavors": ("open", "proprietary"),
        "first_open_branch": 520,
        "first_cuda": "11.8",
        "last_cuda": None,
    },
    "blackwell": {
        "compute_capabilities": ("10.0", "10.1", "10.3", "11.0", "12.0", "12.1"),
        "first_branch": 570,
        "first_branches": {"10.3": 580},
        "last_branch": None,
        "flavors": ("open",),
        "first_open_branch": 570,
        "first_cuda": "12.8",
        "last_cuda": None,
    },
}
