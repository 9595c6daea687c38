# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker's version over its socket. Private to gpuops.fleet: the names may change in any release."""

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


def version(root: str = "", timeout_seconds: float = 5) -> t.Tuple[t.Optional[str], str]:
    """`(version, reason)` of the Docker daemon that runs now (Docker Engine API, `GET /version`).

    A stopped daemon is not asked: systemd's socket unit would start it.
    """
    if not _runs(root):
        return None, "the Docker daemon does not run"
    body, reason = _get(root + SOCKET, "/version", timeout_seconds)
    if body is None:
        return None, reason
    try:
        found = json.loads(body)["Version"]
    except (ValueError, KeyError, TypeError):
        return None, "%s: the answer to /version is not understood" % SOCKET
    return (found, "") if isinstance(found, str) and found else (None, "%s: /version names no version" % SOCKET)


def _runs(root: str) -> bool:
    for path in PID_FILES:
        pid, _why = read_text(root + path)
        if pid and pid.isdigit() and os.path.isdir("%s/proc/%s" % (root, pid)):
            return True
    return False


def _get(path: str, target: str, timeout_seconds: float) -> t.Tuple[t.Optional[str], str]:
    """The body of `GET target`, HTTP/1.0 so that the server neither chunks nor keeps the connection; http.client would double the module's imports."""
    deadline = time.monotonic() + timeout_seconds
    data = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout_seconds)
            connection.connect(path)
            connection.sendall(("GET %s HTTP/1.0\r\nHost: docker\r\n\r\n" % target).encode("ascii"))
            while len(data) < LIMIT_BYTES:
                connection.settimeout(max(0.001, deadline - time.monotonic()))
                part = connection.recv(65536)
                if not part:
                    break
                data += part
    except socket.timeout:
        return None, "%s: no answer within %g s" % (SOCKET, timeout_seconds)
    except OSError as error:
        return None, "%s: %s" % (SOCKET, (error.strerror or str(error)).lower())
    head, _blank, body = data.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode("ascii", "replace").split(" ")
    if len(status) < 2 or status[1] != "200":
        return None, "%s: %s" % (SOCKET, " ".join(status)[:100] or "an empty answer")
    return body.decode("utf-8", "replace"), ""
