# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a container run, with exactly the GPUs asked for. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import container_devices, container_wish

WITHDRAWN = (
    "systemd took the devices away from the container's control group (systemctl daemon-reload does it to containers that got them from the "
    "prestart hook): give the GPUs by CDI or by runtime nvidia with toolkit 1.18 or newer, and recreate the container"
)
LOST = "a GPU that fell off the bus comes back with a reboot at the earliest: see gpu_health_check and the kernel log (Xid 79), reseat or replace the board"


def check(seen: t.Dict[str, t.Any], container: str, expected_uuids: t.Optional[t.Sequence[str]]) -> t.List[Check]:
    """All checks of one container.

    seen: `state` (`_evidence.containers.inspect`), `host` and `inside` (`_evidence.container_devices`), `specs` (`_evidence.cdi_spec.read`), `gpus`
    (`_evidence.containers.gpus`), `opened` with `opened_reason` (`.opened`); the last four are None for what was not looked into.
    expected_uuids: the GPUs that must be inside; None: those that the container asks for.
    """
    state, host, inside = seen["state"], seen["host"], seen["inside"]
    checks = [running(state, container)]
    if not state["found"]:
        return checks + [gpus(state, None, container, [])]
    expected, reason = (sorted(set(expected_uuids)), "") if expected_uuids is not None else container_wish.wished(state, host["gpus"])
    how = container_wish.way(state)
    checks.append(_not_told(container, reason) if expected is None else gpus(state, seen["gpus"], container, expected))
    if inside is not None:
        # Without a known wish, what is inside has to fit itself.
        asked = expected if expected is not None else (seen["gpus"] or {}).get("uuids") or []
        checks += [
            container_devices.device_nodes(host, inside, container, asked, how),
            container_devices.device_cgroup(seen["opened"], seen["opened_reason"], container, asked, how),
            container_devices.driver_libraries(host, inside, container, asked, how),
        ]
    return checks + [
        container_devices.cdi_spec(host, seen["specs"], container, expected or [], how),
        container_wish.visible_devices(state, container),
    ]


def _not_told(container: str, reason: str) -> Check:
    return Check(
        "container.gpus", container, UNKNOWN, "the GPUs that it must have are not known: %s" % reason, "the GPUs that the container asks for", [],
        "name them in expected_uuids",
    )  # fmt: skip


def running(state: t.Dict[str, t.Any], container: str) -> Check:
    """`container.running`: the container exists, runs, and is not unhealthy."""
    check_id, wanted = "container.running", "a running container"
    if state["found"] is None:
        return Check(
            check_id, container, UNKNOWN, "Docker did not tell: %s" % state["reason"], wanted, [evidence("docker container inspect", None)],
            "see that Docker is installed and its daemon runs (systemctl status docker)",
        )  # fmt: skip
    if not state["found"]:
        return Check(
            check_id, container, FAIL, "there is no such container", wanted, [evidence("docker container inspect", state["reason"])], "create the container"
        )
    seen = [evidence("State.Status", state["status"])]
    if state["health"]:
        seen.append(evidence("State.Health.Status", state["health"]))
    if state["restarting"]:
        seen.append(evidence("State.ExitCode", state["exit_code"]))
        remedy = "read docker logs %s for why it ends" % container
        return Check(check_id, container, FAIL, "the container restarts again and again", wanted, seen, remedy)
    if not state["running"]:
        seen += [evidence("State.ExitCode", state["exit_code"])] + ([evidence("State.Error", state["error"])] if state["error"] else [])
        return Check(check_id, container, FAIL, "the container does not run", wanted, seen, "start it; read docker logs %s for why it ended" % container)
    if state["paused"]:
        return Check(check_id, container, FAIL, "the container is paused", wanted, seen, "docker unpause %s" % container)
    if state["health"] == "unhealthy":
        return Check(check_id, container, FAIL, "the container is unhealthy", wanted, seen, "read docker inspect %s: State.Health.Log" % container)
    if state["health"] == "starting":
        return Check(check_id, container, WARN, "the container's health check has not passed yet", wanted, seen, "wait, then check again")
    return Check(check_id, container, PASS, "the container runs" + (" and is healthy" if state["health"] == "healthy" else ""), wanted, seen)


def gpus(state: t.Dict[str, t.Any], gpus: t.Optional[t.Dict[str, t.Any]], container: str, expected_uuids: t.Sequence[str]) -> Check:
    """`container.gpus`: the set of GPUs that a process inside can use is the set of `expected_uuids`."""
    check_id, expected = "container.gpus", sorted(set(expected_uuids))
    wanted = ", ".join(expected) or "no GPU"
    if not state["found"] or not state["running"] or gpus is None:
        return Check(check_id, container, SKIPPED, "not looked at: the container does not run", wanted)
    if gpus["uuids"] is None and gpus["refused"]:
        remedy = WITHDRAWN if "Unknown Error" in gpus["reason"] else _remedy(state)
        return Check(check_id, container, FAIL, "processes in the container cannot use its GPUs", wanted, [evidence(gpus["source"], gpus["reason"])], remedy)
    if gpus["uuids"] is None:
        remedy = "run %s by hand, and nvidia-smi on the host: where it hangs or fails too, the driver is at fault" % gpus["source"]
        return Check(check_id, container, UNKNOWN, "the GPUs inside could not be read: %s" % gpus["reason"], wanted, [evidence(gpus["source"], None)], remedy)
    if gpus["lost"]:
        seen = [evidence(gpus["source"], "%s: GPU is lost" % uuid) for uuid in gpus["lost"]]
        return Check(check_id, container, FAIL, "the GPU %s does not answer any more" % ", ".join(gpus["lost"]), wanted, seen, LOST)
    found = sorted(set(gpus["uuids"]))
    seen = [evidence(gpus["source"], ", ".join(found) or "no GPU")]
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        parts = (["missing %s" % ", ".join(missing)] if missing else []) + (["not asked for %s" % ", ".join(extra)] if extra else [])
        summary = "the container has %d of %d GPUs: %s" % (len(set(found) & set(expected)), len(expected), "; ".join(parts))
        return Check(check_id, container, FAIL, summary, wanted, seen, _remedy(state))
    return Check(check_id, container, PASS, "the container has exactly the %d GPUs asked for" % len(found), wanted, seen)


def _remedy(state: t.Dict[str, t.Any]) -> str:
    """GPUs of a container are fixed when it is created, so the remedy ends in a new container."""
    drivers = sorted({str(request.get("Driver") or "nvidia") for request in state["device_requests"]})
    if drivers:
        how = "it asks for GPUs by device requests (%s)" % ", ".join(drivers)
    elif state["runtime"] == "nvidia":
        how = "it runs under runtime nvidia, where NVIDIA_VISIBLE_DEVICES selects the GPUs"
    else:
        how = "it asks for no GPU: neither device requests nor runtime nvidia"
    return "%s; correct that and recreate the container (GPUs cannot be changed in place), and see nvidia-ctk cdi list" % how
