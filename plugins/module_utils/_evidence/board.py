# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the board catalogue says of a PCI device. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import boards

SOURCE = "boards of %s" % boards.DATE


def board(pci: t.Dict[str, t.Any]) -> t.Optional[t.Dict[str, t.Any]]:
    """The row of the catalogue (keys: `boards.FIELDS`) for the ids in `pci`, a device's `pci` of the facts; None for a board that it does not know."""
    device = str(pci.get("device_id") or "")
    row = boards.BOARDS.get("%s:%s:%s" % (device, pci.get("subsystem_vendor_id"), pci.get("subsystem_device_id"))) or boards.BOARDS.get(device)
    return dict(zip(boards.FIELDS, row)) if row else None
