#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_container_check
short_description: Check that a container runs with exactly the GPUs asked for
description:
  - Looks from inside the container, with C(nvidia-smi), because what Docker was asked for is not what a process can use.
    A container can lose its GPUs while it runs, and still look healthy from outside.
  - C(container.running) tells whether the container runs and its health check, if it has one, passes.
  - C(container.gpus) compares the set of GPU UUIDs inside with O(expected_uuids), and sees a GPU that does not answer any more.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
requirements:
  - The C(docker) command on the target
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - This module only judges and changes nothing, so it does the same in check mode.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
    support: N/A
    details:
      - This module does not change state.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
    support: full
    details:
      - This module never reports a change.
options:
  container:
    description: Name or id of the container.
    type: str
    required: true
  expected_uuids:
    description:
      - UUIDs of the GPUs that must be inside, in any order. Missing ones are a failure, and so are others.
      - An empty list means that there must be none.
    type: list
    elements: str
    required: true
  timeout_seconds:
    description: Longest time that one command may take, in seconds. A command that takes longer makes its check V(unknown).
    type: float
    default: 30
  fail_on:
    description:
      - The task fails when a check ends with one of these statuses.
      - An empty list makes the task report only.
    type: list
    elements: str
    choices: [fail, unknown, warn, pass, skipped]
    default: [fail]
seealso:
  - module: gpuops.fleet.ollama_placement_check
"""

EXAMPLES = r"""
- name: Check that the container has all GPUs of the server
  gpuops.fleet.gpu_container_check:
    container: ollama
    expected_uuids: "{{ ansible_facts.gpu.devices | map(attribute='uuid') }}"

- name: Accept no unknown either
  gpuops.fleet.gpu_container_check:
    container: ollama
    expected_uuids:
      - GPU-11111111-2222-3333-4444-555555555555
    fail_on: [fail, unknown]
"""

RETURN = r"""
checks:
  description: One entry a check, in the order of checking.
  returned: always, except when a parameter is not valid
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      sample: container.gpus
    subject:
      description: The container.
      type: str
      sample: ollama
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: fail
    summary:
      description: What is true, in one line.
      type: str
      sample: "the container has 0 of 1 GPUs: missing GPU-11111111-2222-3333-4444-555555555555"
    expected:
      description: What the rule wants.
      type: str
      sample: "GPU-11111111-2222-3333-4444-555555555555"
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: "docker exec ollama nvidia-smi --query-gpu=uuid,temperature.gpu --format=csv,noheader"
        value:
          description: What was there.
          type: raw
          sample: "no GPU"
    remedy:
      description: What to do; empty when there is nothing to do.
      type: str
      sample: "it runs under runtime nvidia, where NVIDIA_VISIBLE_DEVICES selects the GPUs; correct that and recreate the container"
status:
  description: The worst status; the order is V(fail), V(unknown), V(warn), V(pass), V(skipped).
  returned: always, except when a parameter is not valid
  type: str
  sample: fail
msg:
  description: The statuses counted, and one line a check that is neither V(pass) nor V(skipped). On failure, one line a check that made the task fail.
  returned: always
  type: str
  sample: 2 pass
uuids:
  description: UUIDs of the GPUs inside the container; null when they could not be read.
  returned: always, except when a parameter is not valid
  type: list
  elements: str
  sample: [GPU-11111111-2222-3333-4444-555555555555]
"""

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import containers as evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FAIL_ON_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import containers as verdicts

ARGUMENTS = {
    "container": {"type": "str", "required": True},
    "expected_uuids": {"type": "list", "elements": "str", "required": True},
    "timeout_seconds": {"type": "float", "default": 30},
}


def check(fleet: FleetModule) -> None:
    """Read the container, judge, end the task."""
    container, limit = fleet.params["container"], fleet.params["timeout_seconds"]
    state = evidence.inspect(fleet.run_command, container, limit)
    gpus = evidence.gpus(fleet.run_command, container, limit) if state.get("running") else None
    checks = verdicts.check(state, gpus, container, fleet.params["expected_uuids"])
    fleet.finish_checks(checks, uuids=gpus["uuids"] if gpus else None)


def main() -> None:
    """Run the module."""
    FleetModule(dict(ARGUMENTS, **FAIL_ON_ARGUMENTS)).run(check)


if __name__ == "__main__":
    main()
