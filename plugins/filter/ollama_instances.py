# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ollama_instances
short_description: Which containers instances of Ollama come to
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Chooses the GPUs of every instance, shares them out over its servers, gives each a name and a port, and says which balancers are needed.
  - A wish that the host cannot meet is a line of RV(_value.problems), so that all of them are known before a container is touched.
options:
  _input:
    description: Instances, with the keys of C(ollama_instances) of the role C(gpuops.fleet.ollama).
    type: list
    elements: dict
    required: true
  defaults:
    description: What an instance has that it does not name itself.
    type: dict
    required: true
  devices:
    description: The GPUs of the host, C(ansible_facts.gpu.devices).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show the servers of two replicas
  ansible.builtin.debug:
    msg: >-
      {{ ([{'name': 'chat', 'topology': 'replicas'}] | gpuops.fleet.ollama_instances(
           {'port': 11434, 'bind_address': '127.0.0.1', 'image': 'ollama/ollama:0.17.4'}, ansible_facts.gpu.devices)).servers }}
"""

RETURN = r"""
_value:
  description: The containers.
  type: dict
  contains:
    servers:
      description: One for each server, with the keys of its instance and C(instance), C(name), C(devices), C(uuids), C(address), C(port), C(url), C(balanced).
      type: list
      elements: dict
    balancers:
      description: One for each instance with more than one server, with C(name), C(address), C(port), C(url), C(by_model), C(servers).
      type: list
      elements: dict
    notices:
      description: One line for each setting that is read by nothing.
      type: list
      elements: str
    problems:
      description: One line for each wish that cannot be met.
      type: list
      elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_instances as verdicts


def ollama_instances(instances: t.Any, defaults: t.Any, devices: t.Any) -> t.Dict[str, t.Any]:
    """See DOCUMENTATION."""
    for value, kind in ((instances, list), (defaults, dict), (devices, list)):
        if not isinstance(value, kind):
            raise AnsibleFilterError("gpuops.fleet.ollama_instances: a %s is needed, not %s" % (kind.__name__, type(value).__name__))
    return verdicts.resolve(instances, defaults, devices)


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"ollama_instances": ollama_instances}
