# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Setting GPUs, through pynvml or nvidia-smi. Private to gpuops.fleet: the names may change in any release.

What is done here is nothing but the call; whether it took is proved by reading afresh.
"""

from __future__ import annotations

import importlib
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child, Emit
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.gpu_settings import COMPUTE_MODES, Run, refusal

Change = t.Dict[str, t.Any]


def apply(run: Run, reader: str, changes: t.Sequence[Change], timeout_seconds: float = 20) -> None:
    """Make `changes` (as the plan lists them) in their order. Raises ActionError for the first that is refused."""
    if not changes:
        return
    if reader == "pynvml":
        refused, error = Child(lambda emit: _call(changes, emit), timeout_seconds).results()
        if refused or error:
            raise ActionError("%s" % (refused[0] if refused else "the GPUs cannot be set through pynvml: %s" % error))
        return
    for change in changes:
        rc, out, err = run(["nvidia-smi", "-i", change["uuid"], change["option"], change["word"]], timeout_seconds=timeout_seconds)
        if rc != 0:
            said = "no answer within %g s" % timeout_seconds if rc == 124 else " ".join((out or err).split())[:300]
            raise ActionError("%s of %s cannot be set: %s (nvidia-smi, rc %d)" % (change["setting"], change["who"], said, rc), gpu=change["uuid"])


def _call(changes: t.Sequence[Change], emit: Emit) -> None:
    binding = importlib.import_module("pynvml")
    binding.nvmlInit()
    for change in changes:
        try:
            handle = binding.nvmlDeviceGetHandleByIndex(change["index"])
            name, *arguments = _setter(change["setting"], change["after"])
            getattr(binding, name)(handle, *arguments)
        except Exception as error:
            emit("%s of %s cannot be set: %s" % (change["setting"], change["who"], refusal(error)))
            return


def _setter(setting: str, value: t.Any) -> t.Tuple[t.Any, ...]:
    if setting == "persistence_mode":
        return "nvmlDeviceSetPersistenceMode", int(value)
    if setting == "power_limit_watts":
        return "nvmlDeviceSetPowerManagementLimit", int(round(value * 1000))
    if setting == "compute_mode":
        return "nvmlDeviceSetComputeMode", COMPUTE_MODES.index(value)
    if setting == "ecc_mode":
        return "nvmlDeviceSetEccMode", int(value)
    return "nvmlDeviceSetApplicationsClocks", value["memory_mhz"], value["graphics_mhz"]
