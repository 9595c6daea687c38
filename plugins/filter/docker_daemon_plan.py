# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: docker_daemon_plan
short_description: What it takes to have settings in Docker's daemon.json
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Merges settings into the text of a C(daemon.json) and tells whether the file changes, and whether a running daemon takes the change over
    on a reload or has to be restarted.
  - Keys of other people stay, in their order. A file that is not understood is reported in RV(_value.problem) and returned as it is.
options:
  _input:
    description: Text of the file; V(none) or an empty text when there is no file.
    type: str
    required: true
  settings:
    description: Settings to have in the file. Dictionaries are merged, everything else replaces what is there, and null removes a key.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: What a smaller log takes
  ansible.builtin.debug:
    msg: "{{ lookup('ansible.builtin.file', 'daemon.json') | gpuops.fleet.docker_daemon_plan({'log-opts': {'max-size': '20m'}}) }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
  contains:
    text:
      description: What the file has to hold, and what it holds when nothing changes.
      type: str
    changed:
      description: Whether the file has to be written.
      type: bool
    action:
      description: What the daemon needs, V(none), V(reload) or V(restart).
      type: str
    reload_keys:
      description: Keys that change and that a reload takes over.
      type: list
      elements: str
    restart_keys:
      description: Keys that change and need a restart.
      type: list
      elements: str
    problem:
      description: Why the file is not understood; empty when it is.
      type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import daemon_json


def docker_daemon_plan(text: t.Any, settings: t.Any) -> t.Dict[str, t.Any]:
    """See DOCUMENTATION."""
    if not isinstance(settings, t.Mapping):
        raise AnsibleFilterError("gpuops.fleet.docker_daemon_plan: a dictionary of settings is needed, not %s" % type(settings).__name__)
    return daemon_json.plan(None if text is None else str(text), settings)


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"docker_daemon_plan": docker_daemon_plan}
