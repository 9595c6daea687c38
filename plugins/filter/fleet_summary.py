# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_summary
short_description: Checks of all hosts as one summary
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Counts the checks of all hosts, and lists for each check that is not well the hosts and subjects.
options:
  _input:
    description:
      - The reports, one a host, each with C(host), C(checks) as P(gpuops.fleet.check_verdict#filter) returns them, and optionally C(stops), C(errors)
        and C(ended_waivers) from there, and the texts C(gpus), C(driver) and C(facts_date), and whether the facts came C(from_cache).
    type: list
    elements: dict
    required: true
seealso:
  - plugin: gpuops.fleet.check_verdict
    plugin_type: filter
  - plugin: gpuops.fleet.fleet_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Which hosts have a check that is not well
  ansible.builtin.debug:
    msg: "{{ (reports | gpuops.fleet.fleet_summary).findings }}"
"""

RETURN = r"""
_value:
  description: The summary.
  type: dict
  contains:
    status:
      description: The worst status of all hosts.
      type: str
    stops:
      description: Whether a check of any host stops the run, or a host could not be judged.
      type: bool
    hosts:
      description: Name of each host to its C(status), C(stops), C(errors), C(gpus), C(driver), C(facts_date) and C(from_cache).
      type: dict
    counts:
      description: Status to the number of checks, C(waived) too.
      type: dict
    findings:
      description: The checks that are not well, worst first, each with C(id), C(status), and C(hosts), which maps a host to the subjects.
      type: list
      elements: dict
    ended_waivers:
      description: One line a waiver that has ended.
      type: list
      elements: str
"""

import collections
import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import severity

WELL = ("pass", "skipped")
COPIED = ("gpus", "driver", "facts_date", "from_cache")


def fleet_summary(reports: t.Iterable[t.Any]) -> t.Dict[str, t.Any]:
    """See DOCUMENTATION."""
    try:
        return _summary(list(reports))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise AnsibleFilterError("not reports of gpuops.fleet: %s" % error) from error


def _summary(reports: t.Sequence[t.Dict[str, t.Any]]) -> t.Dict[str, t.Any]:
    hosts: t.Dict[str, t.Any] = {}
    counts: t.Counter[str] = collections.Counter()
    findings: t.Dict[t.Tuple[str, str], t.Dict[str, t.List[str]]] = {}
    for one in reports:
        name, checks = str(one["host"]), one.get("checks") or []
        lists = {key: list(one.get(key) or []) for key in ("stops", "errors")}
        hosts[name] = dict({"status": severity.worst(checks)}, **lists, **{key: one.get(key) for key in COPIED})
        for check in checks:
            standing = severity.standing(check)
            counts[standing] += 1
            if standing not in WELL:
                findings.setdefault((standing, check["id"]), {}).setdefault(name, []).append(check["subject"])
    order = sorted(findings, key=lambda key: (severity.STANDINGS.index(key[0]), key[1]))
    return {
        "status": min((host["status"] for host in hosts.values()), key=severity.STANDINGS.index, default="unknown"),
        "stops": any(host["stops"] or host["errors"] for host in hosts.values()),
        "hosts": hosts,
        "counts": {name: counts[name] for name in severity.STANDINGS if counts[name]},
        "findings": [{"id": key[1], "status": key[0], "hosts": findings[key]} for key in order],
        "ended_waivers": list(dict.fromkeys(line for one in reports for line in one.get("ended_waivers") or [])),
    }


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"fleet_summary": fleet_summary}
