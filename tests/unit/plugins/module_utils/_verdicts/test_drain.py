"""Who holds the GPUs, who of them may be stopped, in which order, and what the check says of it."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, WARN
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import drain

ID = "c2a117b82edf42543769ecd83f136b6182cf192415dafcd2f5f7300fbe7ebdd1"
LOADED = [{"name": "nvidia", "users": 2, "used_by": ["nvidia_modeset", "nvidia_uvm"]}, {"name": "nvidia_uvm", "users": 0, "used_by": []}]


def process(pid, unit=None, engine=None, container=None, nodes=("/dev/nvidia0",)):
    return {"pid": pid, "command": "python3 train.py", "user": "alice", "nodes": list(nodes), "unit": unit, "engine": engine, "container": container}


def container(name="ollama", gpus="device request (all)", **more):
    found = {"id": name * 4, "name": name, "image": "ollama/ollama", "labels": {}, "gpus": gpus, "paused": False, "restarting": False, "auto_remove": False,
             "restart_policy": {"Name": "always", "MaximumRetryCount": 0}, "stop_seconds": 10}  # fmt: skip
    return dict(found, **more)


def unit(name, on=True, **more):
    found = {"id": name, "on": on, "ending": False, "state": "active" if on else "inactive", "triggered_by": [], "stops_unneeded": False, "condition": True}
    return dict(found, **more)


def units(*found):
    return {one["id"]: one for one in found}


def allowed(services=(), containers=(), labels=()):
    return drain.Allowed(services, containers, labels)


# name, processes, containers, units, what is allowed → [(kind, name, may stop, words of why not)]
WHO = {
    "nothing": ([], [], {}, allowed(), []),
    "a process": ([process(7)], [], {}, allowed(), [("process", "7", False, "processes are never ended")]),
    "a process of a session": ([process(7, "session-3.scope")], [], {}, allowed(["session-3.scope"]), [("process", "7", False, "never ended")]),
    "a service that is not named": (
        [process(7, "a.service")], [], units(unit("b.service", on=False)), allowed(["b"]), [("service", "a.service", False, "services does not name it")],
    ),
    "a service that is named": (
        [process(7, "a.service"), process(8, "a.service")], [], units(unit("a.service")), allowed(["a"]), [("service", "a.service", True, "")],
    ),
    "named by its alias": (
        [process(7, "nvidia-dcgm.service")], [], dict(units(unit("nvidia-dcgm.service")), **{"dcgm.service": unit("nvidia-dcgm.service")}),
        allowed(["dcgm", "nvidia-dcgm"]), [("service", "nvidia-dcgm.service", True, "")],
    ),
    "named, and not holding": ([], [], units(unit("a.service"), unit("b.service", on=False)), allowed(["a", "b"]), [("service", "a.service", True, "")]),
    "a container that is not named": ([], [container()], {}, allowed(), [("container", "ollama", False, "neither containers nor container_labels")]),
    "a container by name": ([], [container()], {}, allowed((), ["ollama"]), [("container", "ollama", True, "")]),
    "a container by id": ([], [container()], {}, allowed((), ["ollama" * 4]), [("container", "ollama", True, "")]),
    "a label": ([], [container(labels={"drain": "no"})], {}, allowed((), (), ["drain"]), [("container", "ollama", True, "")]),
    "a label's value": ([], [container(labels={"drain": "yes"})], {}, allowed((), (), ["drain=yes"]), [("container", "ollama", True, "")]),
    "another value": ([], [container(labels={"drain": "no"})], {}, allowed((), (), ["drain=yes"]), [("container", "ollama", False, "neither")]),
    "an empty value": ([], [container(labels={"drain": "no"})], {}, allowed((), (), ["drain="]), [("container", "ollama", False, "neither")]),
    "without a GPU": ([], [container(gpus=None)], {}, allowed((), ["ollama"]), []),
    "not given, but holding": (
        [process(7, "docker-x.scope", "docker", "ollama" * 4)], [container(gpus=None)], {}, allowed((), ["ollama"]), [("container", "ollama", True, "")],
    ),
    "removes itself": ([], [container(auto_remove=True)], {}, allowed((), ["ollama"]), [("container", "ollama", False, "it is removed when it stops")]),
    "of a swarm": ([], [container(labels={"com.docker.swarm.task.id": "x"})], {}, allowed((), ["ollama"]), [("container", "ollama", False, "Swarm")]),
    "paused": ([], [container(paused=True)], {}, allowed((), ["ollama"]), [("container", "ollama", False, "it is paused")]),
    "of Podman": ([process(7, None, "podman", ID)], [], {}, allowed((), [ID[:12]]), [("container", ID[:12], False, "only containers of the system's Docker")]),
    "of Docker without its daemon": (
        [process(7, None, "docker", ID)], None, {}, allowed((), [ID[:12]]), [("container", ID[:12], False, "daemon does not run")],
    ),
    "of another Docker": ([process(7, None, "docker", ID)], [], {}, allowed((), [ID[:12]]), [("container", ID[:12], False, "only containers of the system's")]),
}  # fmt: skip


@pytest.mark.parametrize("case", WHO)
def test_who_holds_gpus_and_may_be_stopped(case):
    processes, containers, present, what, expected = WHO[case]
    found = drain.holders(processes, containers, present, what)
    assert [(one["kind"], one["name"], one["may_stop"]) for one in found] == [one[:3] for one in expected]
    for holder, (_kind, _name, may_stop, why) in zip(found, expected, strict=True):
        assert why in holder["why_not"] and bool(holder["why_not"]) != may_stop
    assert [pid["pid"] for one in found for pid in one["pids"]] == [one["pid"] for one in processes]


def test_the_order_of_stopping():
    present = units(
        unit("ollama.service"), unit("cron-job.service", triggered_by=["cron-job.timer", "cron-job.path"]), unit("cron-job.timer"),
        unit("cron-job.path", on=False),
        unit("rest.service", on=False, triggered_by=["rest.socket"]), unit("rest.socket"), unit("nvidia-persistenced.service"),
        unit("ending.service", on=False, ending=True),
    )  # fmt: skip
    what = allowed(["cron-job", "gone", "rest.service", "ollama.service", "nvidia-persistenced", "ending"], ["b", "a"])
    containers = [container("a"), container("b", restarting=True), container("c")]
    found = drain.holders([process(7, "cron-job.service")], containers, present, what)
    entries = drain.to_stop(found, containers, present, what)
    # A trigger after what it starts: resumed in reverse, a socket can only be started before its service. One that would start a service that is
    # down now, too.
    assert [one["name"] for one in entries] == [
        "a", "b", "cron-job.service", "cron-job.timer", "rest.socket", "ollama.service", "nvidia-persistenced.service", "ending.service",
    ]  # fmt: skip
    assert entries[-2:] == [{"kind": "service", "name": "nvidia-persistenced.service"}, {"kind": "service", "name": "ending.service", "ending": True}]
    assert entries[1] == {"kind": "container", "name": "b", "id": "bbbb", "image": "ollama/ollama", "restarting": True, "stop_seconds": 10,
                          "restart_policy": {"Name": "always", "MaximumRetryCount": 0}}  # fmt: skip


def test_holding_is_not_being_named():
    found = drain.holders([process(7)], [container()], units(unit("a.service")), allowed(["a"]))
    assert [one["name"] for one in drain.holding(found)] == ["ollama", "7"] and [one["name"] for one in drain.blocking(found)] == ["ollama", "7"]


@pytest.mark.parametrize(
    "name, whole",
    [("ollama", "ollama.service"), ("a.timer", "a.timer"), ("user@1000.service", "user@1000.service"), ("com.example.app", "com.example.app.service")],
)
def test_names_of_units(name, whole):
    assert drain.unit_name(name) == whole


def test_holders_in_words():
    processes = [process(pid, "a.service") for pid in range(1, 6)]
    processes += [process(9, "session-3.scope", nodes=["/dev/nvidia0", "/dev/nvidiactl"]), process(10, None, "podman", ID)]
    found = drain.holders(processes, [container()], units(unit("b.service")), allowed(["b"]))
    assert [drain.told(one) for one in found] == [
        "container c2a117b82edf (podman, process 10 python3 train.py) has /dev/nvidia0 open",
        "container ollama was given GPUs by device request (all)",
        "process 9 (python3 train.py, user alice, session-3.scope) has /dev/nvidia0, /dev/nvidiactl open",
        "service a.service (process 1 python3 train.py, 2 python3 train.py, 3 python3 train.py, and 2 more) has /dev/nvidia0 open",
        "service b.service runs",
    ]


@pytest.mark.parametrize(
    "processes, containers, modules, status, words",
    [
        ([], [], LOADED, PASS, "nothing holds a GPU"),
        ([], None, [], PASS, "nothing holds a GPU"),
        ([], [container(gpus=None)], LOADED, PASS, "nothing holds a GPU"),
        ([process(7, "a.service")], [], LOADED, WARN, "service a.service (process 7 python3 train.py) has /dev/nvidia0 open"),
        ([], [container("ok")], LOADED, WARN, "container ok was given GPUs"),
        ([process(7)], [container("ok")], LOADED, FAIL, "process 7 (python3 train.py, user alice) has /dev/nvidia0 open: processes are never ended"),
        ([], [container()], LOADED, FAIL, "container ollama was given GPUs by device request (all): neither"),
        ([], [], [dict(LOADED[0], users=3)], WARN, "no process holds a GPU, but the kernel counts users of nvidia (1 users)"),
        ([], [], [{"name": "nvidia_drm", "users": 1, "used_by": []}], WARN, "users of nvidia_drm (1 users)"),
        ([], [], [{"name": "nvidia", "users": None, "used_by": []}], PASS, "nothing holds a GPU"),
    ],
)
def test_the_check(processes, containers, modules, status, words):
    found = drain.holders(processes, containers, units(unit("a.service")), allowed(["a"], ["ok"]))
    check = drain.check(found, modules, containers is not None)
    assert check.id == "gpu.holders" and check.status == status and words in check.summary
    assert ("does not run" in str(check.evidence)) == (containers is None)
