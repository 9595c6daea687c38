# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping settings of GPUs across reboots: files and systemd. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import tempfile
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError

Run = t.Callable[..., t.Tuple[int, str, str]]
Move = t.Callable[[str, str], t.Any]
TIMEOUT_SECONDS = 120


def write(files: t.Mapping[str, t.Optional[str]], move: Move, folder: str) -> None:
    """Write each path's text whole or not at all, and remove the paths whose text is None. `move(source, target)` is atomic; `folder` is for drafts."""
    for path, text in files.items():
        try:
            if text is None:
                _remove(path)
                continue
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            number, draft = tempfile.mkstemp(dir=folder)
            with os.fdopen(number, "w") as handle:
                handle.write(text)
            os.chmod(draft, 0o644)
            move(draft, path)
        except OSError as error:
            raise ActionError("%s cannot be written: %s" % (path, error.strerror or error), path=path) from None


def _remove(path: str) -> None:
    if os.path.lexists(path):
        os.unlink(path)
        try:
            os.rmdir(os.path.dirname(path))
        except OSError:
            pass  # others have files there


def systemctl(run: Run, *arguments: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Run systemctl. Raises ActionError with what it, and the unit's log, say."""
    rc, out, err = run(["systemctl"] + list(arguments), timeout_seconds=timeout_seconds)
    if rc == 0:
        return
    said = "no end within %g s" % timeout_seconds if rc == 124 else " ".join((err or out).split())
    if arguments[0] in ("start", "restart"):
        _rc, log, _err = run(["journalctl", "--unit", arguments[-1], "--lines", "5", "--output", "cat", "--no-pager"], timeout_seconds=TIMEOUT_SECONDS)
        said = "%s (log: %s)" % (said, " ".join(log.split()))
    raise ActionError("systemctl %s fails: %s" % (" ".join(arguments), said[:600]), rc=rc)
