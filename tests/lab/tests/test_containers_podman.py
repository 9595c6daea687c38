"""A server whose containers are Podman's, and users' whose Docker runs without root: no Docker of the system's anywhere.

One node from the first installation on; each test goes on where the one before it ended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests.test_containers_el import STAGES
from tests.lab.tests.test_containers_keep_gpus import ROOT, answers, bad, changed, checks, failure, play, uuids

pytestmark = pytest.mark.lab

ENGINES: dict[str, Any] = {"nvidia_container_toolkit_engines": ["podman"]}
ROOTLESS: dict[str, Any] = {**ENGINES, "nvidia_container_toolkit_rootless_users": ["ops"]}
SETTINGS = "/home/ops/.config/docker/daemon.json"
CONFIG = "/etc/nvidia-container-runtime/config.toml"
# The lab has no controllers to limit with, and a volume that overlay file systems can lie on.
CONTAINERS = "[containers]\npids_limit = 0\n"
STORAGE = '[storage]\ndriver = "overlay"\ngraphroot = "/var/lib/docker/podman"\nrunroot = "/run/containers/storage"\n'


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 with a working driver, Podman, and a user."""
    name = f"test-podman-{os.getpid()}"
    try:
        lifecycle.up("p40x2", name)
        node = lifecycle.find(name)
        node.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "podman", "crun", environment={"DEBIAN_FRONTEND": "noninteractive"})
        node.write("/etc/containers/containers.conf", CONTAINERS)
        node.write("/etc/containers/storage.conf", STORAGE)
        node.write("/root/probe_image.sh", (ROOT / "tests/lab/containers/probe_image.sh").read_text().replace("docker import", "podman import"))
        node.run("sh", "/root/probe_image.sh")
        node.run("useradd", "--create-home", "ops")
        yield node
    finally:
        lifecycle.down(name)


def test_podman_gets_gpus_and_docker_is_not_asked_for(server: Node, tmp_path: Path) -> None:
    planned = play(server, tmp_path, STAGES, "--check", **ENGINES)
    assert any("would install" in str(answer.get("msg")) for _name, answer in answers(planned))
    assert server.run("which", "nvidia-ctk", check=False)[0] != 0
    result = play(server, tmp_path, STAGES, **ENGINES, nvidia_container_toolkit_proof_image="gpuops-probe:1")
    chosen = [answer["ansible_facts"]["nvidia_container_toolkit_result"] for _name, answer in answers(result)
              if "nvidia_container_toolkit_result" in answer.get("ansible_facts", {})]  # fmt: skip
    assert [one["injection"] for one in chosen] == ["cdi"] and "Podman gives GPUs by CDI names" in chosen[0]["reason"]
    proven = [answer for name, answer in answers(result) if name.endswith("The container of Podman sees exactly the GPUs of the host")]
    assert [answer["status"] for answer in proven] == ["pass"] and proven[0]["uuids"] == sorted(uuids(server))
    assert server.run("test", "-e", "/etc/docker", check=False)[0] != 0
    assert server.run("podman", "run", "--rm", "--network=none", "--device=nvidia.com/gpu=all", "gpuops-probe:1", "nvidia-smi", "-L")[1].count("UUID") == 2


def test_nothing_to_do_takes_no_network(server: Node, tmp_path: Path) -> None:
    faults.inject("network-cut", server, {})
    try:
        result = play(server, tmp_path, STAGES, **ENGINES)
    finally:
        faults.inject("network-restore", server, {})
    assert changed(result) == []


def test_checks_of_podman_see_a_stopped_and_a_restless_container(server: Node, tmp_path: Path) -> None:
    first, _second = uuids(server)
    server.run("podman", "run", "--detach", "--name", "worker", "--network=none", f"--device=nvidia.com/gpu={first}", "gpuops-probe:1", "sleep", "1000000")
    assert bad(checks(server, tmp_path, engine="podman")) == []
    server.run("podman", "stop", "--time", "0", "worker")
    found = checks(server, tmp_path, engine="podman", container="worker")
    assert bad(found) == ["worker container.running fail"] and "podman logs worker" in found["worker", "container.running"]["remedy"]
    assert bad(checks(server, tmp_path, engine="podman", container="nobody", expected_uuids=[])) == ["nobody container.running fail"]
    # Nobody is told that Docker is fine where there is none.
    assert bad(checks(server, tmp_path, container="worker"))[0] == "worker container.running unknown"


def test_docker_without_root_is_configured_in_the_home_of_its_user(server: Node, tmp_path: Path) -> None:
    server.run("runuser", "-u", "ops", "--", "mkdir", "-p", "/home/ops/.config/docker")
    server.write(SETTINGS, '{"log-driver": "journald",}')
    assert "daemon.json of ops cannot be merged into: it is not valid JSON" in failure(play(server, tmp_path, STAGES, fails=True, **ROOTLESS))
    server.write(SETTINGS, '{"log-driver": "journald"}')
    server.run("sh", "-c", f"chown ops: {SETTINGS} && chmod 600 {SETTINGS}")
    before = server.read(CONFIG)
    planned = play(server, tmp_path, STAGES, "--check", **ROOTLESS)
    assert any("would write .config/docker/daemon.json of ops" in str(answer.get("msg")) for _name, answer in answers(planned))
    assert server.read(SETTINGS) == '{"log-driver": "journald"}' and server.read(CONFIG) == before

    # A daemon that notes the signal with which it reads its configuration again.
    daemon = 'trap "echo again >/home/ops/signal" HUP; echo $$ >"$1/docker.pid"; while :; do sleep 0.1; done'
    folder = f"/run/user/{server.run('id', '-u', 'ops')[1].strip()}"
    server.run("install", "-d", "-o", "ops", folder)
    server.run("systemd-run", "--unit=rootless", "--uid=ops", "sh", "-c", daemon, "sh", folder)
    play(server, tmp_path, STAGES, **ROOTLESS)
    assert json.loads(server.read(SETTINGS)) == {"log-driver": "journald", "runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}
    assert server.run("stat", "--format=%U %a", SETTINGS)[1].strip() == "ops 600"
    assert server.run("ls", "--almost-all", "/home/ops/.config/docker")[1].split() == ["daemon.json"]
    assert "no-cgroups = true" in server.read(CONFIG)
    assert server.run("cat", "/home/ops/signal")[1].strip() == "again"
    assert changed(play(server, tmp_path, STAGES, **ROOTLESS)) == []


def test_docker_without_root_comes_alone_and_with_known_users_only(server: Node, tmp_path: Path) -> None:
    assert changed(play(server, tmp_path, STAGES, **{**ROOTLESS, "nvidia_container_toolkit_engines": []})) == []
    line = failure(play(server, tmp_path, STAGES, fails=True, **{**ENGINES, "nvidia_container_toolkit_rootless_users": ["ghost"]}))
    assert "daemon.json of ghost cannot be merged into: there is no user ghost. Nothing was changed." in line
    legacy = {"nvidia_container_toolkit_engines": ["docker"], "nvidia_container_toolkit_injection": "legacy"}
    line = failure(play(server, tmp_path, STAGES, fails=True, **{**ROOTLESS, **legacy}))
    assert "with it injection legacy gives containers of the system's Docker GPUs that they may not open" in line
