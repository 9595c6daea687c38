# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same checks in the words of another engine. Private to gpuops.fleet: the names may change in any release.

Checks of containers are written for Docker. The commands that they name exist in Podman with the same arguments, and it has no daemon.
"""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check, evidence

PODMAN = "podman"
DAEMON = re.compile(r" and its daemon runs \(systemctl status docker\)")
COMMAND = re.compile(r"\bdocker (?=(?:container|exec|inspect|logs|restart|unpause)\b)")
NAME = re.compile(r"\bDocker\b")


def in_words_of(engine: str, checks: t.Sequence[Check]) -> t.List[Check]:
    """The checks with the commands of `engine` (docker or podman) in summary, rule, sources of evidence, and remedy."""
    if engine != PODMAN:
        return list(checks)
    return [
        dataclasses.replace(
            check, summary=_podman(check.summary), expected=_podman(check.expected), remedy=_podman(check.remedy),
            evidence=[evidence(_podman(item["source"]), item["value"]) for item in check.evidence],
        )
        for check in checks
    ]  # fmt: skip


def _podman(text: str) -> str:
    return NAME.sub("Podman", COMMAND.sub("podman ", DAEMON.sub("", text)))
