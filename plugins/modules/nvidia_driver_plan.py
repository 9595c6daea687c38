#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nvidia_driver_plan
short_description: Decide whether a host needs another NVIDIA driver, and which
description:
  - Answers with a plan and changes nothing. The check C(driver.plan) says the same for reports.
  - A loaded driver that meets O(floor_version), every pin, and supports every GPU is left alone.
  - Otherwise the newest branch is chosen that NVIDIA maintains and that supports B(every) GPU of the host, in a flavour of kernel modules
    that drives every GPU. A branch that would lose a card is never chosen.
  - Knows what each GPU needs from a catalogue of boards and architectures; nothing is fetched.
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
  floor_version:
    description: Oldest driver version that is left alone.
    type: str
    default: 470.82.01
  branch:
    description:
      - The driver branch to have, for example V(580).
      - The plan is V(impossible) when it does not support every GPU.
    type: int
  version:
    description: The exact driver version to have, for example V(580.95.05).
    type: str
  flavor:
    description:
      - Flavour of the kernel modules.
      - With V(auto) a flavour that is installed and drives every GPU is kept; otherwise it follows from the GPUs and the branch.
    type: str
    choices: [auto, proprietary, open]
    default: auto
  available_branches:
    description:
      - The branches that the host's package source has. Only these are chosen.
      - When omitted, every branch of the catalogue.
    type: list
    elements: int
  cuda_major:
    description:
      - The CUDA version whose programs are to run, for example V(12). Raises the floor to the oldest driver that runs them.
      - The plan is V(impossible) when a GPU is too old for it, whatever the driver.
    type: int
  date:
    description:
      - The day for which branches are judged maintained, as YYYY-MM-DD.
      - When omitted, the date of the catalogue.
    type: str
  facts:
    description:
      - The facts to judge, as M(gpuops.fleet.gpu_facts) returned them in C(ansible_facts.gpu).
      - When omitted, they are read now.
    type: dict
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.nvidia_driver_check
"""

EXAMPLES = r"""
- name: Plan the driver from gathered facts
  gpuops.fleet.nvidia_driver_plan:
    facts: "{{ ansible_facts.gpu }}"
    available_branches: [535, 580, 595]
  register: driver

- name: Show the plan
  ansible.builtin.debug:
    var: driver.plan
"""

RETURN = r"""
plan:
  description: What is to be done, and why.
  returned: always, except when a parameter is not valid
  type: dict
  contains:
    action:
      description: One of V(none), V(install), V(upgrade), V(downgrade), V(reload), V(reboot), V(impossible).
      type: str
      sample: upgrade
    reasons:
      description: Why, one line each.
      type: list
      elements: str
      sample: ["390.157 is older than the floor 470.82.01"]
    steps:
      description: What carrying it out takes, one line each; empty for V(none) and V(impossible).
      type: list
      elements: str
      sample: ["replace 390.157 by driver R580 with the proprietary kernel modules for kernel 6.8.0-60-generic"]
    blockers:
      description: What makes it impossible, one line each; empty otherwise.
      type: list
      elements: str
      sample: []
    branch:
      description: Branch of the driver that the host is to have; null for V(impossible) and without a GPU.
      type: int
      sample: 580
    flavor:
      description: Flavour of its kernel modules; null when not known.
      type: str
      sample: proprietary
    version:
      description: Its exact version when O(version) pins one, else null.
      type: str
      sample: 580.95.05
    current_version:
      description: Version of the loaded driver, else of the one on disk, else null.
      type: str
      sample: "390.157"
    activation:
      description:
        - How the changed driver comes to life. One of V(none), V(load) (no module is loaded), V(reload), and
          V(reboot) (nouveau is loaded or programs use the GPUs).
      type: str
      sample: reload
checks:
  description:
    - The plan as the check C(driver.plan). V(fail) for an impossible one, V(warn) for one that changes something, V(pass) for none, V(skipped) without a GPU.
  returned: always, except when a parameter is not valid
  type: list
  elements: dict
  sample:
    - id: driver.plan
      subject: host
      status: pass
      summary: 580.95.05 meets the floor 470.82.01 and supports every GPU
      expected: the driver that facts and policy ask for
      evidence: [{source: "facts: driver", value: 580.95.05}]
      remedy: ""
msg:
  description: The plan in one line.
  returned: always
  type: str
  sample: "upgrade R580 (proprietary kernel modules): 390.157 is older than the floor 470.82.01"
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
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FACTS_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver_plan, driver_policy

POLICY_ARGUMENTS = {
    "floor_version": {"type": "str", "default": driver_policy.FLOOR_VERSION},
    "branch": {"type": "int"},
    "version": {"type": "str"},
    "flavor": {"type": "str", "choices": ["auto", "proprietary", "open"], "default": "auto"},
    "available_branches": {"type": "list", "elements": "int"},
    "cuda_major": {"type": "int"},
    "date": {"type": "str"},
}


def plan(fleet: FleetModule) -> None:
    """Plan the driver and end the task."""
    policy = driver_policy.Policy(**{name: fleet.params[name] for name in POLICY_ARGUMENTS})
    decided = driver_plan.plan(fleet.facts(read_now), policy)
    fleet.finish(plan=decided, checks=[driver_plan.check(decided).to_dict()], msg=driver_plan.summary(decided))


def main() -> None:
    """Run the module."""
    FleetModule(dict(FACTS_ARGUMENTS, **POLICY_ARGUMENTS)).run(plan)


if __name__ == "__main__":
    main()
