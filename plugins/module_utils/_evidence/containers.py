# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a Docker container: its state, its log, the GPUs inside. Private to gpuops.fleet: the names may change in any release.

Everything goes through the `docker` command, given as `run(args, timeout_seconds=…) -> (rc, stdout, stderr)`; rc 124 is a time-out, 127 a
missing program. No function raises for what Docker answers.
"""

from __future__ import annotations

import json
import re
import typing as t

Run = t.Callable[..., t.Tuple[int, str, str]]
UUID = re.compile(r"^(?:GPU|MIG)-[0-9A-Za-z/-]+$")
GPU_NODE = re.compile(r"^nvidia\d+$")


def inspect(run: Run, name: str, timeout_seconds: float) -> t.Dict[str, t.Any]:
    """`docker container inspect`, reduced to what checks need.

    Returned: `found` (True, False, or None when Docker did not say), `reason` (text, "" when found), and when found: `status` (running, exited, …),
    `running`, `paused`, `restarting`, `exit_code`, `health` (healthy, unhealthy, starting, None without a health check), `error`, `started_at`,
    `image`, `runtime`, `device_requests`.
    """
    rc, out, err = run(["docker", "container", "inspect", name], timeout_seconds=timeout_seconds)
    if rc != 0:
        found = False if "no such container" in err.lower() else None
        return {"found": found, "reason": _reason("docker", rc, err or out, timeout_seconds)}
    try:
        container = json.loads(out)[0]
        state, host = container["State"], container["HostConfig"]
    except (ValueError, LookupError, TypeError) as error:
        return {"found": None, "reason": "docker container inspect answered with something else: %s" % error}
    return {
        "found": True,
        "reason": "",
        "status": state.get("Status"),
        "running": bool(state.get("Running")),
        "paused": bool(state.get("Paused")),
        "restarting": bool(state.get("Restarting")),
        "exit_code": state.get("ExitCode"),
        "health": (state.get("Health") or {}).get("Status"),
        "error": state.get("Error") or "",
        "started_at": state.get("StartedAt"),
        "image": container.get("Config", {}).get("Image"),
        "runtime": host.get("Runtime"),
        "device_requests": host.get("DeviceRequests") or [],
    }


def log(run: Run, name: str, since: str, timeout_seconds: float) -> t.Tuple[t.Optional[str], str]:
    """What the container wrote since `since` (its StartedAt): standard output and error. (None, reason) when Docker cannot tell."""
    rc, out, err = run(["docker", "logs", "--since", since, name], timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, _reason("docker logs", rc, err or out, timeout_seconds)
    return out + "\n" + err, ""


def gpus(run: Run, name: str, timeout_seconds: float) -> t.Dict[str, t.Any]:
    """The GPUs that a process in the container can use: {`uuids`: list or None, `source`: command, `reason`: why None}.

    `nvidia-smi` in the container tells. It is mounted together with the devices; where it is missing, a container without any
    /dev/nvidiaN has no GPU, and one with such nodes stays unknown.
    """
    query = ["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"]
    source = "docker exec %s %s" % (name, " ".join(query))
    rc, out, err = run(["docker", "exec", name] + query, timeout_seconds=timeout_seconds)
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    if rc == 0 and lines and all(UUID.match(line) for line in lines):
        return {"uuids": sorted(lines), "source": source, "reason": ""}
    text = " ".join((out + " " + err).split())
    if rc in (126, 127) and "nvidia-smi" in text:
        nodes = _nodes(run, name, timeout_seconds)
        if nodes == []:
            return {"uuids": [], "source": "docker exec %s ls /dev" % name, "reason": ""}
        return {"uuids": None, "source": source, "reason": "there is no nvidia-smi in the container" + (", but %s" % ", ".join(nodes) if nodes else "")}
    if "No devices were found" in text:
        return {"uuids": [], "source": source, "reason": ""}
    return {"uuids": None, "source": source, "reason": _reason("nvidia-smi", rc, text, timeout_seconds)}


def _nodes(run: Run, name: str, timeout_seconds: float) -> t.Optional[t.List[str]]:
    rc, out, _err = run(["docker", "exec", name, "ls", "/dev"], timeout_seconds=timeout_seconds)
    return None if rc != 0 else sorted("/dev/%s" % word for word in out.split() if GPU_NODE.match(word))


def _reason(program: str, rc: int, text: str, timeout_seconds: float) -> str:
    if rc == 124:
        return "%s did not answer within %g s" % (program, timeout_seconds)
    return "%s: %s" % (program, " ".join(text.split())[:300] or "exit status %d" % rc)
