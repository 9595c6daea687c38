# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting what holds GPUs, and the record of it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._actions.kept_settings import systemctl
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.drain_record import VERSION

Run = t.Callable[..., t.Tuple[int, str, str]]
Entry = t.Dict[str, t.Any]

# In /run, and so gone with the next boot: there a service starts as its administrator has set it up.
DROP_IN = "/run/systemd/system/%s.d/90-gpuops-drain.conf"
NOT_MODIFIED, NOT_FOUND = 304, 404


@contextlib.contextmanager
def locked(path: str) -> t.Iterator[None]:
    """Keep other runs away from the record `path`. Raises ActionError when one is at work."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        number = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ActionError("%s cannot be used: %s" % (folder, error.strerror or error), path=folder) from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ActionError("another run drains or resumes this host at this moment", path=path) from None
        yield
    finally:
        os.close(number)


def write_record(path: str, entries: t.Sequence[Entry]) -> None:
    """Write the record whole, and onto the disk before this returns; without entries it is removed."""
    folder = os.path.dirname(path)
    try:
        if entries:
            number, draft = tempfile.mkstemp(dir=folder, prefix=".drain-")
            with os.fdopen(number, "w") as handle:
                json.dump({"version": VERSION, "stopped": list(entries)}, handle, indent=2, sort_keys=True)
                handle.write("\n")
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(draft, path)
        elif os.path.lexists(path):
            os.unlink(path)
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
    except OSError as error:
        raise ActionError("%s cannot be written: %s" % (path, error.strerror or error), path=path) from None


def held(unit: str, record: str) -> bool:
    """Whether the unit is kept from starting while the record is there."""
    try:
        with open(DROP_IN % unit, encoding="utf-8") as handle:
            return handle.read() == _condition(record)
    except OSError:
        return False


def hold(run: Run, units: t.Sequence[str], record: str) -> None:
    """Keep units from being started by whatever starts them (udev, a package, a timer) while the record is there.

    A condition of systemd, not a mask: it works for units of /etc too, and a package that starts its service does not fail for it.
    """
    missing = [unit for unit in units if not held(unit, record)]
    for unit in missing:
        path = DROP_IN % unit
        try:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "w", encoding="utf-8") as handle:
                handle.write(_condition(record))
        except OSError as error:
            raise ActionError("%s cannot be written: %s" % (path, error.strerror or error), path=path) from None
    if missing:
        systemctl(run, "daemon-reload")


def release(run: Run, units: t.Sequence[str]) -> None:
    """Undo `hold`."""
    there = [DROP_IN % unit for unit in units if os.path.lexists(DROP_IN % unit)]
    for path in there:
        os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))  # others may have files there
    if there:
        systemctl(run, "daemon-reload")


def _condition(record: str) -> str:
    return "# Written by gpuops.fleet.gpu_drain: the GPUs are drained while this file is there.\n[Unit]\nConditionPathExists=!%s\n" % record


def stop(run: Run, entry: Entry, timeout_seconds: float) -> None:
    """Stop what an entry names, and wait for it. Raises ActionError."""
    if entry["kind"] == "service":
        systemctl(run, "stop", entry["name"], timeout_seconds=timeout_seconds)
        return
    if entry["restart_policy"].get("Name") in ("always", "on-failure"):
        # Docker would start it when its daemon does.
        _update(entry, {"Name": "no", "MaximumRetryCount": 0}, timeout_seconds)
    _ask(entry, "stop", "/containers/%s/stop" % entry["id"], None, max(timeout_seconds, entry.get("stop_seconds", 0) + 20))


def start(run: Run, entry: Entry, timeout_seconds: float) -> None:
    """Start what an entry names, as it was. Raises ActionError."""
    if entry["kind"] == "service":
        systemctl(run, "start", entry["name"], timeout_seconds=timeout_seconds)
        return
    if entry["restart_policy"].get("Name") in ("always", "on-failure"):
        _update(entry, entry["restart_policy"], timeout_seconds)
    _ask(entry, "start", "/containers/%s/start" % entry["id"], None, timeout_seconds)


def _update(entry: Entry, policy: t.Dict[str, t.Any], timeout_seconds: float) -> None:
    _ask(entry, "update", "/containers/%s/update" % entry["id"], {"RestartPolicy": policy}, timeout_seconds)


def _ask(entry: Entry, verb: str, target: str, body: t.Any, timeout_seconds: float) -> None:
    answer = docker_socket.request("POST", target, body, timeout_seconds=timeout_seconds)
    if answer.reason and answer.status != NOT_MODIFIED:
        raise ActionError("docker %s %s fails: %s" % (verb, entry["name"], answer.reason), container=entry["name"])
