# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""DKMS builds of the NVIDIA driver, from DKMS's own tree. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names

TREE = "/var/lib/dkms"
# nvidia, and nvidia-current, nvidia-current-open, nvidia-tesla-535 (Debian).
MODULE = re.compile(r"nvidia(?:-[\w.-]+)?\Z")
BUILT = re.compile(r".+\.ko(?:\.gz|\.xz|\.zst)?\Z")


def read(root: str = "") -> t.List[t.Dict[str, t.Optional[str]]]:
    """`[{module, version, kernel_release, state}]` as `dkms status` tells; none where DKMS has no NVIDIA module.

    state: `added` (sources only, no kernel), `built`, `installed`, or `broken` (the sources are gone, or a build left no module).
    DKMS links `MODULE/kernel-RELEASE-ARCH` to `VERSION/RELEASE/ARCH` for what is installed (dkms(8), `do_install`).
    """
    found: t.List[t.Dict[str, t.Optional[str]]] = []
    for module in filter(MODULE.match, names(root + TREE)):
        base = "%s%s/%s" % (root, TREE, module)
        for version in names(base):
            folder = "%s/%s" % (base, version)
            if version.startswith("kernel-") or not os.path.isdir(folder) or not os.path.lexists(folder + "/source"):
                continue
            whole = os.path.exists(folder + "/source")
            builds = [(kernel, arch) for kernel in names(folder) if kernel not in ("source", "build") for arch in names("%s/%s" % (folder, kernel))]
            for kernel, arch in builds:
                state = _state(base, version, kernel, arch) if whole else "broken"
                if state:
                    found.append({"module": module, "version": version, "kernel_release": kernel, "state": state})
            if not any(one["module"] == module and one["version"] == version for one in found):
                found.append({"module": module, "version": version, "kernel_release": None, "state": "added" if whole else "broken"})
    return found


def _state(base: str, version: str, kernel: str, arch: str) -> t.Optional[str]:
    folder = "%s/%s/%s/%s" % (base, version, kernel, arch)
    if not os.path.isdir(folder):
        return None
    if not any(BUILT.match(name) for name in names(folder + "/module")):
        return "broken"
    try:
        installed = os.readlink("%s/kernel-%s-%s" % (base, kernel, arch)).rstrip("/").endswith("%s/%s/%s" % (version, kernel, arch))
    except OSError:
        installed = False
    return "installed" if installed else "built"
