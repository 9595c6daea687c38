# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CUDA major version asks of the driver and of the GPU. Private to gpuops.fleet.

Sources: CUDA Compatibility guide, "Minor Version Compatibility" (oldest driver, Linux); CUDA 13.0 release notes (compute capabilities below
7.5 removed); CUDA 12.0 and 11.0 release notes (Kepler 3.5 and 3.7 removed in 12.0, 3.0 and 3.2 removed in 11.0).
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

# major → oldest driver that runs programs of any minor version of it, and the lowest compute capability that its toolkit builds for.
# A 580 driver reports "CUDA 13.0" on a Pascal card too: the number of the driver alone does not make CUDA 13 usable there.
MAJORS: t.Dict[int, t.Dict[str, t.Any]] = {
    11: {"oldest_driver": "450.80.02", "lowest_compute_capability": "3.5"},
    12: {"oldest_driver": "525.60.13", "lowest_compute_capability": "5.0"},
    13: {"oldest_driver": "580.65.06", "lowest_compute_capability": "7.5"},
}
