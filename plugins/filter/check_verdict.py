# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: check_verdict
short_description: Which checks stop a run
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Puts the results of check modules together, marks checks that are waived, and tells which ones stop the run.
  - A check module that failed is an entry of RV(_value.errors); what the others found stays.
options:
  _input:
    description: Results of check modules of this collection, as registered.
    type: list
    elements: dict
    required: true
  today:
    description: The day for which waivers are judged, as YYYY-MM-DD.
    type: str
    required: true
  fail_on:
    description: Statuses that stop the run.
    type: list
    elements: str
    default: [fail]
  severity:
    description: Statuses that stop the run, by id of the check; they take the place of O(fail_on) for this check.
    type: dict
    default: {}
  waivers:
    description:
      - Checks that may fail for a time, each with C(check) (its id), C(reason), C(until) (the last day, as YYYY-MM-DD), and C(subject) where it is
        for one subject only.
    type: list
    elements: dict
    default: []
  prefix:
    description: What the names of these options begin with in error messages.
    type: str
    default: ""
  names:
    description: Options of the check modules to the names under which the user knows them, for error messages.
    type: dict
    default: {}
seealso:
  - plugin: gpuops.fleet.check_lines
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Stop, unless what fails is waived
  ansible.builtin.assert:
    that: verdict.stops + verdict.errors == []
    fail_msg: "{{ (verdict.stops + verdict.errors) | join('\n') }}"
  vars:
    verdict: "{{ [firmware, power] | gpuops.fleet.check_verdict(today=now().strftime('%Y-%m-%d'), waivers=waivers) }}"
    waivers:
      - {check: firmware.aspm, reason: the next firmware fixes it, until: "2027-03-31"}
"""

RETURN = r"""
_value:
  description: The verdict.
  type: dict
  contains:
    checks:
      description:
        - All checks. One that is waived has C(waiver), one whose waiver has ended has C(ended_waiver), both with C(reason) and C(until).
      type: list
      elements: dict
    status:
      description: The worst status, where a waived check counts as V(waived), between V(warn) and V(pass).
      type: str
    health:
      description: The same of the checks C(gpu.*) alone.
      type: str
    stops:
      description: One line a check that stops the run.
      type: list
      elements: str
    errors:
      description: One line for what could not be judged, and for each option that makes no sense.
      type: list
      elements: str
    ended_waivers:
      description: One line a waiver that has ended.
      type: list
      elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import severity as severities


def check_verdict(results: t.Iterable[t.Any], names: t.Optional[t.Dict[str, str]] = None, *, today: str, **policy: t.Any) -> t.Dict[str, t.Any]:
    """See DOCUMENTATION; `today` and `policy` as in `Policy`."""
    try:
        return severities.judge(results, severities.Policy(today=today, **policy), names)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise AnsibleFilterError("not results of check modules of gpuops.fleet: %s" % error) from error


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"check_verdict": check_verdict}
