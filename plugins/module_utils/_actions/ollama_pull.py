# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets an Ollama server fetch a model, with progress and patience, where there is room. Private to gpuops.fleet: the names may change in any release.

The server keeps what came of a file, so a pull that broke goes on where it was when it is asked for again.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import Json, OllamaApi, UnreachableError

MIB = 2.0**20
# Seconds before the next attempt; the last value holds for all that follow.
PAUSES = (2.0, 10.0, 30.0)
# What the server says about a network that may be better in a moment (server/download.go, and the texts of Go's net package).
TRANSIENT = re.compile(
    r"max retries exceeded|unexpected EOF|\bEOF$|connection (reset|refused)|broken pipe|i/o timeout|TLS handshake timeout|no route to host"
    r"|network is unreachable|server misbehaving|deadline exceeded|^50[0234]\b|: 50[0234]\b"
)


class Progress:
    """What of a model is there. `line` is `NAME: 43 % of 18.8 GiB`, or what the server does instead of fetching."""

    def __init__(self, name: str):
        self._name = name
        self._files: t.Dict[str, t.Tuple[int, int]] = {}
        self._status = ""

    def add(self, event: Json) -> None:
        """Take in one {status, digest, total, completed} of the server."""
        self._status = str(event.get("status") or "")
        if event.get("digest") and event.get("total"):
            self._files[str(event["digest"])] = (int(event["total"]), int(event.get("completed") or 0))

    @property
    def missing_bytes(self) -> int:
        """Bytes that are yet to come, of the files that the server has named so far."""
        return sum(total - done for total, done in self._files.values())

    @property
    def line(self) -> str:
        """The state in one line."""
        total, done = (sum(sizes) for sizes in zip(*self._files.values())) if self._files else (0, 0)
        if not total or (done >= total and not self._status.startswith("pulling")):
            return "%s: %s" % (self._name, self._status or "waiting for the server")
        return "%s: %d %% of %s" % (self._name, 100 * done // total, "%.1f GiB" % (total / 2.0**30) if total >= 2**30 else "%.1f MiB" % (total / MIB))


class Note:
    """A file that holds one line, replaced as a whole at most once a second. `path` None: nothing is written. As a context manager it takes the file away."""

    def __init__(self, path: t.Optional[str]):
        self._path = path
        self._line = ""
        self._next = 0.0

    def __enter__(self) -> Note:
        return self

    def __exit__(self, *_error: t.Any) -> None:
        if self._path and os.path.exists(self._path):
            os.unlink(self._path)

    def write(self, line: str) -> None:
        """Replace the line. Raises ActionError when that is not possible."""
        if not self._path or line == self._line or time.monotonic() < self._next:
            return
        self._line, self._next = line, time.monotonic() + 1
        folder = os.path.dirname(os.path.abspath(self._path))
        try:
            os.makedirs(folder, mode=0o755, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=folder, prefix=".progress-")
            with os.fdopen(handle, "w", encoding="utf-8") as note:
                note.write(line + "\n")
            os.replace(path, self._path)
        except OSError as error:
            raise ActionError("progress_file %s cannot be written: %s" % (self._path, error.strerror)) from error


def need_room(store_path: t.Optional[str], needed: int, what: str) -> None:
    """Raise ActionError unless the file system of `store_path` has `needed` bytes free; EvidenceError when nobody can tell. None: nothing is claimed."""
    if store_path is None:
        return
    try:
        state = os.statvfs(store_path)
    except OSError as error:
        raise EvidenceError("the free space of store_path %s could not be read: %s" % (store_path, error.strerror), path=store_path) from error
    free = state.f_bavail * state.f_frsize
    if needed > free:
        sizes = (what, -(-needed // 2**20), store_path, free // 2**20)
        raise ActionError("%s needs %d MiB more in the model store, and %s has %d MiB free" % sizes, path=store_path, needed_bytes=needed, free_bytes=free)


class Terms(t.NamedTuple):
    """How to fetch `name`: `attempts` for a network that breaks, `timeout_seconds` without progress, `store_path` None where room is not looked at."""

    name: str
    insecure: bool
    attempts: int
    timeout_seconds: float
    store_path: t.Optional[str]


def pull(api: OllamaApi, terms: Terms, note: Note) -> None:
    """Fetch a model. Attempts are counted anew whenever more of it has come.

    Raises ServiceError with the server's words, ActionError when the model does not fit into the store.
    """
    progress, failed = Progress(terms.name), 0
    least: t.Optional[int] = None
    while True:
        try:
            _once(api, terms, progress, note)
            return
        except ServiceError as error:
            missing = progress.missing_bytes
            failed = 0 if least is not None and missing < least else failed
            least, failed = missing, failed + 1
            if failed >= terms.attempts or not _transient(error):
                tried = "; tried %d times, and what has come is kept for the next time" % failed if failed > 1 else ""
                raise ServiceError(error.message + tried, **error.details) from error
            note.write("%s; trying again after: %s" % (progress.line, error.message))
            time.sleep(PAUSES[min(failed, len(PAUSES)) - 1])


def _once(api: OllamaApi, terms: Terms, progress: Progress, note: Note) -> None:
    seen: t.Any = None
    known: t.Set[str] = set()
    since = time.monotonic()
    for event in api.pull(terms.name, terms.insecure):
        progress.add(event)
        # The server names the size of a file with the first line about it; leaving the loop makes it stop.
        if event.get("total") and event.get("digest") not in known:
            known.add(str(event["digest"]))
            need_room(terms.store_path, progress.missing_bytes, terms.name)
        note.write(progress.line)
        state = (event.get("status"), event.get("digest"), event.get("completed"))
        if state != seen:
            seen, since = state, time.monotonic()
        elif time.monotonic() - since > terms.timeout_seconds:
            why = "%s, and no progress for %g s" % (progress.line, terms.timeout_seconds)
            raise ServiceError("Ollama at %s, POST /api/pull: %s" % (api.base_url, why), http_status=None)


def _transient(error: ServiceError) -> bool:
    """May the next attempt end otherwise: the connection broke, the server was being started anew, or it could not reach the registry."""
    if isinstance(error, UnreachableError) or error.details.get("http_status") is None:
        return True
    return bool(TRANSIENT.search(str(error.details.get("reason"))))
