#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_check
short_description: Prove which NVIDIA driver runs
description:
  - C(driver.loaded) tells which driver is loaded and compares it with the expected one.
  - C(driver.consistent) tells whether the loaded kernel module, the NVML library and the module on disk for the running kernel have one version.
  - C(driver.gpus) tells whether the driver sees the GPUs.
  - Made to be called after a driver was changed, with facts read afresh.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
  - gpuops.fleet.checks.facts
options:
  expected_version:
    description:
      - The driver that is to be loaded, as a whole version (V(580.95.05)) or as a branch (V(580)).
      - When omitted, any driver will do.
    type: str
  expected_flavor:
    description:
      - The flavour of kernel modules that is to be loaded.
      - When omitted, either will do.
    type: str
    choices: [proprietary, open]
  expected_count:
    description:
      - How many GPUs the driver is to see.
      - When omitted, all GPUs on the PCI bus.
    type: int
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.nvidia_driver_plan
"""

EXAMPLES = r"""
- name: Prove that the branch asked for is loaded and sees both GPUs
  gpuops.fleet.nvidia_driver_check:
    expected_version: "580"
    expected_flavor: proprietary
    expected_count: 2
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
      sample: driver.loaded
    subject:
      description: V(host).
      type: str
      sample: "host"
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: pass
    summary:
      description: What is true, in one line.
      type: str
      sample: driver 580.95.05 is loaded (proprietary kernel modules)
    expected:
      description: What the rule wants.
      type: str
      sample: driver 580 loaded
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: /sys/module/nvidia/version
        value:
          description: What was there.
          type: raw
          sample: "580.95.05"
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
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver

EXPECTED_ARGUMENTS = {
    "expected_version": {"type": "str"},
    "expected_flavor": {"type": "str", "choices": ["proprietary", "open"]},
    "expected_count": {"type": "int"},
}


def check(fleet: FleetModule) -> None:
    """Judge the driver and end the task."""
    fleet.finish_checks(driver.check(fleet.facts(read_now), **{name: fleet.params[name] for name in EXPECTED_ARGUMENTS}))


def main() -> None:
    """Run the module."""
    FleetModule(dict(CHECK_ARGUMENTS, **EXPECTED_ARGUMENTS)).run(check)


if __name__ == "__main__":
    main()
