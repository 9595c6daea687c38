#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_health_check
short_description: Check that all GPUs are there, seen by the driver and alike
description:
  - C(gpu.count) compares the NVIDIA GPUs on the PCI bus, driver or not, with the expected number.
  - C(gpu.visible) tells for each GPU whether the driver sees it. It is V(skipped) as long as no driver is loaded.
  - C(gpu.uniform) tells for each model whether all its GPUs run one VBIOS version.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
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
  expected_count:
    description:
      - How many GPUs the host is to have.
      - When omitted, at least one.
    type: int
  facts:
    description:
      - The facts to judge, as M(gpuops.fleet.gpu_facts) returned them in C(ansible_facts.gpu).
      - When omitted, they are read now.
    type: dict
  fail_on:
    description:
      - The task fails when a check ends with one of these statuses.
      - An empty list makes the task report only.
    type: list
    elements: str
    choices: [fail, unknown, warn, pass, skipped]
    default: [fail]
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.nvidia_driver_check
"""

EXAMPLES = r"""
- name: Check that both GPUs are there, reading the facts now
  gpuops.fleet.gpu_health_check:
    expected_count: 2

- name: Gather facts once
  gpuops.fleet.gpu_facts:

- name: Judge gathered facts, and fail on what could not be seen too
  gpuops.fleet.gpu_health_check:
    facts: "{{ ansible_facts.gpu }}"
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
      sample: gpu.count
    subject:
      description: V(host), a bus address or the name of a model.
      type: str
      sample: "host"
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: pass
    summary:
      description: What is true, in one line.
      type: str
      sample: 2 GPUs on the PCI bus
    expected:
      description: What the rule wants.
      type: str
      sample: 2 GPUs
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: sysfs:/sys/bus/pci/devices
        value:
          description: What was there.
          type: raw
          sample: "2 GPUs"
    remedy:
      description: What to do; empty when there is nothing to do.
      type: str
      sample: ""
status:
  description: The worst status; the order is V(fail), V(unknown), V(warn), V(pass), V(skipped).
  returned: always, except when a parameter is not valid
  type: str
  sample: pass
msg:
  description: The statuses counted, and one line a check that is neither V(pass) nor V(skipped). On failure, one line a check that made the task fail.
  returned: always
  type: str
  sample: 3 pass
error:
  description: Set when the task failed for another reason than a check.
  returned: on such a failure
  type: dict
  contains:
    kind:
      description: Class of the error, V(policy) for a parameter that makes no sense.
      type: str
      sample: policy
"""

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.now import read_now
from ansible_collections.gpuops.fleet.plugins.module_utils._module import CHECK_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health


def check(fleet: FleetModule) -> None:
    """Judge the GPUs and end the task."""
    fleet.finish_checks(health.check(fleet.facts(read_now), fleet.params["expected_count"]))


def main() -> None:
    """Run the module."""
    FleetModule(dict(CHECK_ARGUMENTS, expected_count={"type": "int"})).run(check)


if __name__ == "__main__":
    main()
