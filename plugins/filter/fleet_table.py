# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_table
short_description: Checks of all hosts in one table, worst first
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Makes plain text of the reports of all hosts. First one line a host, then one line a check and host for what is not well, with the remedy once
    below the lines that share it, then what is well, by check, with the number of times.
  - A check that is waived is V(waived), with reason and last day in place of the remedy.
options:
  _input:
    description: The reports, one a host, as RV(gpuops.fleet.fleet_summary#filter:_value.hosts) is made of.
    type: list
    elements: dict
    required: true
  width:
    description: Columns of the table; longer texts continue on the next line.
    type: int
    default: 120
seealso:
  - plugin: gpuops.fleet.fleet_summary
    plugin_type: filter
  - plugin: gpuops.fleet.check_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show two hosts
  ansible.builtin.debug:
    msg: "{{ [first, second] | gpuops.fleet.fleet_table(width=100) }}"
  vars:
    first: {host: gpu1, checks: "{{ one.checks }}"}
    second: {host: gpu2, checks: [], errors: ["not checked: no route to host"]}
"""

RETURN = r"""
_value:
  description: The text, lines separated by line breaks, without one at the end.
  type: str
"""

import collections
import textwrap
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import severity

GAP = "  "
# Room that a text keeps however long the names beside it are.
LEAST = 30
WELL = ("pass", "skipped")


def fleet_table(reports: t.Iterable[t.Any], width: int = 120) -> str:
    """See DOCUMENTATION."""
    try:
        listed = sorted(reports, key=lambda one: (severity.STANDINGS.index(host_status(one)), str(one["host"])))
        parts = [_hosts(listed, width), _findings(listed, width), _well(listed, width), _notes(listed, width)]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise AnsibleFilterError("not reports of gpuops.fleet: %s" % error) from error
    return "\n\n".join("\n".join(part) for part in parts if part)


def host_status(report: t.Dict[str, t.Any]) -> str:
    """The worst standing of a host's checks."""
    return severity.worst(report.get("checks") or [])


def _hosts(reports: t.Sequence[t.Dict[str, t.Any]], width: int) -> t.List[str]:
    if not reports:
        return ["no host"]
    rows = []
    for one in reports:
        counts = collections.Counter(severity.standing(check) for check in one.get("checks") or [])
        texts = [one.get("gpus"), one.get("driver"), ", ".join("%d %s" % (counts[name], name) for name in severity.STANDINGS if counts[name])]
        if one.get("from_cache"):
            texts.append("cached facts of %s" % (one.get("facts_date") or "a day that is not known"))
        rows.append(((host_status(one), str(one["host"]), "; ".join(filter(None, texts)) or "not checked"), list(one.get("errors") or [])))
    return _aligned(rows, width)


def _findings(reports: t.Sequence[t.Dict[str, t.Any]], width: int) -> t.List[str]:
    rows = []
    for one in reports:
        for check in one.get("checks") or []:
            name = severity.standing(check)
            if name not in WELL:
                rows.append(((name, check["id"], str(one["host"]), check["subject"], severity.bare(check).summary), [severity.below(check)]))
    rows.sort(key=lambda row: (severity.STANDINGS.index(row[0][0]), row[0][1], row[1]))
    # A remedy that lines share is told below the last of them.
    shared = [(row[1], below) for row, below in rows[1:]] + [("", [])]
    return _aligned([(row, [] if (row[1], below) == following else below) for (row, below), following in zip(rows, shared)], width)


def _well(reports: t.Sequence[t.Dict[str, t.Any]], width: int) -> t.List[str]:
    lines: t.List[str] = []
    for name in WELL:
        counts = collections.Counter(check["id"] for one in reports for check in one.get("checks") or [] if severity.standing(check) == name)
        if counts:
            head = name.ljust(max(map(len, severity.STANDINGS))) + GAP
            lines.extend(_wrapped(head, " " * len(head), ", ".join("%s (%d)" % pair for pair in sorted(counts.items())), width))
    return lines


def _notes(reports: t.Sequence[t.Dict[str, t.Any]], width: int) -> t.List[str]:
    notes = dict.fromkeys(str(line) for one in reports for line in one.get("ended_waivers") or [])
    return [line for note in notes for line in _wrapped("", GAP, note, width)]


def _aligned(rows: t.Sequence[t.Tuple[t.Sequence[str], t.Sequence[str]]], width: int) -> t.List[str]:
    if not rows:
        return []
    number = len(rows[0][0]) - 1
    columns = [max(len(row[index]) for row, _below_it in rows) for index in range(number)]
    columns[0] = max(columns[0], *map(len, severity.STANDINGS))
    before = sum(columns) + len(GAP) * number
    lines: t.List[str] = []
    for row, below in rows:
        head = GAP.join(text.ljust(size) for text, size in zip(row, columns)) + GAP
        lines.extend(_wrapped(head, " " * before, row[-1], width))
        for text in below:
            lines.extend(_wrapped(" " * before + "-> ", " " * (before + 3), text, width))
    return lines


def _wrapped(first: str, rest: str, text: str, width: int) -> t.List[str]:
    room = max(width, len(rest) + LEAST)
    lines = textwrap.wrap(text, room, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False)
    return lines or [first.rstrip()]


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"fleet_table": fleet_table}
