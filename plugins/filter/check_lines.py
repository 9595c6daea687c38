# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: check_lines
short_description: Checks as readable lines
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Makes one line of each check, C(id subject; summary, expectation, evidence and remedy), for messages.
options:
  _input:
    description: Checks as the check modules of this collection return them.
    type: list
    elements: dict
    required: true
seealso:
  - plugin: gpuops.fleet.check_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Stop with one line a failing check
  ansible.builtin.fail:
    msg: "{{ result.checks | selectattr('status', 'eq', 'fail') | gpuops.fleet.check_lines | join('\n') }}"
"""

RETURN = r"""
_value:
  description: One line a check, in the order of the input.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.severity import bare


def check_lines(checks: t.Iterable[t.Dict[str, t.Any]]) -> t.List[str]:
    """See DOCUMENTATION."""
    return [as_check(one).line() for one in checks]


def as_check(one: t.Any) -> Check:
    """A check from its dict, or an error that says what is wrong with it."""
    try:
        return bare(one)
    except (TypeError, ValueError, AttributeError) as error:
        raise AnsibleFilterError("not a check of gpuops.fleet (%s): %s" % (error, one)) from error


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"check_lines": check_lines}
