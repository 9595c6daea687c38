"""What the site playbook left on the server, read with the system's own tools, and what a second run does: nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.bench.playbook import module_tasks
from tests.lab.cli import main as lab

NODE = "default"
testinfra_hosts = [f"docker://gpuops-lab-{NODE}"]

INVENTORY = str(Path(os.environ["MOLECULE_INVENTORY_FILE"]).parent)
BRANCH = "580"


@pytest.fixture(scope="module")
def uuids(host):
    """UUIDs of both GPUs, as the driver names them."""
    found = re.findall(r"GPU-[0-9a-f-]{36}", host.check_output("nvidia-smi -L"))
    assert len(found) == 2
    return sorted(found)


def run_site(*arguments: str) -> dict:
    """Result of a site run, from the JSON callback."""
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    done = subprocess.run(["ansible-playbook", "gpuops.fleet.site", "-i", INVENTORY, *arguments], env=environment, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    return json.loads(done.stdout[done.stdout.index("{"):])


def changed_tasks(result: dict) -> list[str]:
    return [task["task"]["name"] for play in result["plays"] for task in play["tasks"] for answer in task["hosts"].values() if answer.get("changed")]


def test_driver_is_loaded_and_of_one_version(host):
    loaded = host.file("/sys/module/nvidia/version").content_string.strip()
    assert loaded.startswith(f"{BRANCH}.")
    assert loaded in host.file("/proc/driver/nvidia/version").content_string
    assert host.check_output("modinfo -F version nvidia") == loaded
    library = host.check_output("readlink -f /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")
    assert library.endswith(f"libnvidia-ml.so.{loaded}")
    assert host.check_output("modinfo -F license nvidia") == "NVIDIA"


def test_driver_packages_are_of_the_archive_and_held(host):
    held = host.check_output("apt-mark showhold").split()
    for name in (f"nvidia-headless-no-dkms-{BRANCH}-server", f"nvidia-utils-{BRANCH}-server"):
        assert host.package(name).is_installed
        assert name in held
    assert not host.package(f"nvidia-headless-no-dkms-{BRANCH}-server-open").is_installed


def test_nouveau_is_gone_and_stays_away(host):
    assert not host.file("/sys/module/nouveau").exists
    assert re.search(r"^blacklist nouveau$", host.check_output("modprobe --showconfig"), re.M)


def test_docker_serves_cdi_and_keeps_one_configuration(host):
    docker = host.service("docker")
    assert docker.is_running and docker.is_enabled
    config = json.loads(host.file("/etc/docker/daemon.json").content_string)
    assert config["features"]["cdi"] is True
    assert config["runtimes"]["nvidia"]["path"] == "nvidia-container-runtime"
    assert "default-runtime" not in config
    assert host.run("dockerd --validate --config-file=/etc/docker/daemon.json").rc == 0


def test_toolkit_packages_are_of_one_version_and_held(host):
    names = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
    versions = {host.package(name).version for name in names}
    assert len(versions) == 1
    assert set(names) <= set(host.check_output("apt-mark showhold").split())


def test_cdi_specification_names_both_gpus(host, uuids):
    devices = host.check_output("nvidia-ctk --quiet cdi list")
    assert all(f"nvidia.com/gpu={uuid}" in devices for uuid in uuids)


def test_container_sees_exactly_both_gpus(host, uuids):
    inside = host.check_output("docker exec ollama nvidia-smi --query-gpu=uuid --format=csv,noheader")
    assert sorted(inside.split()) == uuids
    assert host.run("docker exec ollama ls /dev/nvidia0 /dev/nvidia1").rc == 0


def test_container_is_confined(host):
    config = json.loads(host.check_output("docker inspect ollama"))[0]
    assert config["State"]["Health"]["Status"] == "healthy"
    assert config["HostConfig"]["Privileged"] is False
    assert config["HostConfig"]["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in config["HostConfig"]["SecurityOpt"]
    assert config["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"


def test_server_listens_on_loopback_alone(host):
    listeners = {socket for socket in host.socket.get_listening_sockets() if socket.endswith(":11434")}
    assert listeners == {"tcp://127.0.0.1:11434"}


def test_model_is_loaded_and_answers(host):
    loaded = json.loads(host.check_output("curl -sf http://127.0.0.1:11434/api/ps"))["models"]
    assert [model["name"] for model in loaded] == ["tiny:latest"]
    body = json.dumps({"model": "tiny", "prompt": "hello", "stream": False, "options": {"num_predict": 4}})
    answer = json.loads(host.check_output(f"curl -sf http://127.0.0.1:11434/api/generate -d '{body}'"))
    assert answer["done"] is True and answer["eval_count"] > 0


def test_second_run_changes_nothing_without_a_network():
    lab(["inject", "network-cut", "--name", NODE])
    try:
        result = run_site()
    finally:
        lab(["inject", "network-restore", "--name", NODE])
    assert changed_tasks(result) == []
    assert module_tasks(result) <= 30


def test_check_mode_agrees_with_the_real_run():
    assert changed_tasks(run_site("--check")) == []


def test_placement_on_the_processor_is_refused_by_default():
    environment = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    command = ["ansible-playbook", "gpuops.fleet.site", "-i", INVENTORY, "-e", json.dumps({"ollama_require_gpu": True})]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    assert re.search(r"ollama\.library ollama: the server computes on the processor", " ".join((done.stdout + done.stderr).split()))
