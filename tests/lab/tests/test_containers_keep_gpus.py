"""Docker and the container toolkit on a server: other people's settings, what takes GPUs away from containers, and what is said about it.

One node from the first installation on; each test goes on where the one before it ended.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.bench.playbook import module_tasks
from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[3]
CONFIG = "/etc/docker/daemon.json"
FOREIGN = '{\n    "log-opts": {"max-size": "5m"},\n    "runtimes": {"kata": {"path": "/usr/bin/kata-runtime"}}\n}'
PACKAGES = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
ROLES = ("docker_engine", "nvidia_container_toolkit")
# As site.yml does it: everything is looked up before anything is changed.
STAGES = [
    *({"ansible.builtin.import_role": {"name": f"gpuops.fleet.{role}", "tasks_from": "validate"}} for role in ROLES),
    *({"ansible.builtin.import_role": {"name": f"gpuops.fleet.{role}"}} for role in ROLES),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 with a working driver, without Docker."""
    with lifecycle.machine("p40x2", "test-containers") as node:
        yield node


def play(node: Node, folder: Path, tasks: list[dict[str, Any]], *options: str, fails: bool = False, **variables: Any) -> dict[str, Any]:
    """The result of a play, from the JSON callback."""
    file = folder / "play.yml"
    file.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    inventory = write_inventory(node, folder / "inventory.yml")
    command = ["ansible-playbook", "-i", str(inventory), "-i", str(ROOT / "tests/lab/site/products.py"), str(file), "-e", json.dumps(variables), *options]
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
    result = json.loads(run.stdout[run.stdout.index("{") :])
    assert (run.returncode != 0) is fails, [(name, answer.get("msg")) for name, answer in answers(result) if answer.get("failed")] or run.stderr
    return result


def answers(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Name and result of every task."""
    return [(task["task"]["name"], answer) for one in result["plays"] for task in one["tasks"] for answer in task["hosts"].values()]


def changed(result: dict[str, Any]) -> list[str]:
    return [name for name, answer in answers(result) if answer.get("changed")]


def failure(result: dict[str, Any]) -> str:
    return " ".join(next(answer["msg"] for _name, answer in answers(result) if answer.get("failed")).split())


def checks(node: Node, folder: Path, **arguments: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Checks of gpu_container_check, by container and id."""
    result = play(node, folder, [{"name": "check", "gpuops.fleet.gpu_container_check": {"fail_on": [], **arguments}}])
    return {(check["subject"], check["id"]): check for check in answers(result)[-1][1]["checks"]}


def bad(found: dict[tuple[str, str], dict[str, Any]]) -> list[str]:
    return sorted(f"{container} {name} {check['status']}" for (container, name), check in found.items() if check["status"] not in ("pass", "skipped"))


def uuids(node: Node) -> list[str]:
    """UUIDs by index, as the driver names them."""
    return re.findall(r"GPU-[0-9a-f-]{36}", node.run("nvidia-smi", "-L")[1])


def container(node: Node, name: str, *options: str) -> None:
    node.run("docker", "rm", "--force", name, check=False)
    node.run("docker", "run", "--detach", "--init", "--name", name, *options, "gpuops-probe:1", "sleep", "1000000")


def started(node: Node, name: str) -> str:
    return node.run("docker", "inspect", "--format", "{{.State.StartedAt}} {{.State.Running}}", name)[1]


def versions(node: Node) -> set[str]:
    return set(node.run("dpkg-query", "--show", "--showformat=${Version}\\n", *PACKAGES)[1].split())


def test_a_file_that_is_not_json_stops_the_run_before_its_first_change(server: Node, tmp_path: Path) -> None:
    server.write(CONFIG, FOREIGN[:-1] + ",}")
    result = play(server, tmp_path, STAGES, fails=True)
    assert failure(result).startswith(f"docker_engine: {CONFIG} cannot be merged into: it is not valid JSON: ")
    assert changed(result) == [] and server.read(CONFIG) == FOREIGN[:-1] + ",}"
    assert server.run("dpkg-query", "--show", "docker.io", check=False)[0] != 0


def test_settings_of_others_survive_the_installation(server: Node, tmp_path: Path) -> None:
    server.write(CONFIG, FOREIGN)
    planned = play(server, tmp_path, STAGES, "--check")
    assert any("would install docker.io" in str(answer.get("msg")) for _name, answer in answers(planned))
    assert server.read(CONFIG) == FOREIGN and server.run("dpkg-query", "--show", "docker.io", check=False)[0] != 0

    play(server, tmp_path, STAGES)
    settings = json.loads(server.read(CONFIG))
    assert settings == {
        "log-opts": {"max-size": "5m"},
        "runtimes": {"kata": {"path": "/usr/bin/kata-runtime"}, "nvidia": {"path": "nvidia-container-runtime", "args": []}},
        "features": {"cdi": True},
    }
    assert server.run("docker", "info", "--format", "{{range $name, $_ := .Runtimes}}{{$name}} {{end}}{{.DefaultRuntime}}")[1].split().count("nvidia") == 1
    assert versions(server) == {"1.20.1-1"} and set(PACKAGES) <= set(server.run("apt-mark", "showhold")[1].split())


def test_nothing_to_do_takes_few_tasks_and_no_network(server: Node, tmp_path: Path) -> None:
    faults.inject("network-cut", server, {})
    try:
        result = play(server, tmp_path, STAGES)
    finally:
        faults.inject("network-restore", server, {})
    assert changed(result) == []
    for one in result["plays"]:
        one["tasks"] = [task for task in one["tasks"] if "gpu_preflight" not in task["task"]["name"]]
    assert 0 < module_tasks(result) <= 8, [name for name, answer in answers(result) if not answer.get("skipped")]


def test_containers_have_exactly_what_they_ask_for(server: Node, tmp_path: Path) -> None:
    first, second = uuids(server)
    server.write("/root/probe_image.sh", (ROOT / "tests/lab/containers/probe_image.sh").read_text())
    server.run("sh", "/root/probe_image.sh")
    container(server, "cdi", "--restart=always", f"--device=nvidia.com/gpu={first}")
    container(server, "runtime", "--restart=always", "--runtime=nvidia", f"--env=NVIDIA_VISIBLE_DEVICES={second}")
    container(server, "job", "--runtime=nvidia", "--env=NVIDIA_VISIBLE_DEVICES=all")
    container(server, "none", "--restart=always")
    found = checks(server, tmp_path)
    assert bad(found) == [] and {name for name, _id in found} == {"cdi", "runtime", "job"}
    assert found["cdi", "container.gpus"]["evidence"][0]["value"] == first and found["runtime", "container.gpus"]["evidence"][0]["value"] == second
    assert found["job", "container.gpus"]["evidence"][0]["value"] == ", ".join(sorted([first, second]))
    # Asked for one and given another.
    assert bad(checks(server, tmp_path, container="cdi", expected_uuids=[second])) == ["cdi container.device_nodes fail", "cdi container.gpus fail"]
    server.run("docker", "rm", "--force", "job")


def test_a_change_that_dockerd_takes_over_leaves_containers_alone(server: Node, tmp_path: Path) -> None:
    before = started(server, "cdi")
    result = play(server, tmp_path, STAGES, docker_engine_daemon_options={"labels": ["rack=7"]})
    assert started(server, "cdi") == before
    assert server.run("docker", "info", "--format", "{{.Labels}}")[1].strip() == "[rack=7]"
    assert "gpuops.fleet.docker_engine : Docker reloads its configuration" in changed(result)


def test_live_restore_holds_from_the_restart_on_that_brings_it(server: Node, tmp_path: Path) -> None:
    before = started(server, "cdi")
    planned = play(server, tmp_path, STAGES, "--check", docker_engine_daemon_options={"log-opts": {"max-size": "6m"}})
    lines = [str(answer.get("msg")) for _name, answer in answers(planned)]
    assert any("Docker would restart for log-opts; it stops" in line and "cdi (started again)" in line for line in lines), lines
    settings = {"live-restore": True, "log-opts": {"max-size": "6m"}}
    result = play(server, tmp_path, STAGES, docker_engine_daemon_options=settings)
    lines = [str(answer.get("msg")) for _name, answer in answers(result)]
    assert any("containers keep running (live-restore): " in line and "cdi" in line for line in lines), lines
    assert started(server, "cdi") == before and bad(checks(server, tmp_path)) == []
    assert changed(play(server, tmp_path, STAGES, docker_engine_daemon_options=settings)) == []


def test_a_configuration_that_docker_refuses_is_taken_back(server: Node, tmp_path: Path) -> None:
    before, text = started(server, "cdi"), server.read(CONFIG)
    # dockerd --validate finds nothing wrong with it: only the unit's command line speaks against it. More often than systemd lets Docker start.
    for _attempt in range(2):
        line = failure(play(server, tmp_path, STAGES, fails=True, docker_engine_daemon_options={"hosts": ["unix:///run/other.sock"]}))
        assert "Docker did not take over /etc/docker/daemon.json with hosts: unable to configure the Docker daemon" in line
        assert "specified both as a flag and in the configuration file: hosts" in line and "The previous configuration is back and in force" in line
        assert server.read(CONFIG) == text and server.run("systemctl", "is-active", "docker")[1].strip() == "active"
    assert started(server, "cdi") == before
    assert server.run("test", "-e", "/run/gpuops-docker", check=False)[0] != 0


def test_an_interrupted_change_is_carried_on(server: Node, tmp_path: Path) -> None:
    """What a run leaves that ended between the file and the restart, with a file that Docker does not start with."""
    text = server.read(CONFIG)
    pending = {"action": "restart", "settings": ["hosts"], "had_file": True}
    server.run("mkdir", "-p", "/run/gpuops-docker")
    server.write("/run/gpuops-docker/daemon.json", text)
    server.write("/run/gpuops-docker/pending.json", json.dumps(pending))
    server.write(CONFIG, json.dumps({**json.loads(text), "hosts": ["unix:///run/other.sock"]}))
    assert "The previous configuration is back and in force" in failure(play(server, tmp_path, STAGES, fails=True))
    assert server.read(CONFIG) == text
    assert changed(play(server, tmp_path, STAGES)) == []


def test_the_packages_change_version_together_and_containers_keep_their_gpus(server: Node, tmp_path: Path) -> None:
    for version in ("1.19.1", "1.20.1"):
        planned = play(server, tmp_path, STAGES, "--check", nvidia_container_toolkit_version=version)
        assert any(f"nvidia-container-toolkit={version}-1" in str(answer.get("msg")) for _name, answer in answers(planned))
        play(server, tmp_path, STAGES, nvidia_container_toolkit_version=version, nvidia_container_toolkit_proof_image="gpuops-probe:1")
        assert versions(server) == {f"{version}-1"}
        assert bad(checks(server, tmp_path)) == []
        assert changed(play(server, tmp_path, STAGES, nvidia_container_toolkit_version=version)) == []


def test_the_toolkits_own_configuration_is_merged(server: Node, tmp_path: Path) -> None:
    path = "/etc/nvidia-container-runtime/config.toml"
    server.write(path, server.read(path).replace('log-level = "info"', 'log-level = "debug"'))
    wanted = {"nvidia-container-runtime.runtimes": ["crun", "runc"], "nvidia-container-cli.no-cgroups": False}
    result = play(server, tmp_path, STAGES, nvidia_container_toolkit_config=wanted)
    text = server.read(path)
    assert changed(result) and 'runtimes = ["crun", "runc"]' in text and 'log-level = "debug"' in text
    assert changed(play(server, tmp_path, STAGES, nvidia_container_toolkit_config=wanted)) == []


def test_docker_learns_of_the_hook_of_legacy_injection(server: Node, tmp_path: Path) -> None:
    result = play(server, tmp_path, STAGES, nvidia_container_toolkit_version="1.19.1", nvidia_container_toolkit_injection="legacy")
    chosen = [answer["ansible_facts"]["nvidia_container_toolkit_result"] for _name, answer in answers(result)
              if "nvidia_container_toolkit_result" in answer.get("ansible_facts", {})]  # fmt: skip
    assert chosen == [{"injection": "legacy", "reason": "asked for; systemctl daemon-reload takes the GPUs away from running containers"}]
    # The hook's own program is C and missing here. Without the restart, dockerd itself would say that it cannot select a device driver.
    _status, said = server.run("docker", "run", "--rm", "--gpus=all", "gpuops-probe:1", "ls", check=False)
    assert "nvidia-container-cli" in said and "could not select device driver" not in said
    play(server, tmp_path, STAGES)


def test_a_container_that_lost_its_devices_is_named_with_the_remedy(server: Node, tmp_path: Path) -> None:
    """What a daemon-reload does to devices that systemd does not know of: the unit's list no longer has them."""
    unit = f"docker-{server.run('docker', 'inspect', '--format', '{{.Id}}', 'runtime')[1].strip()}.scope"
    for allowed in ("DeviceAllow=", "DeviceAllow=/dev/null rw"):
        server.run("systemctl", "set-property", "--runtime", unit, allowed)
    assert server.run("docker", "inspect", "--format", "{{.State.Running}}", "runtime")[1].strip() == "true"
    found = checks(server, tmp_path)
    assert bad(found) == ["runtime container.device_cgroup fail", "runtime container.gpus fail"]
    lost = found["runtime", "container.device_cgroup"]
    assert "the control group forbids /dev/nvidia-modeset" in lost["summary"] and "/dev/nvidia1" in lost["summary"]
    assert lost["remedy"].startswith("docker restart runtime") and "give the GPUs by CDI" in lost["remedy"]

    # A run that reloads systemd looks into it, goes on, and fails at its end because nobody replaced the container.
    server.run("rm", "/etc/systemd/system/docker.service.d/10-gpuops-after-cdi.conf")
    result = play(server, tmp_path, STAGES, fails=True)
    assert "container.device_cgroup runtime: the control group forbids" in failure(result)
    assert answers(result)[-1][0].endswith("Running containers that ask for GPUs have them")

    server.run("docker", "restart", "--time=1", "runtime")
    assert bad(checks(server, tmp_path)) == []


@pytest.mark.parametrize(
    ("fault", "expected", "words"),
    [
        (("echo 580.82.07 >/sys/module/nvidia/version", "echo 580.95.05 >/sys/module/nvidia/version"),
         ["cdi container.cdi_spec fail", "cdi container.driver_libraries fail", "runtime container.driver_libraries fail"],
         ["cdi container.driver_libraries", "it was started before the driver was exchanged: its libraries are of 580.95.05, and 580.82.07 is loaded"]),
        (("rm /dev/nvidia-uvm && mknod -m 666 /dev/nvidia-uvm c 511 0", "rm /dev/nvidia-uvm && mknod -m 666 /dev/nvidia-uvm c 510 0"),
         ["cdi container.cdi_spec fail", "cdi container.device_nodes fail", "runtime container.device_nodes fail"],
         ["cdi container.cdi_spec", "has /dev/nvidia-uvm as 510:0, the host as 511:0"]),
        (("mkdir -p /etc/cdi && cp /var/run/cdi/nvidia.yaml /etc/cdi/", "rm -r /etc/cdi"),
         ["cdi container.cdi_spec fail"], ["cdi container.cdi_spec", "name the same devices"]),
        (("mv /var/run/cdi/nvidia.yaml /root/", "systemctl restart nvidia-cdi-refresh.service"),
         ["cdi container.cdi_spec fail"], ["cdi container.cdi_spec", "there is no CDI specification"]),
    ],
    ids=["driver-exchanged", "device-renumbered", "two-specifications", "no-specification"],
)  # fmt: skip
def test_a_planted_fault_is_named(server: Node, tmp_path: Path, fault: tuple[str, str], expected: list[str], words: list[str]) -> None:
    plant, mend = fault
    server.run("sh", "-c", plant)
    try:
        found = checks(server, tmp_path)
    finally:
        server.run("sh", "-c", mend)
    assert bad(found) == expected
    check = found[words[0].split()[0], words[0].split()[1]]
    assert words[1] in check["summary"] and check["remedy"]
    assert bad(checks(server, tmp_path)) == []


def test_settings_without_effect_and_containers_that_do_not_run(server: Node, tmp_path: Path) -> None:
    first, second = uuids(server)
    container(server, "inert", f"--device=nvidia.com/gpu={first}", f"--env=NVIDIA_VISIBLE_DEVICES={second}")
    found = checks(server, tmp_path, container="inert")
    assert bad(found) == ["inert container.visible_devices warn"]
    assert f"NVIDIA_VISIBLE_DEVICES={second} has no effect" in found["inert", "container.visible_devices"]["summary"]
    server.run("docker", "run", "--detach", "--restart=always", "--name=restless", f"--device=nvidia.com/gpu={first}", "gpuops-probe:1", "false")
    server.run("docker", "stop", "--time=1", "inert")
    assert "inert container.running fail" in bad(checks(server, tmp_path, container="inert"))
    assert "restless container.running fail" in bad(checks(server, tmp_path, container="restless"))
    assert bad(checks(server, tmp_path, container="nobody", expected_uuids=[])) == ["nobody container.running fail"]
    server.run("docker", "rm", "--force", "inert", "restless")


def test_the_stale_specification_is_written_anew_and_docker_sees_it(server: Node, tmp_path: Path) -> None:
    first, _second = uuids(server)
    server.run("sh", "-c", "sed -i s/580.95.05/580.82.07/g /var/run/cdi/nvidia.yaml")
    assert "nvidia_container_toolkit : The CDI specification is written anew" in " ".join(changed(play(server, tmp_path, STAGES)))
    assert "580.82.07" not in server.read("/var/run/cdi/nvidia.yaml")
    container(server, "fresh", f"--device=nvidia.com/gpu={first}")
    assert bad(checks(server, tmp_path, container="fresh")) == []
    server.run("docker", "rm", "--force", "fresh")
