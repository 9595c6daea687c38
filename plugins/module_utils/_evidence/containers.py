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
GPU_LINE = re.compile(r"^(?:GPU|MIG)-[0-9A-Za-z/-]+, ")
LOST = re.compile(r"is lost|Unknown Error")
GPU_NODE = re.compile(r"^nvidia\d+$")
# One line a device: path, tab, what the shell says.
TRY_TO_OPEN = 'for node; do [ -c "$node" ] && printf "%s\\t%s\\n" "$node" "$( (exec 3<>"$node") 2>&1)"; done; true'


def inspect(run: Run, name: str, timeout_seconds: float) -> t.Dict[str, t.Any]:
    """`docker container inspect`, reduced to what checks need.

    Returned: `found` (True, False, or None when Docker did not say), `reason` (text, "" when found), and when found: `status` (running, exited, …),
    `running`, `paused`, `restarting`, `exit_code`, `health` (healthy, unhealthy, starting, None without a health check), `error`, `started_at`,
    `image`, `runtime`, `device_requests`, `devices` (paths of the host), `environment` (name to value), `privileged`, `pid` (on the host, 0: none).
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
        "devices": [str(device.get("PathOnHost")) for device in host.get("Devices") or []],
        "environment": dict(entry.split("=", 1) for entry in container.get("Config", {}).get("Env") or [] if "=" in entry),
        "privileged": bool(host.get("Privileged")),
        "pid": int(state.get("Pid") or 0),
    }


def running(run: Run, timeout_seconds: float) -> t.Tuple[t.Optional[t.List[str]], str]:
    """Names of the containers that run, sorted. (None, reason) when Docker cannot tell."""
    rc, out, err = run(["docker", "container", "ls", "--format", "{{.Names}}"], timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, _reason("docker container ls", rc, err or out, timeout_seconds)
    return sorted(line.split(",")[0] for line in out.split()), ""


def log(run: Run, name: str, since: str, timeout_seconds: float) -> t.Tuple[t.Optional[str], str]:
    """What the container wrote since `since` (its StartedAt): standard output and error. (None, reason) when Docker cannot tell."""
    rc, out, err = run(["docker", "logs", "--since", since, name], timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, _reason("docker logs", rc, err or out, timeout_seconds)
    return out + "\n" + err, ""


def gpus(run: Run, name: str, timeout_seconds: float) -> t.Dict[str, t.Any]:
    """The GPUs that a process in the container can use: {`uuids`, `lost`: lists or None, `source`: command, `reason`: why None, `refused`: bool}.

    `lost`: those of `uuids` that do not answer any more (nvidia-smi still names them, and exits with 0).
    `refused`: nvidia-smi ran and reported an error, so processes in the container cannot use their GPUs.
    nvidia-smi is mounted together with the devices; where it is missing, a container without any /dev/nvidiaN has no GPU, and one with such
    nodes stays unknown.
    """
    query = ["nvidia-smi", "--query-gpu=uuid,temperature.gpu", "--format=csv,noheader"]
    source = "docker exec %s %s" % (name, " ".join(query))
    rc, out, err = _limited(run, name, query, timeout_seconds)
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    if rc == 0 and lines and all(GPU_LINE.match(line) for line in lines):
        found = dict(line.split(", ", 1) for line in lines)
        return _answer(source, sorted(found), sorted(uuid for uuid, temperature in found.items() if LOST.search(temperature)))
    text = " ".join((out + " " + err).split())
    if rc in (126, 127) and "nvidia-smi" in text:
        nodes = _nodes(run, name, timeout_seconds)
        if nodes == []:
            return _answer("docker exec %s ls /dev" % name, [])
        return _answer(source, None, reason="there is no nvidia-smi in the container" + (", but %s" % ", ".join(nodes) if nodes else ""))
    if "No devices were found" in text:
        return _answer(source, [])
    # 125 to 127 are docker's own; a program's end by time-out tells nothing about the GPUs.
    return _answer(source, None, reason=_reason("nvidia-smi", rc, text, timeout_seconds), refused=rc not in (0, 124, 125, 126, 127))


def _limited(run: Run, name: str, command: t.List[str], timeout_seconds: float) -> t.Tuple[int, str, str]:
    """Run `command` in the container. The time-out is kept inside too: when only the docker command is killed, a program that hangs stays behind."""
    inside = ["timeout", "-s", "KILL", "%d" % max(1, round(timeout_seconds))]
    rc, out, err = run(["docker", "exec", name] + inside + command, timeout_seconds=timeout_seconds + 5)
    if rc in (126, 127) and '"timeout"' in out + err:
        return run(["docker", "exec", name] + command, timeout_seconds=timeout_seconds)
    return (124 if rc == 137 else rc), out, err


def opened(run: Run, name: str, paths: t.Sequence[str], timeout_seconds: float) -> t.Tuple[t.Optional[t.Dict[str, str]], str]:
    """What a process in the container is told when it opens each of `paths` (character devices): path to the error, "" without one.

    A device that its control group forbids answers "Operation not permitted"; any other answer comes from the driver, so the group allows it.
    Nothing is read or written. (None, reason) when the container has no shell to try it with.
    """
    if not paths:
        return {}, ""
    rc, out, err = _limited(run, name, ["sh", "-c", TRY_TO_OPEN, "sh"] + list(paths), timeout_seconds)
    if rc != 0:
        return None, _reason("sh", rc, err or out, timeout_seconds)
    found = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    return {path: error.rsplit(": ", 1)[-1].strip() for path, error in found.items() if path in paths}, ""


def _answer(source: str, uuids: t.Optional[t.List[str]], lost: t.Sequence[str] = (), reason: str = "", refused: bool = False) -> t.Dict[str, t.Any]:
    return {"uuids": uuids, "lost": list(lost), "source": source, "reason": reason, "refused": refused}


def _nodes(run: Run, name: str, timeout_seconds: float) -> t.Optional[t.List[str]]:
    rc, out, _err = run(["docker", "exec", name, "ls", "/dev"], timeout_seconds=timeout_seconds)
    return None if rc != 0 else sorted("/dev/%s" % word for word in out.split() if GPU_NODE.match(word))


def _reason(program: str, rc: int, text: str, timeout_seconds: float) -> str:
    if rc == 124:
        return "%s did not answer within %g s" % (program, timeout_seconds)
    return "%s: %s" % (program, " ".join(text.split())[:300] or "exit status %d" % rc)
