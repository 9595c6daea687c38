# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a driver from being installed on a host, whatever the driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import State


def module_sources(state: State, dkms_key_enrolled: t.Optional[bool]) -> t.Dict[str, str]:
    """Module source → why its modules would not be loaded. `dkms_key_enrolled`: the user's word, None to go by the facts."""
    if state.secure_boot is not True:
        return {}
    keys = known.get(state.facts, "host", "module_keys")
    refused = {}
    enrolled = known.get(keys, "enrolled") if dkms_key_enrolled is None else dkms_key_enrolled
    if enrolled is not True:
        certificate = known.text(known.get(keys, "certificate"))
        which = "the key %s" % certificate if certificate else "the key that DKMS makes on this host"
        told = "does not know" if enrolled is False or certificate is None else "is not known to know"
        refused["dkms"] = "Secure Boot is on, and the firmware %s %s (enrol it with mokutil --import, confirmed at the console)" % (told, which)
    names = known.get(keys, "names")
    if not any("nvidia" in str(name).lower() for name in (names if isinstance(names, list) else [])):
        refused["precompiled"] = "Secure Boot is on, and the firmware is not known to know NVIDIA's key"
    return refused


def unmanaged(facts: t.Any) -> t.List[str]:
    """One line when a driver is there that no package owns: packages beside it would make one half of each."""
    found = known.get(facts, "driver", "unmanaged")
    if not isinstance(found, list) or not found:
        return []
    shown = ", ".join(str(one) for one in found[:3]) + (" and %d more" % (len(found) - 3) if len(found) > 3 else "")
    return ["a driver is installed that no package owns (%s): take it away with nvidia-uninstall first, or its files and those of the packages mix" % shown]
