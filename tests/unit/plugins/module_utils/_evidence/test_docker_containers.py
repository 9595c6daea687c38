"""Which containers were given GPUs, from recorded answers of Docker over a socket."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import drain
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_containers, docker_socket

RECORDED = {one["Name"]: one for one in json.loads((Path(__file__).parents[4] / "fixtures/docker/containers.json").read_text())}


@pytest.mark.parametrize(
    "name, gpus",
    [
        ("/cdi", "device request (nvidia.com/gpu=0)"),
        ("/gpus", "device request (all)"),
        ("/gpus-ids", "device request (GPU-e52ec6f1-0000-0000-0000-000000000000)"),
        ("/rt", "runtime nvidia (NVIDIA_VISIBLE_DEVICES=all)"),
        ("/rt-void", None),
        ("/plain", None),
        ("/nodes", "device /dev/nvidia0"),
        ("/null", None),
    ],
)
def test_how_a_container_was_given_gpus(name, gpus):
    assert docker_containers.container(RECORDED[name])["gpus"] == gpus


def test_the_rest_of_a_container():
    cdi, rt, plain = (docker_containers.container(RECORDED[name]) for name in ("/cdi", "/rt", "/plain"))
    assert cdi["paused"] and not rt["paused"] and rt["auto_remove"] and not cdi["auto_remove"]
    assert cdi["labels"] == {"com.example.drain": "allowed"} and cdi["image"] == "ollama/ollama:0.17.4" and cdi["name"] == "cdi"
    assert [one["restart_policy"] for one in (cdi, rt, plain)] == [
        {"Name": "always", "MaximumRetryCount": 0}, {"Name": "no", "MaximumRetryCount": 0}, {"Name": "on-failure", "MaximumRetryCount": 3},
    ]  # fmt: skip
    assert [one["stop_seconds"] for one in (cdi, rt)] == [10, 30]


@pytest.fixture
def daemon(tmp_path):
    """Docker's socket below a root folder: `answers[line of the request] = (status, JSON)`; `seen` gets line and body of each request."""
    (tmp_path / "run").mkdir()
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "run/docker.pid").write_text("1")
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(tmp_path)  # the path of a socket is short
    server.bind("run/docker.sock")
    server.listen(8)
    answers, seen = {}, []

    def serve():
        while True:
            try:
                connection, _address = server.accept()
            except OSError:
                return
            data = connection.recv(65536)
            head, _blank, body = data.partition(b"\r\n\r\n")
            line = head.split(b"\r\n")[0].decode().rpartition(" ")[0]
            seen.append((line, body.decode()))
            status, answer = answers.get(line, (404, {"message": "No such container"}))
            content = b"" if answer is None else json.dumps(answer).encode()
            connection.sendall(b"HTTP/1.0 %d Said\r\nContent-Type: application/json\r\n\r\n%s" % (status, content))
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    yield answers, seen
    os.chdir(here)
    server.close()


def test_running_containers(daemon):
    answers, _seen = daemon
    running = {name: dict(one, State=dict(one["State"], Running=True)) for name, one in RECORDED.items()}
    ended = RECORDED["/gpus"]
    answers["GET /containers/json"] = (200, [{"Id": running["/plain"]["Id"]}, {"Id": running["/cdi"]["Id"]}, {"Id": ended["Id"]}, {"Id": "removed"}])
    for one in (running["/plain"], running["/cdi"], ended):
        answers["GET /containers/%s/json" % one["Id"]] = (200, one)
    assert [one["name"] for one in docker_containers.running(".")] == ["cdi", "plain"]


@pytest.mark.parametrize("answer, reason", [((500, {"message": "daemon is\nbusy"}), "daemon is busy"), ((200, None), "is not understood")])
def test_a_daemon_that_does_not_tell(daemon, answer, reason):
    daemon[0]["GET /containers/json"] = answer
    with pytest.raises(EvidenceError, match="Docker does not tell which containers have GPUs: .*%s" % reason):
        docker_containers.running(".")


ENTRY = {"kind": "container", "name": "ollama", "id": "c2a1", "stop_seconds": 10}
STOP, START, UPDATE = ("POST /containers/c2a1/%s" % verb for verb in ("stop", "start", "update"))
NO, ALWAYS = ('{"RestartPolicy": {"Name": "%s", "MaximumRetryCount": 0}}' % name for name in ("no", "always"))


@pytest.mark.parametrize(
    "policy, down, up",
    [
        ("always", [(UPDATE, NO), (STOP, "")], [(UPDATE, ALWAYS), (START, "")]),
        ("unless-stopped", [(STOP, "")], [(START, "")]),
        ("no", [(STOP, "")], [(START, "")]),
    ],
)
def test_what_docker_is_asked_for(daemon, monkeypatch, policy, down, up):
    answers, seen = daemon
    answers.update({STOP: (204, None), START: (304, None), UPDATE: (200, {"Warnings": None})})
    monkeypatch.setattr(docker_socket, "SOCKET", "run/docker.sock")
    entry = dict(ENTRY, restart_policy={"Name": policy, "MaximumRetryCount": 0})
    drain.stop(None, entry, 5)
    assert seen == down
    drain.start(None, entry, 5)
    assert seen == down + up


def test_a_refusal_of_docker_is_named(daemon, monkeypatch):
    monkeypatch.setattr(docker_socket, "SOCKET", "run/docker.sock")
    daemon[0][STOP] = (500, {"message": "cannot kill container: permission denied"})
    with pytest.raises(ActionError, match="docker stop ollama fails: .*cannot kill container: permission denied"):
        drain.stop(None, dict(ENTRY, restart_policy={"Name": "no"}), 5)
