"""Models of Ollama on a server with two GPUs: pulled with progress from a registry whose connection breaks, and proven on both GPUs."""
from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node
from tests.lab.ollama import recorded, registry
from tests.lab.ollama.build import build_store

pytestmark = pytest.mark.lab

NAME = "ollama-models"
SITE = Path(__file__).resolve().parents[1] / "site"
STORE = "/var/lib/docker/volumes/ollama/_data"


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 with a driver, and Docker and the toolkit from the site playbook."""
    lifecycle.up("p40x2", NAME)
    node = lifecycle.find(NAME)
    done = site(tags="all", ollama_models=[])
    assert done.returncode == 0, said(done)[-4000:]
    yield node
    lifecycle.down(NAME)


@pytest.fixture(scope="module")
def source(server: Node, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address, for containers, of a registry on the server that stands still in the first file and then breaks the connection."""
    folder = tmp_path_factory.mktemp("registry") / "registry"
    shutil.copytree(build_store(), folder / "store")
    shutil.copy(registry.__file__, folder / "registry.py")
    folder.parent.chmod(0o755)
    server.put(folder.parent)
    address = server.run("docker", "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")[1].strip()
    command = ["python3", "/registry/registry.py", "/registry/store", "--bind", address, "--cut-after", "300000", "--cut-pause", "8"]
    server.run("systemd-run", "--unit=registry", *command)
    return f"{address}:5000"


def ansible(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0", ANSIBLE_CALLBACK_RESULT_FORMAT="json")
    command = [program, "-i", str(write_inventory(lifecycle.find(NAME))), "-i", str(SITE), *arguments]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def site(tags: str = "ollama", **variables: Any) -> subprocess.CompletedProcess[str]:
    """A run of the site playbook."""
    return ansible("ansible-playbook", "gpuops.fleet.site", "--tags", tags, "-e", json.dumps(variables))


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a run printed, in one line: Ansible breaks lines where it likes."""
    return " ".join((done.stdout + done.stderr).split())


def listed(node: Node, path: str) -> list[str]:
    return [item["name"] for item in json.loads(node.run("curl", "-s", f"http://127.0.0.1:11434/api/{path}")[1])["models"]]


def test_a_pull_tells_how_far_it_is_and_goes_on_after_a_break(server: Node, source: str) -> None:
    models = [{"name": "tiny", "source": f"{source}/library/tiny-qwen3", "insecure": True}]
    done = site(ollama_models=models)
    assert done.returncode == 0, said(done)[-4000:]
    assert re.search(r"library/tiny-qwen3:latest: [1-9]\d? % of \d\.\d MiB", done.stdout), done.stdout[-6000:]
    assert "tiny:latest" in listed(server, "tags") and listed(server, "ps") == ["tiny:latest"]
    assert server.run("sh", "-c", "ls /var/lib/gpuops/ollama | grep -c progress", check=False)[1].strip() == "0"
    assert kept_results(server) == ""
    again = site(ollama_models=models)
    assert re.search(r"changed=0 ", again.stdout), said(again)[-3000:]
    assert "The model is being pulled" not in again.stdout


def kept_results(node: Node) -> str:
    """What background tasks left in the folder where Ansible keeps their results."""
    return node.run("sh", "-c", "ls -A /root/.ansible_async 2>/dev/null || true")[1].strip()


def test_a_pull_that_fails_is_one_line(server: Node, source: str) -> None:
    done = site(ollama_models=[{"name": "gone", "source": f"{source}/library/gone", "insecure": True}])
    assert done.returncode != 0
    assert "pull model manifest: file does not exist" in said(done)
    assert "gone:latest" not in listed(server, "tags")
    assert kept_results(server) == ""


def test_a_server_for_a_model_that_does_not_exist_is_not_made(server: Node, source: str) -> None:
    models = [{"name": "gone", "source": f"{source}/library/gone", "insecure": True}]
    done = site(ollama_instances=[{"name": "second", "gpus": [1], "port": 12500, "volume": "second", "models": models}])
    assert done.returncode != 0
    assert f"model gone of second does not exist: http://{source}/v2/library/gone/manifests/latest answers 404" in said(done)
    assert server.run("docker", "ps", "--all", "--format", "{{.Names}}")[1].split() == ["ollama"]
    assert "second" not in server.run("docker", "volume", "ls", "--format", "{{.Name}}")[1].split()


# The driver's list of processes as it would be if the container's first process computed on these GPUs, kept up to date.
ACCOUNTING = """
while sleep 0.2; do
    pid=$(docker top ollama -eo pid 2>/dev/null | sed -n 2p)
    for gpu in 0 1; do
        case "$GPUS" in *$gpu*) echo "$pid C 13960 /usr/bin/ollama" ;; *) : ;; esac >/var/lib/lab/nvml/gpu$gpu/processes.new
        mv /var/lib/lab/nvml/gpu$gpu/processes.new /var/lib/lab/nvml/gpu$gpu/processes
    done
done
"""


@contextlib.contextmanager
def computing_on(node: Node, gpus: str) -> Iterator[None]:
    """Let the driver see the server compute on these GPUs."""
    node.run("systemd-run", "--unit=accounting", f"--setenv=GPUS={gpus}", "sh", "-c", ACCOUNTING)
    try:
        time.sleep(1)
        yield
    finally:
        node.run("systemctl", "stop", "accounting")
        for gpu in (0, 1):
            node.write(f"/var/lib/lab/nvml/gpu{gpu}/processes", "")


def test_a_model_on_both_gpus_is_proven(server: Node) -> None:
    models = [{"name": recorded.MODEL, "parameters": {"num_ctx": recorded.CONTEXT}}]
    with computing_on(server, "01"):
        done = site(ollama_image=recorded.REFERENCE, ollama_image_archive=str(recorded.build_recorded_archive()), ollama_models=models, ollama_require_gpu=True)
        assert done.returncode == 0, said(done)[-4000:]
        checks = placement(server)
    assert {check["id"]: check["status"] for check in checks} == dict.fromkeys(
        ["ollama.gpus_accepted", "ollama.library", "ollama.offload", "ollama.balance", "ollama.context", "ollama.processes"], "pass"
    )
    uuids = server.run("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")[1].split()
    assert len(uuids) == 2 and all(uuid in checks[2]["summary"] for uuid in uuids)


@pytest.mark.parametrize(("gpus", "status", "words"), [("0", "fail", "the driver sees no process of the server there"), ("", "unknown", "on any GPU")])
def test_the_driver_is_a_witness_against_the_log(server: Node, gpus: str, status: str, words: str) -> None:
    with computing_on(server, gpus):
        found = {check["id"]: check for check in placement(server)}
    assert found["ollama.offload"]["status"] == "pass"
    assert found["ollama.processes"]["status"] == status and words in found["ollama.processes"]["summary"], found["ollama.processes"]


def placement(node: Node) -> list[dict[str, Any]]:
    uuids = node.run("nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")[1].split()
    arguments = {"container": "ollama", "model": recorded.MODEL, "expected_uuids": uuids, "num_ctx": recorded.CONTEXT, "fail_on": []}
    done = ansible("ansible", "all", "-m", "gpuops.fleet.ollama_placement_check", "-a", json.dumps(arguments))
    return json.loads(done.stdout[done.stdout.index("{") :])["checks"]


FAULTS = [
    ("one-unused", "ollama.balance", "warn", "one of 2 GPUs unused"),
    ("partial", "ollama.offload", "fail", "part of the model runs on the processor: 60/65 layers on GPU"),
    ("processor", "ollama.offload", "fail", "the model runs on the processor"),
    ("vulkan", "ollama.library", "fail", "Vulkan instead of CUDA"),
    ("one-gpu", "ollama.gpus_accepted", "fail", "the server took 1 of 2 GPUs"),
    ("short-context", "ollama.context", "fail", "4096 tokens instead of 32768"),
]


@pytest.mark.parametrize(("fault", "check_id", "status", "words"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_what_is_wrong_with_a_placement_is_caught(server: Node, fault: str, check_id: str, status: str, words: str) -> None:
    server.run("sh", "-c", f"echo {fault} > {STORE}/recorded && docker restart --time 2 ollama")
    try:
        server.run("sh", "-c", "for n in $(seq 50); do curl -sf http://127.0.0.1:11434/api/version && exit; sleep 0.2; done; exit 1")
        found = {check["id"]: check for check in placement(server)}
    finally:
        server.run("rm", f"{STORE}/recorded")
    assert found[check_id]["status"] == status and words in found[check_id]["summary"], found[check_id]
