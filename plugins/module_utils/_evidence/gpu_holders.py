# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that have GPUs open or mapped. Private to gpuops.fleet: the names may change in any release.

NVML names the processes that compute; the kernel refuses to unload a module for any open file of it. So the open files are read, of all processes.
"""

from __future__ import annotations

import os
import pwd
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import cgroup
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child, Emit
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text

# NVIDIA's device files (nvidia-modprobe, kernel-open/nvidia/nv-caps.c): GPUs, control, UVM, modeset, NVSwitch, NVLink, capabilities (MIG, IMEX).
# gdrdrv is GDRCopy's, whose module depends on NVIDIA's.
NODE = r"/dev/(?:nvidia(?:\d+|ctl|-[a-z]+(?:-[a-z]+)*\d*|-caps(?:-imex-channels)?/[\w-]+)|gdrdrv%s)(?= \(deleted\)|$)"
NVIDIA_VENDOR = "0x10de"
MAPPED = re.compile(rb"^\S+ \S+ \S+ \S+ \S+ +(/\S*/?dev/(?:nvidia|dri/|gdrdrv)\S*(?: \(deleted\))?)$", re.MULTILINE)
TIMEOUT_SECONDS = 60


def read(root: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> t.List[t.Dict[str, t.Any]]:
    """Every process with a device file of NVIDIA's driver open or mapped, by process id.

    `pid`, `command` (program and first argument: later ones may be secrets), `user`, `nodes` (sorted paths), `unit`, `engine`, `container`
    (as `cgroup.Owner`). Raises EvidenceError when not all processes can be read: an unseen holder is worse than none.
    """
    found, error = Child(lambda emit: _scan(root, emit), timeout_seconds).results()
    hidden = [one["hidden"] for one in found if "hidden" in one]
    asked = [one["asked"] for one in found if "asked" in one]
    if error:
        last = " when process %d was asked for its memory map: it may be stuck in the driver" % asked[-1] if asked else ""
        raise EvidenceError("the processes that hold GPUs cannot be read: %s%s" % (error, last))
    if hidden:
        raise EvidenceError("the open files of %d processes cannot be read (%s): who holds GPUs is seen by root only" % (len(hidden), hidden[0]))
    return [one for one in found if "nodes" in one]


def _scan(root: str, emit: Emit) -> None:
    """Open files of all processes first: what else is read can wait for a lock that a stuck process holds."""
    node = re.compile(NODE % "".join("|dri/%s" % re.escape(name) for name in display_nodes(root)))
    open_nodes: t.Dict[int, t.Set[str]] = {}
    pids = sorted(int(name) for name in names(root + "/proc") if name.isdigit())
    for pid in pids:
        folder = "%s/proc/%d/fd" % (root, pid)
        try:
            numbers = os.listdir(folder)
        except PermissionError:
            emit({"hidden": folder})
            continue
        except OSError:
            continue  # it has ended
        for number in numbers:
            try:
                match = node.search(os.readlink("%s/%s" % (folder, number)))
            except OSError:
                continue  # closed since
            if match:
                open_nodes.setdefault(pid, set()).add(match.group(0))
    for pid in pids:
        emit({"asked": pid})
        maps, _why = read_bytes("%s/proc/%d/maps" % (root, pid))
        if maps:
            matches = (node.search(path.decode("utf-8", "replace")) for path in MAPPED.findall(maps))
            open_nodes.setdefault(pid, set()).update(match.group(0) for match in matches if match)
        if open_nodes.get(pid):
            emit(_process(root, pid, sorted(open_nodes[pid])))


def display_nodes(root: str = "") -> t.List[str]:
    """Names below /dev/dri of NVIDIA's GPUs: card1, renderD129. Those of other vendors are no one's business here."""
    found: t.List[str] = []
    base = root + "/sys/bus/pci/devices"
    for address in names(base):
        vendor, _why = read_text("%s/%s/vendor" % (base, address))
        if vendor == NVIDIA_VENDOR:
            found.extend(name for name in names("%s/%s/drm" % (base, address)) if name.startswith(("card", "render")))
    return found


def _process(root: str, pid: int, nodes: t.List[str]) -> t.Dict[str, t.Any]:
    folder = "%s/proc/%d" % (root, pid)
    groups, _why = read_text(folder + "/cgroup")
    owner = cgroup.owner(groups or "")
    return dict(owner._asdict(), pid=pid, command=_command(folder), user=_user(folder), nodes=nodes)


def _command(folder: str) -> str:
    line, _why = read_text(folder + "/cmdline", 4096)
    words = [word for word in (line or "").split("\0") if word]
    if words:
        return " ".join([os.path.basename(words[0])] + words[1:2])[:120]
    name, _why = read_text(folder + "/comm")
    return name or "unknown"


def _user(folder: str) -> t.Optional[str]:
    try:
        number = os.stat(folder).st_uid
    except OSError:
        return None
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
