# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: select_gpus
short_description: UUIDs of the GPUs that a choice means
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Turns a choice of GPUs into UUIDs, which name the same GPUs after a reboot and after a card was added. Indices do not.
  - A choice that this host cannot meet is an error of one line, before anything is touched, for example with an index that is not there, a lost GPU,
    a model that is not there, too few GPUs, or a GPU that another container holds.
options:
  _input:
    description: GPUs of the host, C(ansible_facts.gpu.devices) as M(gpuops.fleet.gpu_facts) returns them.
    type: list
    elements: dict
    required: true
  wish:
    description:
      - V(all), nothing, or an empty list or dictionary, for every GPU.
      - A list of NVML indices and UUIDs.
      - A dictionary with one of V(all) (true), V(uuids) (list), V(indices) (list), V(model) (a regular expression that is found in the product name,
        whatever its case) and V(count) (the first free ones, by index). V(model) and V(count) can be given together, and so can V(uuids) and V(indices).
      - A count passes over GPUs that are held or do not work. With every other choice, each GPU that it means must be free and work.
    type: raw
  exclusive_held:
    description: GPUs that other containers have for themselves, as UUID and name of the container.
    type: dict
    default: {}
  before_driver:
    description:
      - Accept GPUs that wait for their driver. Nobody knows their UUIDs yet, so the answer lacks them.
      - For checking a choice before the driver is installed.
    type: bool
    default: false
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.gpu_container_check
"""

EXAMPLES = r"""
- name: Both Tesla P40, whatever their indices are
  ansible.builtin.set_fact:
    server_uuids: "{{ ansible_facts.gpu.devices | gpuops.fleet.select_gpus({'model': 'P40', 'count': 2}) }}"

- name: A GPU that no other server uses
  ansible.builtin.set_fact:
    server_uuids: >-
      {{ ansible_facts.gpu.devices | gpuops.fleet.select_gpus({'count': 1}, exclusive_held={'GPU-11111111-2222-3333-4444-555555555555': 'chat'}) }}
"""

RETURN = r"""
_value:
  description: UUIDs, sorted.
  type: list
  elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import gpu_selection


def select_gpus(devices: t.Any, wish: t.Any = None, exclusive_held: t.Any = None, before_driver: bool = False) -> t.List[str]:
    """See DOCUMENTATION."""
    if not isinstance(devices, (list, tuple)) or not all(isinstance(device, t.Mapping) for device in devices):
        raise AnsibleFilterError("gpuops.fleet.select_gpus: give it ansible_facts.gpu.devices as gpuops.fleet.gpu_facts returned it")
    if not isinstance(exclusive_held or {}, t.Mapping):
        raise AnsibleFilterError("gpuops.fleet.select_gpus: exclusive_held is a dictionary of UUID and container, not %s" % type(exclusive_held).__name__)
    try:
        return gpu_selection.select(devices, wish, exclusive_held, before_driver)
    except PolicyError as error:
        raise AnsibleFilterError(error.message) from error


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"select_gpus": select_gpus}
