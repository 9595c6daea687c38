# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: check_table
short_description: Checks of one or more hosts as a table
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Makes a table of plain text with a row a check, worst first within a host, and under each row that needs it the remedy.
  - A check that is waived is V(waived), with reason and last day in place of the remedy.
options:
  _input:
    description:
      - Checks as the check modules of this collection return them, as a list for one host,
        or as a dict from the name of a host to its list.
    type: raw
    required: true
  width:
    description: Columns of the table; longer texts continue on the next line.
    type: int
    default: 120
seealso:
  - plugin: gpuops.fleet.check_lines
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the checks of this host
  ansible.builtin.debug:
    msg: "{{ result.checks | gpuops.fleet.check_table }}"

- name: Show the checks of all hosts, in a narrow window
  ansible.builtin.debug:
    msg: "{{ {'gpu1': first.checks, 'gpu2': second.checks} | gpuops.fleet.check_table(width=80) }}"
"""

RETURN = r"""
_value:
  description: The table, lines separated by line breaks, without one at the end.
  type: str
"""

import textwrap
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.severity import STANDINGS, bare, below, standing

GAP = "  "
# Room that a text keeps however long the names beside it are.
LEAST = 30


def check_table(checks: t.Any, width: int = 120) -> str:
    """See DOCUMENTATION."""
    if isinstance(checks, dict):
        blocks = [[str(host)] + [GAP + line for line in _table(listed, width - len(GAP))] for host, listed in checks.items()]
        return "\n\n".join("\n".join(block) for block in blocks)
    return "\n".join(_table(checks, width))


def _table(checks: t.Iterable[t.Any], width: int) -> t.List[str]:
    try:
        rows = [(standing(one), bare(one), below(one)) for one in checks]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise AnsibleFilterError("not a list of checks of gpuops.fleet: %s" % error) from error
    if not rows:
        return ["nothing was checked"]
    rows.sort(key=lambda row: STANDINGS.index(row[0]))
    names = [(status, one.id, one.subject) for status, one, _below_it in rows]
    columns = [max(map(len, texts)) for texts in zip(*names)]
    before = sum(columns) + len(GAP) * len(columns)
    lines: t.List[str] = []
    for texts, (_status, one, below_it) in zip(names, rows):
        head = GAP.join(text.ljust(size) for text, size in zip(texts, columns)) + GAP
        lines.extend(_wrapped(head, " " * before, one.summary, width))
        if below_it:
            lines.extend(_wrapped(" " * before + "-> ", " " * (before + 3), below_it, width))
    return lines


def _wrapped(first: str, rest: str, text: str, width: int) -> t.List[str]:
    return textwrap.wrap(
        text, max(width, len(rest) + LEAST), initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ) or [first.rstrip()]


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"check_table": check_table}
