# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which installed packages cannot stay beside a driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.driver_packages import FLAVORED, METAPACKAGES, MODULE_PACKAGES, NUMBERED, WITHOUT_SERVER
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_packages import Selection, fabric_names

PREBUILT = re.compile(r"linux-(?:modules|objects)-nvidia-")
OLD_FIRMWARE = re.compile(r"nvidia-firmware-\d{3}(?:-server)?-(?P<version>\d{3}\.[\d.]+)\Z")
TESLA = re.compile(r"(?:lib)?nvidia-tesla-(?P<branch>\d{3})-")


def leftovers(installed: t.Iterable[str], selection: Selection, branch: int, flavor: str) -> t.List[str]:
    """Those of the installed driver packages that are of another branch, flavour, kind of module or source than `selection`."""
    return sorted(name for name in installed if name not in selection.names and _foreign(name, selection, branch, flavor))


def _foreign(name: str, selection: Selection, branch: int, flavor: str) -> bool:
    firmware = OLD_FIRMWARE.match(name)
    if firmware:
        return firmware.group("version") != selection.version
    tesla = TESLA.match(name)
    if tesla:
        return True  # selected names are never asked about
    if name in MODULE_PACKAGES or name.startswith("kmod-nvidia-"):
        return True
    if fabric_names(name, branch):
        return True  # under its other name it is selected, or the source has it in no version that works with this driver
    if name in METAPACKAGES:
        # Of the other flavour, or of another source than these names come from.
        return ("open" in name) != (flavor == "open") or selection.source == "ubuntu_archive"
    match = re.match(NUMBERED, name)
    if match is None:
        # The archive's nvidia-smi and NVIDIA's nvidia-driver-cuda exclude each other.
        return name in ("nvidia-smi", "nvidia-driver-cuda") and selection.source in ("cuda_repository", "debian_archive")
    stem = match.group("stem")
    if int(match.group("branch")) != branch:
        return True
    server = selection.source == "ubuntu_archive"
    if stem not in WITHOUT_SERVER and bool(match.group("server")) != server:
        return True
    if stem in FLAVORED and bool(match.group("open")) != (flavor == "open"):
        return True
    # One kind of module a host: the one of DKMS would be loaded in place of the prebuilt one.
    if selection.module_source == "prebuilt":
        return stem in ("nvidia-dkms", "nvidia-headless")
    return bool(PREBUILT.match(name))
