# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The subset `packages` of the facts: where the driver comes from and what may change it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import module_keys, package_state, packages, supported_gpus, unattended_upgrades
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_text

Run = t.Callable[..., t.Tuple[int, str, str]]
Facts = t.Dict[str, t.Any]

MODULES = "/lib/modules"
PCI_DEVICES = "/sys/bus/pci/devices"


def read(
    run: Run, installed: t.Tuple[t.Optional[t.Dict[str, str]], str], gpus: t.Sequence[str], root: str = "", timeout_seconds: float = 20
) -> t.Tuple[Facts, Facts]:
    """What `driver` and `host` of the facts get from this subset. `installed`: packages as `packages.read` found them, or None, and the reason;
    `gpus`: bus addresses."""
    found, reason = installed
    of_driver: Facts = {"unavailable": {}, "sources": {}}
    of_host: Facts = {"unavailable": {}, "sources": {}}
    if found is None:
        for field in ("package_sources", "held_packages", "unmanaged"):
            of_driver["unavailable"][field] = reason
        of_host["unavailable"]["unattended_upgrades"] = reason
    else:
        state = package_state.read(run, sorted(packages.driver_packages(found)), root, timeout_seconds)
        of_driver["unavailable"].update(state.pop("unavailable"))
        of_driver.update(state)
        of_host["unattended_upgrades"] = unattended_upgrades.read(state["package_sources"] or {}, state["held_packages"], root)
        of_host["sources"]["unattended_upgrades"] = unattended_upgrades.FOLDER
    listed, why = supported_gpus.read([device_id(address, root) for address in gpus], root)
    of_driver["supported_gpus"] = listed
    if listed is None:
        of_driver["unavailable"]["supported_gpus"] = why
    else:
        of_driver["sources"]["supported_gpus"] = listed["path"]
    of_host["module_keys"] = module_keys.read(run, root, timeout_seconds)
    of_host["kernel_headers"] = headers(root)
    of_host["kernel_flavour"], why = package_state.kernel_flavour(os.uname().release, root)
    if of_host["kernel_flavour"] is None:
        of_host["unavailable"]["kernel_flavour"] = why
    return of_driver, of_host


def headers(root: str = "") -> t.List[str]:
    """Releases of the kernels whose headers are there: `/lib/modules/RELEASE/build` leads to a folder."""
    return [release for release in names(root + MODULES) if os.path.isdir("%s%s/%s/build/." % (root, MODULES, release))]


def device_id(address: str, root: str = "") -> str:
    """PCI device id of the device at this bus address, without 0x."""
    return (read_text("%s%s/%s/device" % (root, PCI_DEVICES, address))[0] or "").replace("0x", "", 1)
