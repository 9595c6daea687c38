# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stopping and starting what holds GPUs, and the record of it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._actions.kept_settings import systemctl
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket, drain_record, units
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

Run = t.Callable[..., t.Tuple[int, str, str]]
Entry = t.Dict[str, t.Any]

# In /run, and so gone with the next boot: there a service starts as its administrator has set it up.
DROP_IN = "/run/systemd/system/%s.d/90-gpuops-drain.conf"
LOCK = "/run/gpuops-drain.lock"
# With these Docker starts a container again when its daemon starts, although it was stopped by hand; not with unless-stopped.
RETURNING_POLICIES = ("always", "on-failure")
NO_POLICY = {"Name": "no", "MaximumRetryCount": 0}
NOT_MODIFIED = 304
# A container that cannot work ends in its first moments.
SETTLE_SECONDS = 1


@contextlib.contextmanager
def locked() -> t.Iterator[None]:
    """Keep other runs away. Raises ActionError when one is at work."""
    try:
        number = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ActionError("%s cannot be used: %s" % (LOCK, error.strerror or error), path=LOCK) from None
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ActionError("another run drains or resumes this host at this moment", path=LOCK) from None
        yield
    finally:
        os.close(number)


def write_record(path: str, entries: t.Sequence[Entry]) -> None:
    """Write the record whole, and onto the disk before this returns; without entries it is removed."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        if entries:
            # One name for all drafts: a run that dies leaves nothing that the next does not use.
            draft = path + ".new"
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as handle:
                json.dump({"version": drain_record.VERSION, "stopped": list(entries)}, handle, indent=2, sort_keys=True)
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


def carry_out(run: Run, record: str, wished: t.Sequence[Entry], timeout_seconds: float) -> None:
    """Stop `wished`, containers first, and note each before it is stopped. Raises ActionError; what was stopped until then is noted.

    Services are kept from starting once the containers are down: systemd reads its units anew for that, which takes the GPUs away from containers that
    got them from a hook.
    """
    noted = drain_record.read(record)
    for entry in [one for one in wished if one["kind"] == "container"]:
        noted = _note(record, noted, entry)
        stop(run, entry, timeout_seconds)
    services = [one for one in wished if one["kind"] == "service"]
    missing = not_held(drain_record.merge(noted, services), record)
    for unit in missing:
        _hold(unit, record)
    if missing:
        systemctl(run, "daemon-reload")
    for entry in services:
        noted = _note(record, noted, entry)
        stop(run, entry, timeout_seconds)


def _note(record: str, noted: t.Sequence[Entry], entry: Entry) -> t.List[Entry]:
    entries = drain_record.merge(noted, [entry])
    if entries != noted:
        write_record(record, entries)
    return entries


def bring_back(run: Run, entry: Entry, timeout_seconds: float) -> bool:
    """Start one thing and prove that it runs; False when it does not exist any more. Raises ActionError when it does not run."""
    name = entry["name"]
    if entry["kind"] == "container":
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_containers

        if docker_containers.state(entry["id"]) is None:
            return False
        start(run, entry, timeout_seconds)
        time.sleep(SETTLE_SECONDS)
        now = docker_containers.state(entry["id"])
        if now is None or not (now["running"] or entry.get("restarting")):
            raise ActionError("container %s ended right after it was started: see docker logs %s" % (name, name))
        if now["restart_policy"].get("Name") != entry["restart_policy"].get("Name"):
            raise ActionError("container %s has not got its restart policy back: it is %s" % (name, now["restart_policy"].get("Name")))
        return True
    if name not in units.loaded(run, [name]):
        return False
    start(run, entry, timeout_seconds)
    unit = units.loaded(run, [name])[name]
    # systemd stops a unit that nothing needs at once, if the unit says so: then that is its right state.
    if unit["on"] or (unit["state"] == "inactive" and unit["stops_unneeded"] and unit["condition"]):
        return True
    why = "see journalctl -u %s" % name if unit["condition"] else "a condition of it is not met"
    raise ActionError("service %s was started and is %s: %s" % (name, unit["state"], why))


def not_held(entries: t.Sequence[Entry], record: str) -> t.List[str]:
    """The units among `entries` that something (udev, a package, a timer) could start although the record is there."""
    return [entry["name"] for entry in entries if entry["kind"] == "service" and read_text(DROP_IN % entry["name"])[0] != _condition(record).strip()]


def _hold(unit: str, record: str) -> None:
    """A condition of systemd, not a mask: it works for units of /etc too, and a package that starts its service does not fail for it."""
    path = DROP_IN % unit
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "w", encoding="utf-8") as handle:
            handle.write(_condition(record))
    except OSError as error:
        raise ActionError("%s cannot be written: %s" % (path, error.strerror or error), path=path) from None


def release(run: Run) -> None:
    """Let every unit start again."""
    there = glob.glob(DROP_IN % "*")
    for path in there:
        os.unlink(path)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))  # others may have files there
    if there:
        systemctl(run, "daemon-reload")


def _condition(record: str) -> str:
    return "# Written by gpuops.fleet.gpu_drain: the GPUs are drained while this file is there.\n[Unit]\nConditionPathExists=!%s\n" % record.replace("%", "%%")


def stop(run: Run, entry: Entry, timeout_seconds: float) -> None:
    """Stop what an entry names, and wait for it. Raises ActionError."""
    if entry["kind"] == "service":
        systemctl(run, "stop", entry["name"], timeout_seconds=timeout_seconds)
        return
    if entry["restart_policy"].get("Name") in RETURNING_POLICIES:
        _update(entry, NO_POLICY, timeout_seconds)
    _ask(entry, "stop", "/containers/%s/stop" % entry["id"], None, max(timeout_seconds, entry.get("stop_seconds", 0) + 20))


def start(run: Run, entry: Entry, timeout_seconds: float) -> None:
    """Start what an entry names, as it was. Raises ActionError."""
    if entry["kind"] == "service":
        systemctl(run, "start", entry["name"], timeout_seconds=timeout_seconds)
        return
    if entry["restart_policy"].get("Name") in RETURNING_POLICIES:
        _update(entry, entry["restart_policy"], timeout_seconds)
    _ask(entry, "start", "/containers/%s/start" % entry["id"], None, timeout_seconds)


def _update(entry: Entry, policy: t.Dict[str, t.Any], timeout_seconds: float) -> None:
    _ask(entry, "update", "/containers/%s/update" % entry["id"], {"RestartPolicy": policy}, timeout_seconds)


def _ask(entry: Entry, verb: str, target: str, body: t.Any, timeout_seconds: float) -> None:
    answer = docker_socket.request("POST", target, body, timeout_seconds=timeout_seconds)
    if answer.reason and answer.status != NOT_MODIFIED:
        raise ActionError("docker %s %s fails: %s" % (verb, entry["name"], answer.reason), container=entry["name"])
