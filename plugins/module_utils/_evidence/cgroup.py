# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a control group belongs to: a systemd unit, a container. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

# Containers of the common engines, as systemd and as cgroupfs name their groups (cgroups(7); docs of Docker, Podman, CRI-O and containerd).
# The first container of a path is the host's own; what is below it runs inside.
CONTAINER = re.compile(
    r"/(?:(docker|libpod|cri-containerd|crio|nerdctl)-([0-9a-f]{64})\.scope|(?:(docker|libpod_parent)/(?:libpod-)?([0-9a-f]{64}))"
    r"|(lxc)(?:\.payload)?[./]([^/]+)|kubepods[^/]*/(?:[^/]+/)*([0-9a-f]{64}))(?=/|$)"
)
ENGINES = {"docker": "docker", "libpod": "podman", "libpod_parent": "podman", "cri-containerd": "containerd", "crio": "cri-o", "nerdctl": "containerd"}


class Owner(t.NamedTuple):
    """`unit`: the system manager's service or scope, None outside of any. `engine` and `container`: of the container, None outside of one."""

    unit: t.Optional[str]
    engine: t.Optional[str]
    container: t.Optional[str]


def owner(text: str) -> Owner:
    """The owner of a process from its /proc/PID/cgroup, version 1, 2 or both (cgroups(7))."""
    paths = [line.split(":", 2)[2] for line in text.splitlines() if line.count(":") >= 2]
    # systemd's own hierarchy: version 2, else the named one of version 1.
    own = [line.split(":", 2)[2] for line in text.splitlines() if line.startswith("0::") or ":name=systemd:" in line]
    for path in own + paths:
        match = CONTAINER.search(path)
        if match:
            systemd, systemd_id, plain, plain_id, lxc, lxc_name, pod = match.groups()
            name = systemd or plain
            return Owner(_unit(own), ENGINES[name] if name else "lxc" if lxc else "kubernetes", systemd_id or plain_id or lxc_name or pod)
    return Owner(_unit(own), None, None)


def _unit(paths: t.Sequence[str]) -> t.Optional[str]:
    for path in sorted(paths, key=len, reverse=True):
        for part in path.split("/"):
            if part.endswith((".service", ".scope")):
                return part
    return None
