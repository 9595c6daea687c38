# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a drain has stopped, as it was written down. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import json
import os
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

VERSION = 1


def read(path: str) -> t.List[t.Dict[str, t.Any]]:
    """The entries of the state file in the order in which they were written; none when there is no file.

    An entry: `kind` (service, container), `name`; of a container also `id`, `image`, `restart_policy`, `restarting`, `stop_seconds`. Raises EvidenceError
    for a file that cannot be read or understood: what it says is the only record of what to start again.
    """
    if not os.path.lexists(path):
        return []
    text, why = read_text(path)
    if text is None:
        raise EvidenceError("the record of what was stopped cannot be read: %s" % why, path=path)
    try:
        content = json.loads(text)
        entries = content["stopped"]
        if content["version"] != VERSION or not all(_valid(entry) for entry in entries):
            raise ValueError("not of version %d" % VERSION)
    except (ValueError, KeyError, TypeError) as error:
        raise EvidenceError(
            "the record of what was stopped, %s, is not understood (%s): start by hand what it names, then remove it" % (path, error), path=path
        ) from None
    return entries


def merge(recorded: t.Sequence[t.Dict[str, t.Any]], new: t.Sequence[t.Dict[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """The record with what is new. What is there stays: it tells how a thing was before the first of several runs.

    What ends already by somebody else's doing (`ending`) is not recorded.
    """
    there = {_key(entry) for entry in recorded}
    return list(recorded) + [entry for entry in new if _key(entry) not in there and not entry.get("ending")]


def _key(entry: t.Dict[str, t.Any]) -> t.Tuple[str, str]:
    return entry["kind"], entry.get("id") or entry["name"]


def _valid(entry: t.Dict[str, t.Any]) -> bool:
    if entry["kind"] == "container":
        return bool(entry["name"] and entry["id"]) and isinstance(entry["restart_policy"], dict)
    return entry["kind"] == "service" and bool(entry["name"])
