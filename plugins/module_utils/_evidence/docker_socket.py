# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker Engine API over its socket. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import json
import os
import socket
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

SOCKET = "/run/docker.sock"
PID_FILES = ("/run/docker.pid", "/var/run/docker.pid")
LIMIT_BYTES = 256 * 1024


class Answer(t.NamedTuple):
    """`status`: of HTTP, 0 without an answer. `body`: text. `reason`: why the status is not one of success, "" when it is."""

    status: int
    body: str
    reason: str


def version(root: str = "", timeout_seconds: float = 5) -> t.Tuple[t.Optional[str], str]:
    """`(version, reason)` of the Docker daemon that runs now (Docker Engine API, `GET /version`).

    A stopped daemon is not asked: systemd's socket unit would start it.
    """
    if not runs(root):
        return None, "the Docker daemon does not run"
    answer = request("GET", "/version", root=root, timeout_seconds=timeout_seconds)
    if answer.reason:
        return None, answer.reason
    try:
        found = json.loads(answer.body)["Version"]
    except (ValueError, KeyError, TypeError):
        return None, "%s: the answer to /version is not understood" % SOCKET
    return (found, "") if isinstance(found, str) and found else (None, "%s: /version names no version" % SOCKET)


def runs(root: str = "") -> bool:
    """Whether a Docker daemon runs, by its process id file."""
    for path in PID_FILES:
        pid, _why = read_text(root + path)
        if pid and pid.isdigit() and os.path.isdir("%s/proc/%s" % (root, pid)):
            return True
    return False


def request(
    method: str, target: str, body: t.Optional[t.Any] = None, *, root: str = "", timeout_seconds: float = 5, limit_bytes: int = LIMIT_BYTES
) -> Answer:
    """Send one request, `body` as JSON, and return the answer; never raises.

    HTTP/1.0, so that the server neither chunks nor keeps the connection; http.client would double the imports of a module.
    """
    deadline = time.monotonic() + timeout_seconds
    content = b"" if body is None else json.dumps(body).encode("utf-8")
    head = "%s %s HTTP/1.0\r\nHost: docker\r\n" % (method, target)
    if method != "GET":
        head += "Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
    data = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(root + SOCKET)
            connection.sendall(head.encode("ascii") + b"\r\n" + content)
            while len(data) < limit_bytes:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
                if not part:
                    break
                data += part
    except socket.timeout:
        return Answer(0, "", "%s: no answer within %g s" % (SOCKET, timeout_seconds))
    except OSError as error:
        return Answer(0, "", "%s: %s" % (SOCKET, (error.strerror or str(error)).lower()))
    head_bytes, _blank, body_bytes = data.partition(b"\r\n\r\n")
    words = head_bytes.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
    text = body_bytes.decode("utf-8", "replace")
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    if 200 <= status < 300:
        return Answer(status, text, "")
    return Answer(status, text, "%s: %s" % (SOCKET, _message(text) or " ".join(words)[:100] or "an empty answer"))


def _message(text: str) -> str:
    """What the daemon says in the body of an error, `{"message": …}`."""
    try:
        return " ".join(str(json.loads(text)["message"]).split())[:300]
    except (ValueError, KeyError, TypeError):
        return ""
