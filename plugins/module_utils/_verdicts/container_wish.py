# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a container asks for, in which way, and which of its settings have no effect. Private to gpuops.fleet: names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PASS, WARN, Check, evidence

# Ways to give GPUs to a container.
CDI, RUNTIME, DEVICE_REQUEST, DEVICES, NOTHING = "cdi", "runtime", "device request", "devices", "nothing"
VARIABLE = "NVIDIA_VISIBLE_DEVICES"
CDI_NAME = re.compile(r"nvidia\.com/gpu=(.+)$")
NODE = re.compile(r"/dev/nvidia(\d+)$")
# Values that choose no GPUs; images of NVIDIA carry "all".
NO_CHOICE = ("", "all", "void", "none")

State = t.Dict[str, t.Any]
Gpus = t.Sequence[t.Dict[str, t.Any]]


def way(state: State) -> str:
    """The way in which a container (what `_evidence.containers.inspect` returned) gets GPUs. The device request comes first, as in Docker."""
    requests = state["device_requests"]
    if any(_is_cdi(request) for request in requests):
        return CDI
    if any(_is_gpu_request(request) for request in requests):
        return DEVICE_REQUEST
    if state["runtime"] == "nvidia":
        return RUNTIME
    return DEVICES if any(NODE.match(path) for path in state["devices"]) else NOTHING


def asks(state: State) -> bool:
    """Does the container ask for a GPU."""
    return way(state) not in (NOTHING, RUNTIME) or (way(state) == RUNTIME and state["environment"].get(VARIABLE, "") not in ("", "void", "none"))


def wished(state: State, gpus: Gpus) -> t.Tuple[t.Optional[t.List[str]], str]:
    """UUIDs of the GPUs that the container asks for, sorted, and "". (None, reason) when the wish does not tell.

    gpus: those of the host with a driver, by bus address, which is the order of their indices: {uuid, minor}.
    """
    how = way(state)
    if how == NOTHING:
        return [], ""
    if how == DEVICES:
        minors = [int(match.group(1)) for match in map(NODE.match, state["devices"]) if match]
        return _of([gpu["uuid"] for minor in minors for gpu in gpus if gpu["minor"] == minor], len(minors), gpus)
    if how == RUNTIME:
        value = state["environment"].get(VARIABLE, "")
        return ([], "") if value in ("", "void", "none") else _named(value.split(","), gpus)
    names: t.List[str] = []
    for request in state["device_requests"]:
        if _is_cdi(request) or _is_gpu_request(request):
            ids = request.get("DeviceIDs") or []
            count = request.get("Count") or 0
            if not ids and count == -1:
                names.append("all")
            elif not ids:
                return None, "it asks for %d GPU(s) without naming them" % count
            names += [str(word) for word in ids]
    return _named(names, gpus)


def visible_devices(state: State, container: str) -> Check:
    """`container.visible_devices`: NVIDIA_VISIBLE_DEVICES means what it says, or is not set."""
    check_id, wanted = "container.visible_devices", "%s is read by runtime nvidia alone" % VARIABLE
    value, how = state["environment"].get(VARIABLE, ""), way(state)
    seen = [evidence("Config.Env", "%s=%s" % (VARIABLE, value) if value else None), evidence("HostConfig.Runtime", state["runtime"])]
    if how in (CDI, DEVICE_REQUEST) and state["runtime"] == "nvidia":
        return Check(
            check_id, container, WARN, "it has a device request and runtime nvidia: both give it GPUs, and which are inside depends on versions", wanted, seen,
            "keep one of the two and recreate the container",
        )  # fmt: skip
    if value in NO_CHOICE or how == RUNTIME:
        return Check(check_id, container, PASS, "no setting without effect chooses GPUs", wanted, seen)
    why = {
        NOTHING: "its runtime is %s, and it has no device request" % state["runtime"],
        DEVICES: "its GPUs are the devices that it was given",
        CDI: "the CDI names of its device request choose its GPUs",
        DEVICE_REQUEST: "its device request (--gpus) chooses its GPUs",
    }[how]
    remedy = "take %s out, choose the GPUs %s, and recreate the container" % (
        VARIABLE, "by runtime nvidia or a device request" if how == NOTHING else "there",
    )  # fmt: skip
    return Check(check_id, container, WARN, "%s=%s has no effect: %s" % (VARIABLE, value, why), wanted, seen, remedy)


def _is_cdi(request: t.Dict[str, t.Any]) -> bool:
    return any(CDI_NAME.search(str(word)) for word in request.get("DeviceIDs") or [])


def _is_gpu_request(request: t.Dict[str, t.Any]) -> bool:
    words = {str(word) for group in request.get("Capabilities") or [] for word in group}
    return str(request.get("Driver") or "") in ("", "nvidia") and bool(words & {"gpu", "nvidia"})


def _named(words: t.Sequence[str], gpus: Gpus) -> t.Tuple[t.Optional[t.List[str]], str]:
    """UUIDs of what NVIDIA_VISIBLE_DEVICES, a device request or CDI names call GPUs."""
    found: t.List[t.Optional[str]] = []
    names = [match.group(1) if match else word for word, match in ((word.strip(), CDI_NAME.search(word.strip())) for word in words)]
    for name in names:
        if name == "all":
            found += [gpu["uuid"] for gpu in gpus]
        elif name.isdigit() and int(name) < len(gpus):
            found.append(gpus[int(name)]["uuid"])
        elif name.startswith("GPU-"):
            found += [gpu["uuid"] for gpu in gpus if str(gpu["uuid"]).startswith(name)] or [name]
        else:
            return None, "it asks for %s, which is no GPU of this host" % name
    return _of(found, len(found), gpus)


def _of(found: t.Sequence[t.Optional[str]], number: int, gpus: Gpus) -> t.Tuple[t.Optional[t.List[str]], str]:
    if not gpus:
        return None, "the driver names no GPU of this host"
    if len(found) < number or None in found:
        return None, "the driver does not name all GPUs that it asks for"
    return sorted({str(uuid) for uuid in found}), ""
