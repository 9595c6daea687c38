# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device nodes and driver libraries, of the host and inside a container. Private to gpuops.fleet: the names may change in any release.

The inside is read through /proc/PID of the container's first process, so nothing has to be installed in the image. No function raises for a
file that is missing or cannot be read.
"""

from __future__ import annotations

import os
import re
import stat
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

NODE = re.compile(r"nvidia(?:\d+|ctl|-uvm|-uvm-tools|-modeset)$")
LIBRARY = re.compile(r"/(libnvidia-ml|libcuda)\.so\.(\d+\.\d+(?:\.\d+)?)$")
DRIVER = "/proc/driver/nvidia/gpus"
VERSION = "/sys/module/nvidia/version"

Numbers = t.Dict[str, t.List[int]]


def host(root: str = "") -> t.Dict[str, t.Any]:
    """`loaded_version` (None: no driver is loaded), `nodes` (path to [major, minor]), `gpus` ([{uuid, minor, bus_address}] by bus address, from /proc)."""
    version, _why = read_text(root + VERSION)
    gpus = []
    for address in _listed(root + DRIVER) or []:
        text = read_text("%s%s/%s/information" % (root, DRIVER, address))[0] or ""
        uuid = re.search(r"^GPU UUID:\s*(GPU-[0-9a-f-]{36})\s*$", text, re.M)
        minor = re.search(r"^Device Minor:\s*(\d+)\s*$", text, re.M)
        gpus.append({"uuid": uuid.group(1) if uuid else None, "minor": int(minor.group(1)) if minor else None, "bus_address": address})
    return {"loaded_version": version.strip() if version else None, "nodes": nodes(root + "/dev")[0] or {}, "gpus": gpus}


def inside(pid: int, root: str = "") -> t.Dict[str, t.Any]:
    """`nodes` (path to [major, minor]; None: not readable), `libraries` (name to the versions that are mounted; None: not readable), `reason`."""
    found, reason = nodes("%s/proc/%d/root/dev" % (root, pid))
    text, why = read_text("%s/proc/%d/mountinfo" % (root, pid))
    return {"nodes": found, "libraries": None if text is None else libraries(text), "reason": reason or why}


def nodes(folder: str) -> t.Tuple[t.Optional[Numbers], str]:
    """Device numbers of NVIDIA's nodes in `folder`, by their path as /dev/NAME. (None, reason) when the folder cannot be read."""
    names = _listed(folder)
    if names is None:
        return None, "%s cannot be read" % folder
    found: Numbers = {}
    for name in names:
        if NODE.match(name):
            try:
                status = os.stat("%s/%s" % (folder, name))
            except OSError:
                continue
            if stat.S_ISCHR(status.st_mode):
                found["/dev/" + name] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return found, ""


def libraries(mountinfo: str) -> t.Dict[str, t.List[str]]:
    """Libraries of the driver that are mounted, by name, with their versions (proc_pid_mountinfo(5): the fifth field is the mount point)."""
    found: t.Dict[str, t.List[str]] = {}
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        match = LIBRARY.search(fields[4]) if len(fields) > 4 else None
        if match and match.group(2) not in found.setdefault(match.group(1), []):
            found[match.group(1)].append(match.group(2))
    return found


def _listed(folder: str) -> t.Optional[t.List[str]]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return None
