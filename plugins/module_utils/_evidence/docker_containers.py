# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker containers that were given GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket

LIMIT_BYTES = 16 * 1024 * 1024
TIMEOUT_SECONDS = 30
# Values of NVIDIA_VISIBLE_DEVICES with which the nvidia runtime adds nothing (NVIDIA Container Toolkit, environment variables).
NO_DEVICES = ("", "void")


def running(root: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> t.List[t.Dict[str, t.Any]]:
    """Every running container, by name. For a daemon that runs: one that does not would be started by being asked.

    `id`, `name`, `image`, `labels`, `gpus` (how it was given GPUs, None when it was not), `paused`, `restarting`, `auto_remove`,
    `restart_policy` (as the API has it: Name, MaximumRetryCount), `stop_seconds`. Raises EvidenceError when a daemon that runs does not answer.
    """
    found = []
    for row in _json("/containers/json", root, timeout_seconds) or []:
        # One that ended in between has no answer.
        answer = _json("/containers/%s/json" % row["Id"], root, timeout_seconds)
        if answer is not None and answer["State"].get("Running"):
            found.append(container(answer))
    return sorted(found, key=lambda one: one["name"])


def state(identity: str, root: str = "", timeout_seconds: float = TIMEOUT_SECONDS) -> t.Optional[t.Dict[str, t.Any]]:
    """`running` and `restart_policy` of the container with that id, None when there is none. Raises EvidenceError when Docker does not answer."""
    answer = _json("/containers/%s/json" % identity, root, timeout_seconds)
    return None if answer is None else {"running": bool(answer["State"].get("Running")), "restart_policy": answer["HostConfig"].get("RestartPolicy") or {}}


def container(answer: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """What `running` tells of one container, from the API's `GET /containers/ID/json`."""
    host, config = answer["HostConfig"], answer["Config"]
    return {
        "id": answer["Id"],
        "name": answer["Name"].lstrip("/"),
        "image": config.get("Image"),
        "labels": config.get("Labels") or {},
        "gpus": _gpus(host, config),
        "paused": bool(answer["State"].get("Paused")),
        "restarting": bool(answer["State"].get("Restarting")),
        "auto_remove": bool(host.get("AutoRemove")),
        "restart_policy": host.get("RestartPolicy") or {"Name": "no", "MaximumRetryCount": 0},
        "stop_seconds": config.get("StopTimeout") or 10,
    }


def _gpus(host: t.Dict[str, t.Any], config: t.Dict[str, t.Any]) -> t.Optional[str]:
    for request in host.get("DeviceRequests") or []:
        wanted = [word for group in request.get("Capabilities") or [] for word in group]
        ids = request.get("DeviceIDs") or []
        if request.get("Driver") == "nvidia" or "gpu" in wanted or any(str(name).startswith("nvidia.com/") for name in ids):
            return "device request (%s)" % ", ".join(ids or ["all" if request.get("Count") == -1 else "%s GPUs" % request.get("Count")])
    for device in host.get("Devices") or []:
        if str(device.get("PathOnHost")).startswith(("/dev/nvidia", "/dev/dri")):
            return "device %s" % device["PathOnHost"]
    if host.get("Runtime") == "nvidia":
        variables = dict(item.partition("=")[::2] for item in config.get("Env") or [])
        value = variables.get("NVIDIA_VISIBLE_DEVICES", "")
        if value not in NO_DEVICES:
            return "runtime nvidia (NVIDIA_VISIBLE_DEVICES=%s)" % value
    return None


def _json(target: str, root: str, timeout_seconds: float) -> t.Any:
    answer = docker_socket.request("GET", target, root=root, timeout_seconds=timeout_seconds, limit_bytes=LIMIT_BYTES)
    if answer.status == 404:
        return None
    if answer.reason:
        raise EvidenceError("Docker does not tell which containers have GPUs: %s" % answer.reason)
    try:
        return json.loads(answer.body)
    except ValueError:
        raise EvidenceError("Docker does not tell which containers have GPUs: the answer to %s is not understood" % target) from None
