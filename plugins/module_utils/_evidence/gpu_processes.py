# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes compute on which GPU, as the driver has them now, and which of them are a container's. Private to gpuops.fleet: names may change.

The driver names only processes that it can see: from inside a container, and for some virtual GPUs, that is none.
"""

from __future__ import annotations

import typing as t

Run = t.Callable[..., t.Tuple[int, str, str]]
Processes = t.Dict[str, t.List[t.Dict[str, t.Any]]]
QUERY = ["nvidia-smi", "--query-compute-apps=gpu_uuid,pid,used_memory,process_name", "--format=csv,noheader,nounits"]


def read(run: Run, timeout_seconds: float) -> t.Tuple[t.Optional[Processes], str]:
    """UUID → [{pid, used_memory_mib (None: not told), name}] of GPUs with processes. (None, reason) when the driver does not answer."""
    rc, out, err = run(QUERY, timeout_seconds=timeout_seconds)
    if rc != 0:
        why = " ".join((err or out).split())[:200]
        return None, "nvidia-smi did not answer within %g s" % timeout_seconds if rc == 124 else "nvidia-smi: %s" % (why or "exit status %d" % rc)
    found: Processes = {}
    for line in out.splitlines():
        words = [word.strip() for word in line.split(",", 3)]
        if len(words) == 4 and words[1].isdigit():
            used = int(words[2]) if words[2].isdigit() else None
            found.setdefault(words[0], []).append({"pid": int(words[1]), "used_memory_mib": used, "name": words[3]})
    return found, ""


def of_facts(facts: t.Dict[str, t.Any]) -> t.Tuple[t.Optional[Processes], str]:
    """The same from `ansible_facts.gpu`; (None, reason) when no GPU tells its processes."""
    devices = [device for device in facts.get("devices") or () if device.get("uuid")]
    told = {str(device["uuid"]): device["processes"] for device in devices if device.get("processes") is not None}
    return (told, "") if told else (None, "the facts hold no processes of any GPU")


def of_container(run: Run, container: str, timeout_seconds: float) -> t.Optional[t.Set[int]]:
    """Process ids, as the host counts them, of everything in the container; None when Docker does not tell."""
    rc, out, _err = run(["docker", "top", container, "-eo", "pid"], timeout_seconds=timeout_seconds)
    return {int(word) for word in out.split() if word.isdigit()} if rc == 0 else None
