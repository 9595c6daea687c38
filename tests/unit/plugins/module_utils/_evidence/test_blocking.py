"""Reads that hang, crash or answer nonsense: a child process, and a Docker socket."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child

from tests.unit.gpu_machine import write


def hang(emit):
    emit({"n": 1})
    time.sleep(60)


def crash(emit):
    emit({"n": 1})
    os.kill(os.getpid(), 9)  # 9: pytest reports the signals of real crashes itself


def fail(emit):
    emit({"n": 1})
    raise RuntimeError("inside")


@pytest.mark.parametrize(
    "work, expected",
    [
        (lambda emit: emit({"text": "ä", "list": [1, None]}), ([{"text": "ä", "list": [1, None]}], "")),
        (lambda emit: [emit("x" * 100000) for _ in range(10)], (["x" * 100000] * 10, "")),
        (lambda emit: None, ([], "")),
        (hang, ([{"n": 1}], "no answer within 0.3 s")),
        (crash, ([{"n": 1}], "crashed with signal 9")),
        (fail, ([{"n": 1}], "RuntimeError: inside")),
    ],
)
def test_a_child_keeps_what_it_said_before_it_went_wrong(work, expected):
    start = time.monotonic()
    assert Child(work, 0.3 if work is hang else 20).results() == expected
    assert time.monotonic() - start < 10


def children():
    """Process ids of this process's children, ended ones that nobody waited for included: the field `ppid` of proc(5), /proc/pid/stat."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(stat.parent.name)
    return found


def test_a_child_leaves_no_process_and_no_open_file():
    before = len(os.listdir("/proc/self/fd")), children()
    Child(hang, 0.1).results()
    Child(lambda emit: emit(1), 5).results()
    assert (len(os.listdir("/proc/self/fd")), children()) == before


def test_a_child_cannot_write_to_the_output_of_the_task(capfd):
    assert Child(lambda emit: emit(os.write(1, b"noise") and os.write(2, b"noise")), 5).results() == ([5], "")
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def daemon(tmp_path):
    """A daemon that answers `reply`; `None` never answers."""
    sockets = []

    def start(reply):
        write(tmp_path, "/run/docker.pid", str(os.getpid()))
        (tmp_path / ("proc/%d" % os.getpid())).mkdir(parents=True)
        server = socket.socket(socket.AF_UNIX)
        os.chdir(tmp_path)  # the path of a socket has little room
        server.bind("run/docker.sock")
        server.listen(1)
        sockets.append(server)

        def serve():
            connection, _address = server.accept()
            sockets.append(connection)
            sockets.append(connection.recv(4096))
            if reply is not None:
                connection.sendall(reply)
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return sockets

    here = os.getcwd()
    yield start
    os.chdir(here)
    for one in sockets:
        if isinstance(one, socket.socket):
            one.close()


OK = b"HTTP/1.0 200 OK\r\nApi-Version: 1.45\r\nContent-Type: application/json\r\n\r\n"


@pytest.mark.parametrize(
    "reply, version, reason",
    [
        (OK + b'{"Version":"26.1.5+dfsg1","ApiVersion":"1.45"}\n', "26.1.5+dfsg1", ""),
        (OK + b"{}", None, "not understood"),
        (OK + b"[]", None, "not understood"),
        (OK + b'{"Version": 5}', None, "names no version"),
        (OK + b"\xff\xfe", None, "not understood"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", None, "503 Service Unavailable"),
        (b"", None, "an empty answer"),
        (None, None, "no answer within 0.3 s"),
    ],
)
def test_docker_version(daemon, reply, version, reason):
    seen = daemon(reply)
    found, why = docker_socket.version(".", 0.3)
    assert found == version and (reason in why if reason else why == "")
    assert any(isinstance(one, bytes) and one.startswith(b"GET /version HTTP/1.0\r\n") for one in seen)


def test_a_daemon_that_does_not_run_is_not_woken(tmp_path):
    write(tmp_path, "/run/docker.pid", "999999999")
    assert docker_socket.version(str(tmp_path), 1) == (None, "the Docker daemon does not run")


def test_no_socket(tmp_path):
    write(tmp_path, "/run/docker.pid", "1")
    (tmp_path / "proc/1").mkdir(parents=True)
    assert docker_socket.version(str(tmp_path), 1) == (None, "/run/docker.sock: no such file or directory")
