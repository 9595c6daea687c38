# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wish for a CUDA major version asks of driver and GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.cuda import MAJORS
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board


def oldest_driver(major: int) -> str:
    """The oldest driver version that runs programs of CUDA `major`.*; PolicyError for a version that the catalogue does not have."""
    if major not in MAJORS:
        raise PolicyError("cuda_major is %s: it must be one of %s" % (major, ", ".join(map(str, sorted(MAJORS)))), option="cuda_major")
    return MAJORS[major]["oldest_driver"]


def refusals(devices: t.Iterable[t.Dict[str, t.Any]], major: int) -> t.List[str]:
    """Why CUDA `major` cannot be had on all of these GPUs, whatever the driver: one line a GPU."""
    lowest = MAJORS[major]["lowest_compute_capability"]
    found = []
    for device in devices:
        capability = _capability(device)
        if known.version(capability) is None:
            found.append("CUDA %d needs compute capability %s, and that of %s at %s is not known" % (major, lowest, known.model(device), known.subject(device)))
        elif t.cast("t.Tuple[int, ...]", known.version(capability)) < t.cast("t.Tuple[int, ...]", known.version(lowest)):
            found.append("CUDA %d needs compute capability %s, and %s at %s has %s" % (major, lowest, known.model(device), known.subject(device), capability))
    return found


def _capability(device: t.Dict[str, t.Any]) -> t.Optional[str]:
    stated = known.text(device.get("compute_capability"))
    pci = device.get("pci")
    found = board(pci) if stated is None and isinstance(pci, dict) else None
    return found["compute_capability"] if found else stated
