# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the board catalogue knows of a PCI device. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.boards import BOARDS, FIELDS, FIRST_BRANCHES, FLAVORS


def row(pci: t.Any) -> t.Optional[t.Dict[str, t.Any]]:
    """The catalogue's row (keys: `boards.FIELDS`) for the ids in `pci`, or None."""
    if not isinstance(pci, dict):
        return None
    ids = [str(pci.get(name) or "").lower() for name in ("device_id", "subsystem_vendor_id", "subsystem_device_id")]
    found = BOARDS.get(":".join(ids)) or BOARDS.get(ids[0])
    return dict(zip(FIELDS, found)) if found else None


def board(pci: t.Dict[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """The board with the ids in `pci` (`device_id`, `subsystem_vendor_id`, `subsystem_device_id` as a device of the facts has them), or None.

    Keys of the answer: `name`, `architecture`, `compute_capability`, `memory_mib`, `board_power_watts`, `native_bar1_mib`, `nvlink_max`,
    `first_branch` and `last_branch` (driver branches, None: no limit known), `flavors` (of the kernel module, preferred one first).
    """
    # Only who plans drivers needs them.
    from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.architectures import ARCHITECTURES

    found = row(pci)
    if found is None:
        return None
    device = str(pci["device_id"]).lower()
    architecture = ARCHITECTURES[found["architecture"]]
    first = architecture["first_branches"].get(found["compute_capability"], architecture["first_branch"])
    found["first_branch"] = FIRST_BRANCHES.get(device, first)
    found["last_branch"] = architecture["last_branch"]
    found["flavors"] = list(FLAVORS.get(device, architecture["flavors"]))
    return found
