# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which checks stop a run, by severity and waivers. Private to gpuops.fleet: the names may change in any release.

A check that is waived keeps its status and gets the key `waiver`, one whose waiver has ended the key `ended_waiver`; both {reason, until}.
"""

from __future__ import annotations

import calendar
import difflib
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.check_ids import PREFLIGHT, PROOFS
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PASS, SKIPPED, STATUSES, UNKNOWN, WARN, Check, one_line

Dict = t.Dict[str, t.Any]

WAIVED = "waived"
MARKS = ("waiver", "ended_waiver")
# Worst first. What is waived is known and accepted: better than what nobody has looked at, worse than what is well.
STANDINGS = STATUSES[: STATUSES.index(WARN) + 1] + (WAIVED,) + STATUSES[STATUSES.index(WARN) + 1 :]
WAIVER_KEYS = ("check", "subject", "reason", "until")


class Policy:
    """What the user says of severity. What makes no sense is left out and named in `errors`, one line each; nothing is raised for it.

    `fail_on`: statuses that stop a run. `severity`: id → statuses that stop for this check. `waivers`: [{check, subject, reason, until}].
    `today`: YYYY-MM-DD; a waiver counts until the end of its day. `prefix`: what the names of the options begin with in messages.
    """

    def __init__(self, *, today: str, fail_on: t.Any = ("fail",), severity: t.Any = None, waivers: t.Any = (), prefix: str = ""):
        if not is_date(today):
            raise ValueError("today is %r" % (today,))
        self.errors: t.List[str] = []
        self.today, self._prefix = today, prefix
        self.fail_on = self._statuses("fail_on", fail_on)
        self.severity: t.Dict[str, t.List[str]] = self._severities({} if severity is None else severity)
        self.waivers: t.List[Dict] = self._waivers(() if waivers is None else waivers)

    def stops(self, check: Dict) -> bool:
        """Whether a check stops the run."""
        return "waiver" not in check and check["status"] in self.severity.get(check["id"], self.fail_on)

    def marked(self, check: Dict) -> Dict:
        """The check with its waiver, or the one that has ended."""
        if check["status"] in (PASS, SKIPPED):
            return check
        found = [one for one in self.waivers if one["check"] == check["id"] and one["subject"] in (None, check["subject"].lower())]
        if not found:
            return check
        last = max(found, key=lambda one: one["until"])
        return dict(check, **{"waiver" if last["until"] >= self.today else "ended_waiver": {key: last[key] for key in ("reason", "until")}})

    def ended(self) -> t.List[str]:
        """One line a waiver that has ended."""
        lines = []
        for one in self.waivers:
            if one["until"] < self.today:
                what = one["check"] if one["subject"] is None else "%s on %s" % (one["check"], one["subject"])
                lines.append("%s: the waiver of %s ended on %s and counts no more (its reason: %s)" % (one["option"], what, one["until"], one["reason"]))
        return lines

    def _error(self, option: str, text: str) -> None:
        self.errors.append(one_line("%s%s %s" % (self._prefix, option, text)))

    def _statuses(self, option: str, given: t.Any) -> t.List[str]:
        if not isinstance(given, (list, tuple)):
            self._error(option, "is %s: it must be a list of %s" % (_shown(given), ", ".join(STATUSES)))
            return ["fail"]
        for one in given:
            if one not in STATUSES:
                self._error(option, "has %s: the statuses are %s" % (_shown(one), ", ".join(STATUSES)))
        return [one for one in given if one in STATUSES]

    def _severities(self, given: t.Any) -> t.Dict[str, t.List[str]]:
        if not isinstance(given, dict):
            self._error("severity", "is %s: it must map ids of checks to lists of statuses" % _shown(given))
            return {}
        return {name: self._statuses("severity['%s']" % name, statuses) for name, statuses in given.items() if self._known("severity", name)}

    def _waivers(self, given: t.Any) -> t.List[Dict]:
        if not isinstance(given, (list, tuple)):
            self._error("waivers", "is %s: it must be a list of {check, subject, reason, until}" % _shown(given))
            return []
        return [one for one in (self._waiver("waivers[%d]" % number, item) for number, item in enumerate(given)) if one is not None]

    def _waiver(self, option: str, given: t.Any) -> t.Optional[Dict]:
        if not isinstance(given, dict):
            self._error(option, "is %s: it must have check, reason and until" % _shown(given))
            return None
        before = len(self.errors)
        for key in sorted(set(map(str, given)) - set(WAIVER_KEYS)):
            self._error(option, "has %s: a waiver has %s" % (key, ", ".join(WAIVER_KEYS)))
        self._known(option + ".check", given.get("check"))
        # YAML reads a date without quotes as a date.
        subject, reason, until = (None if given.get(key) is None else one_line(given[key]) for key in ("subject", "reason", "until"))
        if not reason:
            self._error(option + ".reason", "is missing: say why the check may fail")
        if until is None or not is_date(until):
            self._error(option + ".until", "is %s: it must be the last day of the waiver, written YYYY-MM-DD" % _shown(until))
        if len(self.errors) > before:
            return None
        return {
            "option": self._prefix + option, "check": given["check"], "subject": subject.lower() if subject else None, "reason": reason, "until": until,
        }  # fmt: skip

    def _known(self, option: str, name: t.Any) -> bool:
        if isinstance(name, str) and name in PREFLIGHT:
            return True
        if name in PROOFS:
            self._error(option, "names %s, which proves what was done: it cannot be waived before" % name)
        elif name is None:
            self._error(option, "is missing: name the check")
        else:
            close = difflib.get_close_matches(str(name), PREFLIGHT, 1)
            self._error(option, "names %s: no check has this id%s" % (_shown(name), " (did you mean %s?)" % close[0] if close else ""))
        return False


def judge(results: t.Iterable[t.Any], policy: Policy, names: t.Optional[t.Dict[str, str]] = None) -> Dict:
    """Put the answers of check modules together.

    `results`: what check modules returned, failed ones too. `names`: option of a module → name under which the user knows it.
    Returns `checks` (marked), `status` (the worst standing), `health` (that of the checks gpu.*), `stops` (lines that end the run),
    `ended_waivers` and `errors` (one line each; errors stop as well).
    """
    checks: t.List[Dict] = []
    errors = list(policy.errors)
    for result in results:
        if isinstance(result, dict) and isinstance(result.get("checks"), list):
            checks.extend(policy.marked(one) for one in result["checks"])
        elif not (isinstance(result, dict) and result.get("skipped")):
            errors.append(failure(result, names or {}))
    stops = []
    for one in checks:
        if policy.stops(one):
            ended = one.get("ended_waiver")
            stops.append(bare(one).line() + (" Its waiver ended on %s (%s)." % (ended["until"], ended["reason"]) if ended else ""))
    return {
        "checks": checks, "status": worst(checks), "health": worst(one for one in checks if one["id"].startswith("gpu.")), "stops": stops,
        "ended_waivers": policy.ended(), "errors": errors,
    }  # fmt: skip


def failure(result: t.Any, names: t.Dict[str, str]) -> str:
    """Why a module gave no checks, in one line that begins with the user's name of the option where the module names one."""
    given = result if isinstance(result, dict) else {}
    text = one_line(given.get("msg") or given.get("module_stderr") or "a check module returned nothing")
    error = given.get("error")
    option = error.get("option") if isinstance(error, dict) else None
    if not option:
        return text
    name = names.get(option, option)
    return name + text[len(option) :] if text.startswith(option) else "%s: %s" % (name, text)


def bare(check: t.Any) -> Check:
    """The check without its marks; ValueError or TypeError for what is none."""
    return Check(**{key: value for key, value in dict(check).items() if key not in MARKS})


def standing(check: Dict) -> str:
    """The status of a check, or `waived`."""
    return WAIVED if check.get("waiver") else check["status"]


def below(check: Dict) -> str:
    """What a report says below a check: the remedy, or why and how long it is waived."""
    if check.get("waiver"):
        return "waived until %s: %s" % (check["waiver"]["until"], check["waiver"]["reason"])
    ended = check.get("ended_waiver")
    return check["remedy"] + (" (Its waiver ended on %s: %s)" % (ended["until"], ended["reason"]) if ended else "")


def worst(checks: t.Iterable[Dict]) -> str:
    """The worst standing of `checks`; `unknown` when nothing was checked."""
    return min((standing(one) for one in checks), key=STANDINGS.index, default=UNKNOWN)


def is_date(text: t.Any) -> bool:
    """Whether `text` is a day of the calendar, written YYYY-MM-DD."""
    found = re.match(r"([0-9]{4})-([0-9]{2})-([0-9]{2})\Z", str(text))
    if not found:
        return False
    year, month, day = map(int, found.groups())
    return year > 0 and 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def _shown(value: t.Any) -> str:
    return "missing" if value is None else "'%s'" % one_line(value)
