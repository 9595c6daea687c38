# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a changed driver comes to life. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import State

WORDS = {"load": "load the kernel modules", "reload": "unload and load the kernel modules", "reboot": "reboot"}


def activation(state: State) -> t.Tuple[str, t.List[str]]:
    """`load`, `reload` or `reboot`, and what makes it so, one line each."""
    if state.nouveau:
        return "reboot", ["nouveau is loaded and holds the GPUs"]
    if state.loaded is None:
        return "load", []
    users = state.users()
    return ("reboot" if users else "reload"), users


def steps(state: State, how: str, *changes: str) -> t.List[str]:
    """What a change takes, one line each: `changes` and what has to come before and after them."""
    before = ["blacklist nouveau", "rebuild the initramfs"] if state.nouveau else []
    seen = known.gpus(len(known.devices(state.facts)))
    after = ([WORDS[how]] if how in WORDS else []) + ["prove that loaded, library and on-disk version are equal and that the driver sees %s" % seen]
    return before + list(changes) + after
