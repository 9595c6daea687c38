# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's driver branches and how long each is maintained. Private to gpuops.fleet.

Sources: NVIDIA Data Center Drivers documentation, "Supported Drivers and CUDA Toolkit Versions" and releases.json; the branch policy there
gives a production branch one year and a long-term support branch three years. Where two pages of NVIDIA disagree the earlier date stands.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

LONG_TERM = "long-term support branch"
PRODUCTION = "production branch"
NEW_FEATURE = "new feature branch"

# branch → kind, and the last day of the month in which NVIDIA's maintenance ends.
# `supported_until` None: no commitment (ended before the catalogue began, or a new feature branch that ends with its successor).
# Such a branch is never chosen while a maintained one does the job.
BRANCHES: t.Dict[int, t.Dict[str, t.Any]] = {
    470: {"kind": LONG_TERM, "supported_until": None},  # ended; the last one for Kepler
    535: {"kind": LONG_TERM, "supported_until": "2026-06-30"},
    550: {"kind": PRODUCTION, "supported_until": "2025-12-31"},
    570: {"kind": PRODUCTION, "supported_until": "2026-02-28"},
    575: {"kind": NEW_FEATURE, "supported_until": None},
    580: {"kind": LONG_TERM, "supported_until": "2028-06-30"},  # pages of R615/R620 say June 2028, an older one August 2028
    590: {"kind": NEW_FEATURE, "supported_until": None},
    595: {"kind": PRODUCTION, "supported_until": "2027-03-31"},
    610: {"kind": NEW_FEATURE, "supported_until": None},
    615: {"kind": NEW_FEATURE, "supported_until": None},
    620: {"kind": LONG_TERM, "supported_until": "2029-09-30"},
}

# Kernel module flavours by branch.
OPEN_SINCE = 515  # first release of open-gpu-kernel-modules: 515.43.04
OPEN_DEFAULT_SINCE = 560  # Driver Installation Guide: the open flavour is the default for Turing and newer
PROPRIETARY_UNTIL = 610  # Driver Installation Guide r620, "Proprietary Kernel Modules Removed"; the r610 guide still has both
