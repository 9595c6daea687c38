"""gpu_drain on a server with services, containers and processes that have GPUs: four steps, reboots, a run that is killed, each policy."""
from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node
from tests.lab.tests import container_host

pytestmark = pytest.mark.lab

RECORD = "/var/lib/gpuops/drain.json"
# This kernel has no driver behind the device files, so they are opened as far as they can be.
HOLD = "import os, signal, sys\nfor path in sys.argv[1:]:\n    os.open(path, os.O_PATH)\nsignal.pause()\n"
SERVICE = "[Service]\nExecStart=/usr/bin/python3 /opt/hold.py %s\n%s\n[Install]\nWantedBy=multi-user.target\n"
UNITS = {
    # Comes back whenever it ends, and with a connection.
    "trainer.service": SERVICE % ("/dev/nvidia0 /dev/nvidiactl", "Restart=always"),
    "trainer.socket": "[Socket]\nListenStream=/run/trainer.sock\n[Install]\nWantedBy=sockets.target\n",
    # May be stopped, and does not run.
    "idle.service": SERVICE % ("/dev/nvidia0", ""),
    # Has no GPU, and may not be stopped.
    "other.service": SERVICE % ("/dev/null", ""),
    # Takes its time to stop: as long as the file is there.
    "slow.service": SERVICE % ("/dev/nvidia1", "TimeoutStopSec=infinity\nExecStop=/bin/sh -c 'while [ -e /run/slow ]; do sleep 0.1; done'"),
}
DAEMON = "nvidia-persistenced.service"
SERVICES = ["trainer", "idle", "slow", "gone", "nvidia-persistenced"]
CONTAINERS = {
    "always": ["--restart=always", "--device=nvidia.com/gpu=all"],
    "labelled": ["--restart=unless-stopped", "--runtime=nvidia", "--label=com.example.drain=allowed"],
    "limited": ["--restart=on-failure:3", "--device=nvidia.com/gpu=0"],
    "down": ["--restart=unless-stopped", "--device=nvidia.com/gpu=all"],
    "plain": ["--restart=always"],
}
ALLOWED = {"services": SERVICES, "containers": ["always", "limited", "down", "plain"], "container_labels": ["com.example.drain=allowed"]}
STOPPED = ["container always", "container labelled", "container limited", "service trainer.service", "service trainer.socket", f"service {DAEMON}"]


@pytest.fixture(scope="module")
def host() -> Iterator[Node]:
    """A server whose services, containers and reboots belong to this module."""
    lifecycle.up("p40x2", "test-drain")
    node = lifecycle.find("test-drain")
    container_host.install(node)
    node.run("nvidia-ctk", "--quiet", "cdi", "generate", "--output=/etc/cdi/nvidia.yaml")
    node.write("/opt/hold.py", HOLD)
    for name, text in UNITS.items():
        node.write(f"/etc/systemd/system/{name}", text)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "enable", "--now", "--quiet", "trainer.socket", "trainer.service")
    node.run("systemctl", "start", "other.service")
    for name, options in CONTAINERS.items():
        # The first process of a container ends by SIGTERM only if it says so.
        node.run("docker", "run", "-d", "--name", name, *options, "--entrypoint", "sh", container_host.IMAGE, "-c", "trap 'exit 7' TERM; sleep 9999 & wait")
    node.run("docker", "stop", "down")
    yield node
    lifecycle.down("test-drain")


def task(node: Node, folder: Path, *options: str, **arguments: Any) -> dict[str, Any]:
    """The result of gpu_drain with `arguments`, run by Ansible with `options`."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    run = subprocess.run(command(node, folder, result, *options, **arguments), capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert run.returncode == 0 and "Traceback" not in run.stdout + run.stderr, run.stdout + run.stderr
    return json.loads(result.read_text())


ENVIRONMENT = dict(os.environ, ANSIBLE_NOCOLOR="1")


def command(node: Node, folder: Path, result: Path, *options: str, **arguments: Any) -> list[str]:
    """The command line that runs it."""
    inventory = write_inventory(node, folder / "inventory.yml")
    tasks = [
        {"gpuops.fleet.gpu_drain": arguments, "register": "result", "ignore_errors": True},
        # Also in check mode, where the result is what is looked at.
        {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(result), "mode": "0600"}, "delegate_to": "localhost", "check_mode": False},
    ]
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    return ["ansible-playbook", "-i", str(inventory), str(play), *options]


def units(node: Node) -> dict[str, list[str]]:
    """ActiveState and UnitFileState of each unit."""
    names = [*UNITS, DAEMON]
    lines = node.run("systemctl", "show", "--property=ActiveState,UnitFileState", "--value", *names)[1].split("\n\n")
    return {name: block.split() for name, block in zip(names, lines, strict=True)}


def containers(node: Node) -> dict[str, list[Any]]:
    """Whether each container runs, and its restart policy."""
    found = json.loads(node.run("docker", "inspect", *CONTAINERS)[1])
    return {one["Name"][1:]: [one["State"]["Running"], *one["HostConfig"]["RestartPolicy"].values()] for one in found}


def running(node: Node) -> dict[str, Any]:
    """All that a drain could touch, with what has to stay: the record, what is held, who holds GPUs, and when the others were started."""
    script = f"ls {RECORD}* /run/systemd/system/*.d/90-gpuops* 2>/dev/null; ls -l /proc/*/fd 2>/dev/null | grep -o '/dev/nvidia.*'"
    left = node.run("sh", "-c", script, check=False)[1]
    return {"units": units(node), "containers": containers(node), "left": sorted(set(left.split()))}


def started(node: Node) -> str:
    """When what may not be stopped, or has no GPU, was started."""
    return node.run("sh", "-c", "systemctl show -p InvocationID other.service docker.service; docker inspect -f '{{.State.StartedAt}}' plain")[1]


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [f"{entry['kind']} {entry['name']}" for entry in entries]


def recorded(node: Node) -> list[str]:
    return names(json.loads(node.read(RECORD))["stopped"])


def test_four_steps_reloads_reboots_and_exactly_back(host: Node, tmp_path: Path) -> None:
    before, untouched = running(host), started(host)
    assert before["units"][DAEMON][0] == before["units"]["trainer.service"][0] == "active" and before["units"]["idle.service"] == ["inactive", "disabled"]
    assert before["left"] == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidiactl"]
    assert [name for name, state in before["containers"].items() if not state[0]] == ["down"]

    planned = task(host, tmp_path, "--check", "--diff", **ALLOWED)
    assert planned["changed"] and names(planned["stopped"]) == STOPPED and planned["msg"] == f"would stop {', '.join(STOPPED)}" and planned["status"] == "warn"
    assert running(host) == before and started(host) == untouched

    done = task(host, tmp_path, "--diff", **ALLOWED)
    assert done["changed"] and done["stopped"] == planned["stopped"] and done["diff"] == planned["diff"] and done["msg"] == f"stopped {', '.join(STOPPED)}"
    assert done["remaining"] == [] and done["reloadable"] and done["status"] == "pass"
    assert [holder["name"] for holder in done["holders"]] == ["always", "labelled", "limited", DAEMON, "trainer.service"]
    drained = running(host)
    assert {name: state[0] for name, state in drained["units"].items()} == dict.fromkeys([*UNITS, DAEMON], "inactive") | {"other.service": "active"}
    assert drained["containers"] == {
        "always": [False, "no", 0], "labelled": [False, "unless-stopped", 0], "limited": [False, "no", 0], "down": [False, "unless-stopped", 0],
        "plain": [True, "always", 0],
    }  # fmt: skip
    assert [path for path in drained["left"] if path.startswith("/dev")] == [] and started(host) == untouched
    assert recorded(host) == STOPPED

    for options in ((), ("--check",)):
        again = task(host, tmp_path, *options, **ALLOWED)
        assert not again["changed"] and names(again["stopped"]) == STOPPED and again["holders"] == []
    assert running(host) == drained

    # What would bring them back: an administrator, a connection, the driver's arrival, Docker's daemon.
    host.run("systemctl", "start", "trainer.service")
    host.run("modprobe", "-r", "nvidia-uvm", "nvidia-drm", "nvidia-modeset", "nvidia")
    host.run("modprobe", "nvidia")
    host.run("systemctl", "restart", "docker")
    time.sleep(2)
    assert running(host) == drained

    # A boot starts what its administrator has enabled; a second drain stops that and keeps the first record.
    host.reboot()
    assert {name: state[0] for name, state in units(host).items() if name in ("trainer.service", DAEMON)} == {"trainer.service": "active", DAEMON: "active"}
    assert containers(host) == drained["containers"]
    later = task(host, tmp_path, **ALLOWED)
    assert later["changed"] and names(later["stopped"]) == STOPPED and recorded(host) == STOPPED
    assert running(host) == dict(drained, units=drained["units"] | {"other.service": ["inactive", "disabled"]})

    host.reboot()
    host.run("systemctl", "start", "other.service")
    booted = running(host)
    back = task(host, tmp_path, "--check", state="resumed")
    assert back["changed"] and back["started"] == STOPPED[::-1] and running(host) == booted
    back = task(host, tmp_path, state="resumed")
    assert back["changed"] and back["started"] == STOPPED[::-1] and back["gone"] == back["stopped"] == []
    assert running(host) == before
    for options in ((), ("--check",)):
        again = task(host, tmp_path, *options, state="resumed")
        assert not again["changed"] and again["msg"] == "nothing is recorded as stopped"
    assert running(host) == before


def test_a_process_with_each_policy(host: Node, tmp_path: Path) -> None:
    before = running(host)
    host.run("sh", "-c", "setsid python3 /opt/hold.py /dev/nvidia1 >/dev/null 2>&1 & echo $! >/run/holder")
    pid = host.read("/run/holder").strip()
    line = f"process {pid} (python3 /opt/hold.py, user root) has /dev/nvidia1 open"
    try:
        for policy, waited in (("stop", ""), ("wait", " after 3 s")):
            found = task(host, tmp_path, policy=policy, timeout_seconds=3, **ALLOWED)
            assert found["failed"] and not found["changed"] and found["error"]["kind"] == "policy" and found["status"] == "fail"
            assert found["msg"] == f"GPUs are still in use{waited} by what may not be stopped: {line} (processes are never ended). Nothing was stopped"
            assert [holder["name"] for holder in found["remaining"] if not holder["may_stop"]] == [pid]
        checked = task(host, tmp_path, "--check", policy="stop", **ALLOWED)
        assert checked["failed"] and line in checked["msg"]
        waiting = task(host, tmp_path, "--check", policy="wait", **ALLOWED)
        assert waiting["changed"] and waiting["msg"] == f"would wait for {line}; would stop {', '.join(STOPPED)}"
        assert running(host) == before and host.run("kill", "-0", pid)[0] == 0
    finally:
        host.run("sh", "-c", f"(sleep 6; kill {pid}) >/dev/null 2>&1 &")
    done = task(host, tmp_path, policy="wait", timeout_seconds=60, **ALLOWED)
    assert done["changed"] and not done.get("failed") and names(done["stopped"]) == STOPPED and done["remaining"] == []
    # Drained, policy fail has nothing against it.
    assert not task(host, tmp_path, policy="fail", **ALLOWED)["changed"]
    assert task(host, tmp_path, state="resumed")["started"] == STOPPED[::-1]
    assert running(host) == before


def test_policy_fail_and_what_nobody_has_named(host: Node, tmp_path: Path) -> None:
    before = running(host)
    found = task(host, tmp_path, policy="fail", **ALLOWED)
    assert found["failed"] and found["msg"].startswith("GPUs are in use, and policy fail stops nothing: container always was given GPUs by device request")
    found = task(host, tmp_path)
    assert found["failed"] and "service trainer.service (process " in found["msg"] and "(services does not name it)" in found["msg"]
    assert "container always was given GPUs by device request (nvidia.com/gpu=all) (neither containers nor container_labels names it)" in found["msg"]
    assert "plain" not in found["msg"] and "other" not in found["msg"] and DAEMON not in found["msg"]
    assert running(host) == before


def test_a_run_that_is_killed_is_continued(host: Node, tmp_path: Path) -> None:
    host.run("systemctl", "start", "slow.service")
    before = running(host)
    host.write("/run/slow", "")
    result = tmp_path / "result.json"
    with subprocess.Popen(command(host, tmp_path, result, **ALLOWED), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT) as run:
        until = time.monotonic() + 60
        while units(host)["slow.service"][0] != "deactivating":
            assert time.monotonic() < until and run.poll() is None
            time.sleep(0.2)
        # Another one keeps away meanwhile.
        other = task(host, tmp_path, **ALLOWED)
        assert other["failed"] and other["msg"] == "another run drains or resumes this host at this moment"
        # Everything that belongs to the run, as the kernel would when memory is out; systemd goes on with what it was asked for.
        host.run("pkill", "-KILL", "-f", "gpu_drain")
        run.wait(60)
    assert recorded(host) == [*STOPPED[:-1], "service slow.service"] and units(host)[DAEMON][0] == "active"
    host.run("rm", "/run/slow")
    done = task(host, tmp_path, **ALLOWED)
    assert done["changed"] and done["remaining"] == [] and names(done["stopped"]) == [*STOPPED[:-1], "service slow.service", STOPPED[-1]]
    policies = {entry["name"]: entry["restart_policy"] for entry in done["stopped"] if entry["kind"] == "container"}
    assert policies["always"]["Name"] == "always" and policies["limited"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    task(host, tmp_path, state="resumed")
    assert running(host) == before
    host.run("systemctl", "stop", "slow.service")


def test_a_stop_that_does_not_end(host: Node, tmp_path: Path) -> None:
    host.run("systemctl", "start", "slow.service")
    before = running(host)
    host.write("/run/slow", "")
    found = task(host, tmp_path, stop_timeout_seconds=2, **ALLOWED)
    assert found["failed"] and found["error"]["kind"] == "action" and found["msg"] == "systemctl stop slow.service fails: no end within 2 s"
    assert names(found["stopped"]) == [*STOPPED[:-1], "service slow.service"] and found["changed"]
    host.run("rm", "/run/slow")
    while units(host)["slow.service"][0] == "deactivating":
        time.sleep(0.2)
    assert task(host, tmp_path, state="resumed")["started"] == ["service slow.service", *STOPPED[:-1][::-1]]
    assert running(host) == before
    host.run("systemctl", "stop", "slow.service")


def test_what_cannot_start_any_more(host: Node, tmp_path: Path) -> None:
    before = running(host)
    task(host, tmp_path, **ALLOWED)
    host.run("docker", "rm", "always")
    host.run("rm", "/etc/systemd/system/trainer.socket")
    host.write("/etc/systemd/system/trainer.service", "[Service]\nExecStart=/bin/false\nType=oneshot\n")
    host.run("systemctl", "daemon-reload")
    back = task(host, tmp_path, state="resumed")
    # The others run; what does not stays in the record.
    assert back["failed"] and back["msg"].startswith("not everything that was stopped runs again: systemctl start trainer.service fails: ")
    assert back["gone"] == ["service trainer.socket", "container always"] and names(back["stopped"]) == recorded(host) == ["service trainer.service"]
    assert back["started"] == [f"service {DAEMON}", "container limited", "container labelled"]
    host.write("/etc/systemd/system/trainer.service", UNITS["trainer.service"])
    host.write("/etc/systemd/system/trainer.socket", UNITS["trainer.socket"])
    host.run("systemctl", "daemon-reload")
    assert task(host, tmp_path, state="resumed")["started"] == ["service trainer.service"]
    # A socket refuses to start beside its running service, and systemctl would not wait for the one before it asks for the other.
    host.run("systemctl", "stop", "trainer.service")
    host.run("systemctl", "start", "trainer.socket")
    host.run("systemctl", "start", "trainer.service")
    host.run("docker", "run", "-d", "--name", "always", *CONTAINERS["always"], "--entrypoint", "sleep", container_host.IMAGE, "9999")
    assert running(host) == before


def test_a_record_that_is_not_understood_stops_everything(host: Node, tmp_path: Path) -> None:
    before = running(host)
    host.write(RECORD, "{")
    try:
        for arguments in (ALLOWED, {"state": "resumed"}):
            for options in ((), ("--check",)):
                found = task(host, tmp_path, *options, **arguments)
                assert found["failed"] and found["error"]["kind"] == "evidence"
                assert f"the record of what was stopped, {RECORD}, is not understood" in found["msg"]
        assert host.read(RECORD) == "{"
    finally:
        host.run("rm", RECORD)
    assert running(host) == before
