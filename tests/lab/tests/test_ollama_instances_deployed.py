"""Instances of Ollama on a server with two GPUs, from one server to replicas to pinned models and back, with clients that never lose an answer."""
from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench import meter
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node
from tests.lab.ollama import streams, tiny_models
from tests.lab.ollama.build import build_models

pytestmark = pytest.mark.lab

NAME = "ollama-instances"
SITE = Path(__file__).resolve().parents[1] / "site"
PORT = 12000
CHAT = {"name": "chat", "port": PORT, "models": [{"name": "tiny", "upload": str(build_models()["tiny-qwen3"])}]}
# What a run that changes nothing asks of a server, whatever it has, beside one call a container.
AT_REST = {"docker_host_info": 1, "find": 1, "systemd_service": 1, "ollama_model_plan": 1, "gpu_container_check": 1, "ollama_placement_check": 1}
REPLICAS = {"ollama_instances": [CHAT | {"topology": "replicas"}]}


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 with a driver, and Docker, the toolkit and two replicas from the site playbook."""
    lifecycle.up("p40x2", NAME)
    node = lifecycle.find(NAME)
    write_inventory(node)
    done = site(**REPLICAS, tags="all")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    yield node
    lifecycle.down(NAME)


def site(tags: str = "ollama", check: bool = False, interpreter: str = "/usr/bin/python3", **variables: Any) -> subprocess.CompletedProcess[str]:
    """A run of the site playbook."""
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="default", ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    environment["ANSIBLE_CALLBACK_RESULT_FORMAT"] = "json"
    inventory = write_inventory(lifecycle.find(NAME), ansible_python_interpreter=interpreter)
    command = ["ansible-playbook", "gpuops.fleet.site", "-i", str(inventory), "-i", str(SITE), "--tags", tags,
               "-e", json.dumps(variables), *(["--check"] if check else [])]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """All that a run printed, in one line: Ansible breaks lines where it likes."""
    return " ".join((done.stdout + done.stderr).split())


def noop(node: Node, **variables: Any) -> Counter[str]:
    """How often each module ran on the server, as the server itself saw it, in a run that changes nothing; without those that gather facts."""
    meter.install(node)
    done = site(interpreter=meter.INTERPRETER, **variables)
    assert done.returncode == 0 and changed(done) == 0, said(done)[-4000:]
    found = Counter(row["module"].rpartition(".")[2] for row in meter.noted(node))
    assert found["gpu_facts"] == 1 and found["setup"] == 1, found
    return found - Counter(["gpu_facts", "setup"])


def changed(done: subprocess.CompletedProcess[str]) -> int:
    return int(re.search(r"changed=(\d+)", done.stdout)[1])


def containers(node: Node, form: str = "{{.Names}}") -> list[str]:
    return sorted(node.run("docker", "ps", "--all", "--format", form)[1].split())


def ask(node: Node, model: str = "tiny", tokens: int = 8, clients: int = 1) -> str:
    return "\n".join(map(str, streams.ask(node, PORT, model, tokens, clients)))


def status(node: Node, path: str, body: str | None = None) -> str:
    return node.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{PORT}{path}", *(["-d", body] if body else []))[1]


def gpus_of(node: Node, container: str) -> list[str]:
    return node.run("docker", "exec", container, "nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader")[1].split()


def test_replicas_have_a_gpu_each(server: Node) -> None:
    assert containers(server) == ["chat-0", "chat-1", "chat-balancer"]
    first, second = gpus_of(server, "chat-0"), gpus_of(server, "chat-1")
    assert len(first) == len(second) == 1 and first != second
    assert ask(server).startswith("200 9 length")


def test_administration_is_kept_off_the_balancer(server: Node) -> None:
    assert [status(server, path) for path in ("/api/version", "/api/tags", "/v1/models")] == ["200"] * 3
    assert [status(server, path, "{}") for path in ("/api/pull", "/api/delete", "/api/create", "//api/pull", "/api/blobs/sha256:0")] == ["403"] * 5


def test_second_run_changes_nothing(server: Node) -> None:
    # Two servers and their balancer.
    assert noop(server, **REPLICAS) == AT_REST | {"docker_container": 3}
    assert changed(site(**REPLICAS, check=True)) == 0


def test_many_streams_at_the_same_time(server: Node) -> None:
    assert ask(server, tokens=4, clients=200).splitlines() == ["200 5 length"] * 200


def test_a_stream_survives_the_exchange_of_both_replicas(server: Node) -> None:
    before = containers(server, "{{.Names}}={{.ID}}")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        stream = pool.submit(ask, server, tokens=3000)
        time.sleep(2)
        done = site(**REPLICAS, ollama_context_length=4096)
        assert stream.result() == "200 3001 length"
    assert done.returncode == 0, said(done)
    after = containers(server, "{{.Names}}={{.ID}}")
    assert {line.split("=")[0] for line in set(before) & set(after)} == {"chat-balancer"}
    assert "OLLAMA_CONTEXT_LENGTH=4096" in server.run("docker", "inspect", "chat-1", "--format", "{{.Config.Env}}")[1]
    assert ask(server).startswith("200 9 length")


def test_an_image_that_does_not_work_is_taken_back(server: Node) -> None:
    image = server.run("docker", "inspect", "chat-0", "--format", "{{.Config.Image}}")[1].strip()
    server.run("docker", "commit", "--change", 'ENTRYPOINT ["/bin/sleep"]', "--change", 'CMD ["600"]', "chat-0", "ollama/ollama:0.17.5")
    done = site(**REPLICAS, ollama_context_length=4096, ollama_image="ollama/ollama:0.17.5", ollama_image_archive="", ollama_healthy_timeout_seconds=8)
    assert done.returncode != 0
    assert f"It runs {image} again, which was proven" in said(done) and "chat-0 with ollama/ollama:0.17.5" in said(done)
    assert set(containers(server, "{{.Image}}")) == {image, "haproxy:3.0"}
    assert ask(server).startswith("200 9 length")


def test_models_come_back_after_a_restart(server: Node) -> None:
    server.run("docker", "restart", "chat-0")
    for _second in range(30):
        time.sleep(1)
        loaded = server.run("curl", "-s", f"http://127.0.0.1:{PORT + 1}/api/ps", check=False)[1]
        if "tiny:latest" in loaded:
            return
    pytest.fail(f"not loaded again: {loaded}")


def test_pinned_models_are_served_where_they_are(server: Node) -> None:
    models = build_models()
    pinned = [{"name": "tiny", "upload": str(models["tiny-qwen3"]), "gpus": [0]}, {"name": "other", "upload": str(models["tiny-llama"]), "gpus": [1]}]
    done = site(ollama_instances=[CHAT | {"topology": "pinned", "models": pinned}])
    assert done.returncode == 0, said(done)
    assert ask(server, "tiny").startswith("200 9") and ask(server, "other:latest").startswith("200 9")
    loaded = [server.run("curl", "-s", f"http://127.0.0.1:{PORT + place}/api/ps")[1] for place in (1, 2)]
    assert [re.findall(r'"name":"([^"]+)"', text) for text in loaded] == [["tiny:latest"], ["other:latest"]]


def test_one_server_takes_the_place_of_replicas(server: Node) -> None:
    environment = {"OLLAMA_NUM_GPU_LAYERS": 60, "OLLAMA_GPU_SPLIT": "1,1", "NVIDIA_VISIBLE_DEVICES": "0,1", "NCCL_DEBUG": "INFO"}
    done = site(ollama_instances=[CHAT], ollama_environment=environment)
    assert done.returncode == 0, said(done)
    assert containers(server) == ["chat"] and len(gpus_of(server, "chat")) == 2
    variables = server.run("docker", "inspect", "chat", "--format", "{{json .Config.Env}}")[1]
    assert "NCCL_DEBUG=INFO" in variables and "OLLAMA_SCHED_SPREAD=1" in variables
    assert "OLLAMA_NUM_GPU_LAYERS" not in variables and "LLAMA_ARG_TENSOR_SPLIT" not in variables
    assert said(done).count("without effect: chat: OLLAMA_NUM_GPU_LAYERS=60") == 1
    assert noop(server, ollama_instances=[CHAT], ollama_environment=environment) == AT_REST | {"docker_container": 1}


def test_further_models_cost_no_further_call_and_an_instance_one(server: Node, tmp_path: Path) -> None:
    models = build_models()
    third, there = tmp_path / "third.gguf", "/srv/there.gguf"
    tiny_models.write_model(third, "llama", dataclasses.replace(tiny_models.Shape(), context=1024))
    (tmp_path / "root" / "srv").mkdir(parents=True)
    shutil.copy(models["tiny-llama"], tmp_path / "root" / there[1:])
    server.put(tmp_path / "root")
    three = [*CHAT["models"], {"name": "other", "file": there}, {"name": "third", "upload": str(third)}]
    done = site(ollama_instances=[CHAT | {"models": three}])
    assert done.returncode == 0, said(done)
    loaded = server.run("curl", "-s", f"http://127.0.0.1:{PORT}/api/ps")[1]
    assert sorted(re.findall(r'"name":"([^"]+)"', loaded)) == ["other:latest", "third:latest", "tiny:latest"]
    # A file of the server is looked at before anything is done with it, in one call for all of them.
    assert noop(server, ollama_instances=[CHAT | {"models": three}]) == AT_REST | {"docker_container": 1, "gguf_info": 1}
    more = {"name": "more", "port": PORT + 10, "gpus": [1], "volume": "more", "models": [{"name": "other", "upload": str(models["tiny-llama"])}]}
    two = [CHAT | {"gpus": [0]}, more]
    done = site(ollama_instances=two)
    assert done.returncode == 0, said(done)
    assert noop(server, ollama_instances=two) == AT_REST | {"docker_container": 2}


def bad_file(server: Node, path: str, content: str) -> None:
    server.run("sh", "-c", f"printf '%b' '{content}' > {path}")


# variables, part of the message
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ollama_instances": [CHAT | {"gpus": [7]}]}, "instance chat: there is no GPU 7 on this host"),
    ({"ollama_instances": [CHAT, {"name": "second", "port": 13000}]}, "chat and second both want GPU"),
    ({"ollama_instances": [CHAT | {"image": "o/o:9.9.9"}], "ollama_image_archive": ""}, "image o/o:9.9.9 is not on the host and cannot be pulled"),
    ({"ollama_instances": [CHAT | {"port": 22222}]}, "port 22222 of 127.0.0.1 is in use"),
    ({"ollama_instances": [CHAT | {"port": 22222, "topology": "replicas"}]}, "port 22222 of 127.0.0.1 is in use, but not by container chat-balancer"),
    ({"ollama_instances": [CHAT | {"models": [{"name": "cut", "file": "/srv/cut.gguf"}]}]}, "model cut: "),
    ({"ollama_instances": [CHAT | {"models": [{"name": "text", "file": "/srv/text.gguf"}]}]}, "model text: "),
    ({"ollama_instances": [CHAT | {"models": [{"name": "gone", "file": "/srv/gone.gguf"}]}]}, "model gone: "),
    ({"ollama_instances": [CHAT | {"models": [{"name": "llama3.1:70b"}]}], "ollama_context_length": 131072}, "model llama3.1:70b on chat: ollama.memory"),
    # Each of them fits alone.
    ({"ollama_instances": [CHAT | {"gpus": [0], "models": [{"name": "qwen3:14b"}, {"name": "qwen3:8b"}]}], "ollama_context_length": 32768},
     "model qwen3:14b + qwen3:8b on chat: ollama.memory qwen3:14b + qwen3:8b: do not fit on the GPUs together"),
    ({"ollama_instances": [CHAT | {"environment": {"OLLAMA_MAX_LOADED_MODELS": 1}, "models": [{"name": "qwen3:14b"}, {"name": "qwen3:8b"}]}]},
     "2 models are to stay in memory, and the server keeps 1 at most"),
    ({"ollama_instances": [CHAT | {"environment": {"OLLAMA_NUM_PARALEL": 2}}]}, "did you mean OLLAMA_NUM_PARALLEL?"),
    ({"ollama_instances": [CHAT | {"environment": {"LLAMA_ARG_SPLIT_MODE": "bogus"}}]}, "it must match (none|layer|row|tensor)"),
]


@pytest.fixture(scope="module")
def with_obstacles(server: Node) -> Iterator[Node]:
    """Files that are no models, and a program on a port."""
    bad_file(server, "/srv/cut.gguf", "GGUF\\003\\000\\000\\000\\005")
    bad_file(server, "/srv/text.gguf", "no model at all, but long enough to be read as a header")
    server.run("systemd-run", "--unit=squatter", "python3", "-m", "http.server", "22222", "--bind", "127.0.0.1")
    yield server
    server.run("systemctl", "stop", "squatter")


@pytest.mark.parametrize(("variables", "message"), REFUSED, ids=[message[:30] for _variables, message in REFUSED])
def test_what_cannot_be_is_refused_in_one_line_and_nothing_changes(with_obstacles: Node, variables: dict[str, Any], message: str) -> None:
    before = containers(with_obstacles, "{{.Names}}={{.ID}}")
    done = site(**variables)
    assert done.returncode != 0, said(done)[-1500:]
    (fatal,) = re.findall(r"^fatal: .*? => (\{.*\})$", done.stdout, re.MULTILINE)
    line = json.loads(fatal)["msg"]
    assert message in line and "\n" not in line and re.search(r"Nothing was changed|No container was (changed|started)", line), line
    assert containers(with_obstacles, "{{.Names}}={{.ID}}") == before
