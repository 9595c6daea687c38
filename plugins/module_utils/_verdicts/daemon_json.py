# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change of dockerd's daemon.json is, and what it takes. Private to gpuops.fleet: the names may change in any release.

Other people's keys stay, in their order and with the indentation of the file. A file that is not understood is never merged into.
"""

from __future__ import annotations

import json
import re
import typing as t

NONE, RELOAD, RESTART = "none", "reload", "restart"

# Keys that a running dockerd takes over on SIGHUP (moby, daemon/reload.go, alike in 20.10 to 29; "Configuration reload behavior" in the reference of
# dockerd). It takes over what is set, and never notices that a key is gone. log-level is not among them.
RELOADABLE = (
    "allow-nondistributable-artifacts",
    "debug",
    "default-runtime",
    "insecure-registries",
    "labels",
    "live-restore",
    "max-concurrent-downloads",
    "max-concurrent-uploads",
    "max-download-attempts",
    "registry-mirrors",
    "runtimes",
    "shutdown-timeout",
)
# The features that are looked up each time they are needed. Others, such as cdi and containerd-snapshotter, are settled when the daemon starts.
RELOADABLE_FEATURES = ("buildkit",)


class DaemonJsonError(ValueError):
    """The file is not one that dockerd and this collection understand alike; the message says why, in a few words."""


def plan(text: t.Optional[str], options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """What it takes to have `options` in a daemon.json that holds `text` (None or blank: there is none).

    options: merged into the file; dictionaries key by key, everything else replaces what is there, and None removes a key.
    Returned: `text` (what the file has to hold; what it holds when nothing changes), `changed`, `action` (none, reload, restart), `reload_keys` and
    `restart_keys` (the keys at the top that change, by what they need), and `problem` ("" when the file could be read).
    """
    answer: t.Dict[str, t.Any] = {"text": text, "changed": False, "action": NONE, "reload_keys": [], "restart_keys": [], "problem": ""}
    try:
        present = read(text)
    except DaemonJsonError as error:
        return dict(answer, problem=str(error))
    wanted = merge(present, _plain(options))
    keys = [key for key in list(present) + [key for key in wanted if key not in present] if _differs(key, present, wanted)]
    if not keys:
        return answer
    restart_keys = [key for key in keys if not _reloadable(key, present, wanted)]
    return dict(
        answer, text=write(wanted, text), changed=True, action=RESTART if restart_keys else RELOAD, restart_keys=restart_keys,
        reload_keys=[key for key in keys if key not in restart_keys],
    )  # fmt: skip


def read(text: t.Optional[str]) -> t.Dict[str, t.Any]:
    """The settings in `text`; raises DaemonJsonError for what is no JSON object, or what could not be written again as it is."""
    text = (text or "").lstrip("\ufeff").strip()
    if not text:
        return {}
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DaemonJsonError("it is not text in UTF-8") from None
    try:
        settings = json.loads(text, object_pairs_hook=_without_duplicates, parse_constant=_no_constant, parse_float=_finite)
    except DaemonJsonError:
        raise
    except RecursionError:
        raise DaemonJsonError("it is nested too deep") from None
    except ValueError as error:
        raise DaemonJsonError("it is not valid JSON: %s" % error) from error
    if not isinstance(settings, dict):
        raise DaemonJsonError("it holds no JSON object")
    return settings


def write(settings: t.Mapping[str, t.Any], present: t.Optional[str] = None) -> str:
    """`settings` as the text of a file, indented as `present` is."""
    found = re.search(r"^([ \t]+)\S", present or "", re.M)
    indent = found.group(1) if found else "  "
    text = json.dumps(settings, indent=indent, ensure_ascii=False) + "\n"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say and UTF-8 cannot
        text = json.dumps(settings, indent=indent) + "\n"
    return text


def merge(present: t.Mapping[str, t.Any], options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    """`present` with `options` in it."""
    merged = dict(present)
    for key, value in options.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _reloadable(key: str, present: t.Mapping[str, t.Any], wanted: t.Mapping[str, t.Any]) -> bool:
    before, after = present.get(key), wanted.get(key)
    if key not in wanted:
        return False
    if key != "features":
        return key in RELOADABLE
    if not isinstance(after, dict):
        return False
    before = before if isinstance(before, dict) else {}
    return all(name in RELOADABLE_FEATURES for name in set(before) | set(after) if _differs(name, before, after))


def _differs(key: str, before: t.Mapping[str, t.Any], after: t.Mapping[str, t.Any]) -> bool:
    """Not equal as JSON: true is not 1, and null is not a key that is missing."""
    return (key in before) != (key in after) or _text(before.get(key)) != _text(after.get(key))


def _text(value: t.Any) -> str:
    return json.dumps(value, sort_keys=True)


def _plain(value: t.Any) -> t.Any:
    """Without the types that templating wraps values in."""
    if isinstance(value, t.Mapping):
        return {str(key): _plain(below) for key, below in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(below) for below in value]
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return str(value)


def _without_duplicates(pairs: t.List[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
    settings: t.Dict[str, t.Any] = {}
    for key, value in pairs:
        if key in settings:
            raise DaemonJsonError("it has the key %s twice" % key)
        settings[key] = value
    return settings


def _no_constant(word: str) -> t.Any:
    raise DaemonJsonError("it is not valid JSON: %s is no number" % word)


def _finite(word: str) -> float:
    number = float(word)
    if number in (float("inf"), float("-inf")):
        raise DaemonJsonError("the number %s is too large" % word)
    return number
