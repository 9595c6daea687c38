# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a GGUF file: is it one and whole, and its SHA-256, computed once. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import hashlib
import json
import os
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf

MAGIC = b"GGUF"
CHUNK_BYTES = 4 * 2**20


class GgufFile(t.NamedTuple):
    """A GGUF file. `remembered`: its SHA-256 was known from an earlier run; `note`: what to store so that the next run knows it."""

    path: str
    size: int
    sha256: str
    remembered: bool
    note: t.Dict[str, t.Any]


def note_path(cache_directory: str, path: str) -> str:
    """Where the SHA-256 of `path` is remembered."""
    return os.path.join(cache_directory, "%s.json" % hashlib.sha256(os.path.abspath(path).encode("utf-8", "surrogateescape")).hexdigest()[:32])


def read(path: str, cache_directory: str) -> GgufFile:
    """Read the file at `path`; raises EvidenceError when it is missing, not readable, no GGUF, or shorter than its header says.

    The SHA-256 comes from the note in `cache_directory` when path, size and modification time are still those of the note.
    """
    try:
        with open(path, "rb") as source:
            stat = os.fstat(source.fileno())
            magic = source.read(len(MAGIC))
            if magic != MAGIC:
                raise EvidenceError("%s is not a GGUF file: it begins with %r instead of %r" % (path, magic, MAGIC), path=path)
            known = _identity(path, stat)
            noted = _noted(known, note_path(cache_directory, path))
            if noted:
                return GgufFile(path, stat.st_size, noted, True, dict(known, sha256=noted))
            gguf.read(path)
            digest = hashlib.sha256(magic)
            for chunk in iter(lambda: source.read(CHUNK_BYTES), b""):
                digest.update(chunk)
    except IsADirectoryError:
        raise EvidenceError("%s is a folder, not a GGUF file" % path, path=path) from None
    except FileNotFoundError:
        raise EvidenceError("the model file %s does not exist on the target" % path, path=path) from None
    except OSError as error:
        raise EvidenceError("the model file %s could not be read: %s" % (path, error.strerror), path=path) from error
    return GgufFile(path, stat.st_size, digest.hexdigest(), False, dict(known, sha256=digest.hexdigest()))


def remembered(path: str, cache_directory: str) -> t.Optional[str]:
    """The SHA-256 that an earlier run wrote down for the file at `path` as it is now; None without one, or without the file. The file is not opened."""
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return _noted(_identity(path, stat), note_path(cache_directory, path))


def _identity(path: str, stat: os.stat_result) -> t.Dict[str, t.Any]:
    """What tells that a file is still the one that a note is about."""
    return {"path": os.path.abspath(path), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _noted(known: t.Dict[str, t.Any], path: str) -> t.Optional[str]:
    """The SHA-256 in the note at `path`, when it is about the file `known`."""
    note = _note(path)
    if {key: note.get(key) for key in known} == known and isinstance(note.get("sha256"), str):
        return t.cast(str, note["sha256"])
    return None


def _note(path: str) -> t.Dict[str, t.Any]:
    try:
        with open(path, encoding="utf-8") as source:
            note = json.load(source)
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
