# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose machine it is, and whether it is one. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

# Only real servers carry these names: hypervisors put their own into a guest's DMI tables.
VENDORS = ("dell", "supermicro", "hp", "lenovo")


def vendor(facts: t.Any) -> t.Optional[str]:
    """The server vendor, one of VENDORS, that made this machine."""
    told = (known.text(known.get(facts, "host", "system_vendor")) or "").lower()
    return next((name for name in VENDORS if name in told), None)


def guest(facts: t.Any) -> bool:
    """True in a virtual machine, where PCI topology and firmware are made by the hypervisor."""
    return known.virtual(facts) and vendor(facts) is None
