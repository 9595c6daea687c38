# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel log lines → events about GPUs. No input or output here. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import kernel_messages

Entry = t.Dict[str, t.Any]
Event = t.Dict[str, t.Any]

TEXT_LIMIT = 300
# A GPU in trouble can report the same thing for days; the newest ones say all that the older ones do.
LIMIT_PER_FAULT = 10
LIMIT = 200
# Lines that the driver and the kernel write about one thing come within this time.
SAME_EVENT_SECONDS = 2
LONGEST_MESSAGE_LINES = 6
RECOVERY_ACTION_CHANGED = 154

_MESSAGES = [(kind, re.compile(pattern)) for kind, pattern, _source in kernel_messages.MESSAGES]
_CONTINUED = [re.compile(pattern) for pattern in kernel_messages.CONTINUED]
_OWN_MESSAGE = re.compile(r"NVRM: (?:Xid|GPU|API|loading|No|None)\b")


def relevant(text: str) -> bool:
    """Whether `text` can match any message of the catalogue; cheap, for readers of long logs."""
    return any(marker in text for marker in kernel_messages.MARKERS)


def classify(entries: t.Sequence[Entry]) -> t.List[Event]:
    """Events `{kind, bus_address, code, seconds_ago, text}` from `entries` `{seconds_ago, text}`, both oldest first.

    `kind`: see kernel_messages.MESSAGES; `code`: the Xid or the number of the BAR (int), a status or model (str), or None.
    One fault is one event, however many lines tell of it, and what follows from another event of the same GPU is left out.
    """
    events: t.List[Event] = []
    for seconds_ago, text in _joined(entries):
        event = _event(seconds_ago, text)
        if event is None:
            continue
        if event["kind"] == "bar_assigned":
            about = _about(dict(event, kind="bar_unassigned"))
            events = [one for one in events if _about(one) != about]
        elif not any(_about(one) == _about(event) and _near(one, event) for one in events[-LIMIT_PER_FAULT:]):
            events.append(event)
    return _newest(_causes(events))


def _joined(entries: t.Sequence[Entry]) -> t.Iterator[t.Tuple[float, str]]:
    """Each message in one line: the lines of one entry, and the entries that go on with what an earlier one began."""
    waiting: t.Optional[t.Tuple[float, str, int]] = None
    for entry in entries:
        lines = [line.strip() for line in str(entry.get("text") or "").splitlines() if line.strip()]
        for number, line in enumerate(lines):
            seconds_ago = _seconds(entry)
            follows = number > 0 or line.startswith("NVRM:")
            if waiting is not None:
                text, count = "%s %s" % (waiting[1], re.sub(r"^NVRM:\s*", "", line)), waiting[2] + 1
                if follows and not _begins(line) and not _OWN_MESSAGE.match(line):
                    whole = _kind(text) is not None or count >= LONGEST_MESSAGE_LINES
                    if whole:
                        yield waiting[0], text
                    waiting = None if whole else (waiting[0], text, count)
                    continue
                yield waiting[0], waiting[1]
                waiting = None
            if _begins(line) and _kind(line) is None:
                waiting = (seconds_ago, line, 1)
            else:
                yield seconds_ago, line
    if waiting is not None:
        yield waiting[0], waiting[1]


def _seconds(entry: Entry) -> float:
    value = entry.get("seconds_ago")
    return max(0, value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0


def _begins(line: str) -> bool:
    return any(pattern.search(line) for pattern in _CONTINUED)


def _kind(text: str) -> t.Optional[t.Tuple[str, t.Dict[str, t.Optional[str]]]]:
    for kind, pattern in _MESSAGES:
        match = pattern.search(text)
        if match:
            return kind, match.groupdict()
    return None


def _event(seconds_ago: float, text: str) -> t.Optional[Event]:
    found = _kind(text)
    if found is None:
        return None
    kind, parts = found
    code: t.Any = parts.get("bar") or parts.get("code")
    if code is not None and re.match(r"[0-9]{1,9}\Z", code):
        code = int(code)
    return {
        "kind": kind,
        "bus_address": bus_address(parts.get("address")),
        "code": code,
        "seconds_ago": seconds_ago,
        "text": " ".join(text.split())[:TEXT_LIMIT],
    }


def bus_address(text: t.Optional[str]) -> t.Optional[str]:
    """`text` as sysfs writes it: lower case, a domain of four digits or more, with a function; Xid messages leave the function out."""
    if not text:
        return None
    domain, bus, device = text.lower().split(":")
    return "%04x:%s:%s" % (int(domain, 16), bus, device if "." in device else device + ".0")


def _about(event: Event) -> t.Tuple[t.Any, ...]:
    # What Xid 154 asks for is in its text.
    return event["kind"], event["bus_address"], event["code"], event["text"] if event["code"] == RECOVERY_ACTION_CHANGED else ""


def _near(one: Event, other: Event) -> bool:
    return abs(one["seconds_ago"] - other["seconds_ago"]) <= SAME_EVENT_SECONDS


def _causes(events: t.List[Event]) -> t.List[Event]:
    """`events` without those that another one about the same GPU explains."""
    kept: t.List[Event] = []
    for event in events:
        others = [one for one in events if one["bus_address"] == event["bus_address"] and one is not event]
        lost_twice = event["kind"] == "lost" and any((one["kind"], one["code"]) == ("xid", 79) and _near(one, event) for one in others)
        if not lost_twice and not any(one["kind"] in kernel_messages.CONSEQUENCES.get(event["kind"], ()) for one in others):
            kept.append(event)
    return kept


def _newest(events: t.List[Event]) -> t.List[Event]:
    seen: t.Dict[t.Any, int] = {}
    kept: t.List[Event] = []
    for event in reversed(events):
        seen[_about(event)] = seen.get(_about(event), 0) + 1
        if seen[_about(event)] <= LIMIT_PER_FAULT and len(kept) < LIMIT:
            kept.append(event)
    return kept[::-1]
