# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a container of Docker or Podman: its state and its log. Private to gpuops.fleet: the names may change in any release.

Everything goes through the engine's command, `docker` or `podman`, whose arguments are the same; it is given as
`run(args, timeout_seconds=…) -> (rc, stdout, stderr)`; rc 124 is a time-out, 127 a missing program. No function raises for what the engine answers.
"""

from __future__ import annotations

import json
import re
import typing as t

Run = t.Callable[..., t.Tuple[int, str, str]]
DOCKER = "docker"
CDI_NAME = re.compile(r"nvidia\.com/gpu=.")


def inspect(run: Run, name: str, timeout_seconds: float, engine: str = DOCKER) -> t.Dict[str, t.Any]:
    """`docker container inspect`, or Podman's, reduced to what checks need.

    Returned: `found` (True, False, or None when Docker did not say), `reason` (text, "" when found), `engine`, and when found: `status` (running, exited, …),
    `running`, `paused`, `restarting`, `exit_code`, `health` (healthy, unhealthy, starting, None without a health check), `error`, `started_at`,
    `image`, `runtime`, `device_requests`, `devices` (paths of the host), `environment` (name to value), `privileged`, `pid` (on the host, 0: none).
    """
    rc, out, err = run([engine, "container", "inspect", name], timeout_seconds=timeout_seconds)
    if rc != 0:
        found = False if "no such container" in err.lower() else None
        return {"found": found, "engine": engine, "reason": reason_of(engine, rc, err or out, timeout_seconds)}
    try:
        container = json.loads(out)[0]
        state, host = container["State"], container["HostConfig"]
    except (ValueError, LookupError, TypeError) as error:
        return {"found": None, "engine": engine, "reason": "%s container inspect answered with something else: %s" % (engine, error)}
    return {
        "found": True,
        "engine": engine,
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
        "device_requests": host.get("DeviceRequests") or _asked_of_podman(container),
        "devices": [str(device.get("PathOnHost")) for device in host.get("Devices") or []],
        "environment": dict(entry.split("=", 1) for entry in container.get("Config", {}).get("Env") or [] if "=" in entry),
        "privileged": bool(host.get("Privileged")),
        "pid": int(state.get("Pid") or 0),
    }


def _asked_of_podman(container: t.Dict[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    """CDI names as Docker tells them. Podman tells only the devices that they became, and the command that made the container."""
    words = [str(word) for word in container.get("Config", {}).get("CreateCommand") or []]
    options = [word.partition("=")[2] if word.startswith("--device=") else following for word, following in zip(words, words[1:] + [""])
               if word == "--device" or word.startswith("--device=")]  # fmt: skip
    names = [option for option in options if CDI_NAME.match(option)]
    return [{"Driver": "cdi", "Count": 0, "DeviceIDs": names, "Capabilities": []}] if names else []


def running(run: Run, timeout_seconds: float, engine: str = DOCKER) -> t.Tuple[t.Optional[t.List[str]], str]:
    """Names of the containers that run, sorted. (None, reason) when the engine cannot tell."""
    rc, out, err = run([engine, "container", "ls", "--format", "{{.Names}}"], timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, reason_of("%s container ls" % engine, rc, err or out, timeout_seconds)
    return sorted(line.split(",")[0] for line in out.split()), ""


def log(run: Run, name: str, since: str, timeout_seconds: float) -> t.Tuple[t.Optional[str], str]:
    """What the container wrote since `since` (its StartedAt): standard output and error. (None, reason) when Docker cannot tell."""
    rc, out, err = run(["docker", "logs", "--since", since, name], timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, reason_of("docker logs", rc, err or out, timeout_seconds)
    return out + "\n" + err, ""


def reason_of(program: str, rc: int, text: str, timeout_seconds: float) -> str:
    """Why `program` gave no answer, in one line."""
    if rc == 124:
        return "%s did not answer within %g s" % (program, timeout_seconds)
    return "%s: %s" % (program, " ".join(text.split())[:300] or "exit status %d" % rc)
