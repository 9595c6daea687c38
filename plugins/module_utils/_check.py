# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result type of every validation and the tree of errors. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import dataclasses
import typing as t

FAIL = "fail"
UNKNOWN = "unknown"
WARN = "warn"
PASS = "pass"
SKIPPED = "skipped"

# Worst first. `unknown` is worse than `warn`: nobody can act on what was not seen.
STATUSES = (FAIL, UNKNOWN, WARN, PASS, SKIPPED)


class FleetError(Exception):
    """An error that a user can act on. One readable line, plus `details` (JSON types) for programs.

    `kind` is the machine-readable name of the class of error; `_module` returns it as `error.kind`.
    """

    kind = "error"

    def __init__(self, message: str, **details: t.Any):
        super().__init__(one_line(message))
        self.message = one_line(message)
        self.details = details


class EvidenceError(FleetError):
    """Evidence that the task cannot do without could not be read."""

    kind = "evidence"


class PolicyError(FleetError):
    """What the user asked for is not valid or contradicts itself."""

    kind = "policy"


class ActionError(FleetError):
    """Something that was to be changed could not be changed."""

    kind = "action"


class ServiceError(FleetError):
    """A service (Docker, Ollama, a registry) refused, failed or did not answer."""

    kind = "service"


def one_line(text: t.Any) -> str:
    """`text` with every run of white space (line breaks too) made one blank."""
    return " ".join(str(text).split())


def evidence(source: str, value: t.Any) -> t.Dict[str, t.Any]:
    """One piece of evidence: `source` says where it was read, `value` (JSON types) what was there; `None` means that nothing could be read."""
    return {"source": source, "value": value}


@dataclasses.dataclass(frozen=True)
class Check:
    """The answer to one question about one subject.

    A `pass` without evidence and a fault without a remedy cannot be built: `ValueError`.
    """

    id: str
    subject: str
    status: str
    summary: str
    expected: str = ""
    evidence: t.Sequence[t.Dict[str, t.Any]] = ()
    remedy: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError("%s: unknown status %r" % (self.id, self.status))
        if self.status == PASS and not any(item.get("value") is not None for item in self.evidence):
            raise ValueError("%s: a pass needs evidence" % self.id)
        healthy = self.status in (PASS, SKIPPED)
        if healthy == bool(self.remedy):
            raise ValueError("%s: a remedy belongs to fail, warn and unknown, and to nothing else" % self.id)

    def to_dict(self) -> t.Dict[str, t.Any]:
        """The check as a dict of JSON types, with the keys of docs/architecture.md."""
        return {
            "id": self.id,
            "subject": self.subject,
            "status": self.status,
            "summary": one_line(self.summary),
            "expected": one_line(self.expected),
            "evidence": [dict(item) for item in self.evidence],
            "remedy": one_line(self.remedy),
        }

    def line(self) -> str:
        """The check in one readable line: `id subject: summary (expected …; evidence …). Remedy: …`."""
        inner = []
        if self.expected:
            inner.append("expected %s" % self.expected)
        if self.evidence:
            inner.append("evidence %s" % ", ".join("%s = %s" % (item["source"], _shown(item["value"])) for item in self.evidence))
        text = "%s %s: %s" % (self.id, self.subject, self.summary.rstrip("."))
        if inner:
            text += " (%s)" % "; ".join(inner)
        text += "."
        if self.remedy:
            text += " Remedy: %s" % self.remedy
        return one_line(text)


def _shown(value: t.Any) -> str:
    return "not readable" if value is None else str(value)


def worst(statuses: t.Iterable[str]) -> str:
    """The worst of `statuses` (fail, unknown, warn, pass, skipped in this order); `unknown` when there is none: nothing was checked."""
    found = set(statuses)
    for status in STATUSES:
        if status in found:
            return status
    return UNKNOWN
