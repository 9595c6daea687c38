# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses NVIDIA's kernel modules, as the kernel counts it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_text

MODULES = ("nvidia", "nvidia_uvm", "nvidia_modeset", "nvidia_drm", "nvidia_peermem", "nvidia_fs", "nvidia_vgpu_vfio", "gdrdrv")


def read(root: str = "") -> t.List[t.Dict[str, t.Any]]:
    """The loaded ones: `name`, `users` (/sys/module/NAME/refcnt, None when not readable), `used_by` (modules that depend on it).

    `users` over the number of `used_by`: open files, or something in the kernel, a console on nvidia_drm for one.
    """
    found = []
    loaded = names(root + "/sys/module")
    for name in MODULES:
        if name in loaded:
            count, _why = read_text("%s/sys/module/%s/refcnt" % (root, name))
            used_by = names("%s/sys/module/%s/holders" % (root, name))
            found.append({"name": name, "users": int(count) if count and count.isdigit() else None, "used_by": used_by})
    return found
