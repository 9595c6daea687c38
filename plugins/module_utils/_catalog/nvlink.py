# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boards whose NVLink is wired on the base board. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

DATE = "2026-11-24"
SOURCE = "NVIDIA's data sheets: SXM modules, and HGX base boards for B200, GB200 and B300; PCIe boards take a bridge, which is optional"

# PCI device ids as in boards.BOARDS. Not here: GH200, whose links may be left open by the server.
FIXED = frozenset(("15f9", "1db1", "1db5", "1db8", "20b0", "20b2", "20f3", "2330", "2335", "2901", "2941", "3182"))
