# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Xids of a GPU ask for. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import xids as catalog
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence, worst
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_events import FELL_OFF, LOG, Event, code_of, shown, when

# One message in two lines, or the same error of several engines at a stroke, is one event.
SAME_EVENT_SECONDS = 1.0
# Xid → checks that judge the same fault by the state that it leaves behind. When one of them fails for the GPU, it has the say.
SAME_FAULT = {
    48: ("gpu.ecc_errors",),
    63: ("gpu.retired_pages", "gpu.remapped_rows"),
    64: ("gpu.retired_pages", "gpu.remapped_rows"),
    74: ("gpu.nvlink",),
    FELL_OFF: ("gpu.lost",),
    94: ("gpu.ecc_errors",),
    95: ("gpu.ecc_errors",),
    136: ("gpu.nvlink",),
    140: ("gpu.ecc_errors",),
    156: ("gpu.retired_pages", "gpu.remapped_rows"),
}
# An application's fault is no fault of the GPU: a warning. The power check judges power, and fails.
STATUSES = {catalog.APPLICATION: WARN, catalog.INFORMATION: PASS, catalog.GPU: FAIL, catalog.MACHINE: FAIL, catalog.POWER: WARN}


def judge(name: str, who: str, wanted: str, reported: t.Sequence[Event], failed: t.Collection[str]) -> Check:
    """The check `name` of the GPU at `who` from its Xid events (at least one). `failed`: ids of the checks that fail for this GPU."""
    reports = _reports(reported)
    own: t.List[t.Dict[str, t.Any]] = []
    elsewhere: t.List[str] = []
    for report in reports:
        others = [check for check in SAME_FAULT.get(report["code"], ()) if check in failed]
        if others:
            elsewhere.append("Xid %d belongs to %s" % (report["code"], others[0]))
        else:
            own.append(report)
    if elsewhere and not own:
        return Check(name, who, SKIPPED, "%s, which fails" % "; ".join(elsewhere), wanted, [evidence(LOG, shown(one["last"])) for one in reports])
    status = worst(report["status"] for report in own)
    seen = [evidence(LOG, shown(report["last"])) for report in own]
    if status == PASS:
        return Check(name, who, PASS, "nothing to act on: %s" % "; ".join(report["summary"] for report in own), wanted, seen)
    own.sort(key=lambda report: (report["status"] != FAIL, report["status"] != UNKNOWN, report["code"]))
    remedies: t.List[str] = []
    for report in own:
        if report["status"] != PASS and report["remedy"] not in remedies:
            remedies.append(report["remedy"])
    return Check(name, who, status, "; ".join(report["summary"] for report in own), wanted, seen, ". ".join(remedies) + ".")


def _reports(found: t.Sequence[Event]) -> t.List[t.Dict[str, t.Any]]:
    """One entry a code: `code`, `status`, `summary`, `remedy` and its `last` event."""
    by_code: t.Dict[int, t.List[Event]] = {}
    for event in found:
        by_code.setdefault(code_of(event), []).append(event)
    reports = []
    for code in sorted(by_code):
        newest_first = sorted(by_code[code], key=_age)
        times = [_age(event) for event in newest_first]
        count = 1 + sum(later - earlier > SAME_EVENT_SECONDS for earlier, later in zip(times, times[1:]))
        last = newest_first[0]
        name, severity, action = meaning(code, known.text(last.get("text")) or "")
        summary = "Xid %s%s: %s%s" % (code if code >= 0 else "without a number", " (%d times)" % count if count > 1 else "", name, when(last))
        reports.append({"code": code, "status": STATUSES.get(severity or "", UNKNOWN), "summary": summary, "remedy": action, "last": last})
    return reports


def _age(event: Event) -> float:
    return known.number(event.get("seconds_ago")) or 0.0


def meaning(code: int, text: str) -> t.Tuple[str, t.Optional[str], str]:
    """Name, severity (None: not in the catalogue) and action of an Xid. Xid 154 says in its text what the driver asks for."""
    action = re.search(catalog.RECOVERY_ACTION, text) if code == 154 else None
    if action:
        asked = action.group("action")
        severity, remedy = catalog.RECOVERY_ACTIONS.get(asked.lower(), (catalog.GPU, "Do what the driver asks for: %s" % asked))
        return "the driver asks for: %s" % asked, severity, remedy
    row = catalog.XIDS.get(code)
    if row is None:
        row = next(((name, bucket, None) for codes, name, bucket in catalog.ENGINES if code in codes), None)
    if row is None:
        return "not in the catalogue of %s" % catalog.DATE, None, "Look the number up in NVIDIA's current Xid catalogue"
    severity, remedy = catalog.BUCKETS[row[1]]
    return row[0], severity, remedy
