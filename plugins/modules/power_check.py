#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: power_check
short_description: Check that the power supplies carry the GPUs
description:
  - C(power.budget) adds up the GPUs' enforced power limits and the rest of the server, and compares the sum with what the
    power supplies give when the redundant ones have failed.
  - Where a limit cannot be read (no driver yet), the board power of the catalogue is taken, and the evidence says so.
  - Required is the sum of the GPUs' limits and O(platform_watts). Recommended is what leaves O(headroom_percent) of the capacity free.
    Usable is O(supply_watts) times the supplies that are not redundant.
  - The check ends with V(pass) when usable is at least recommended, with V(warn) when it is at least required, and with V(fail) below that.
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
  supply_watts:
    description:
      - Capacity of one power supply, in watts. Mind that many supplies give less at 100 to 127 V.
      - When omitted, the check ends with V(unknown) and still tells what is required.
    type: float
  supply_count:
    description: Number of power supplies of this capacity.
    type: int
    default: 1
  redundant_supplies:
    description: How many of them may fail without the server going down.
    type: int
    default: 0
  platform_watts:
    description: What the server takes that is not a GPU (processors, memory, disks, fans), in watts.
    type: float
    default: 350
  headroom_percent:
    description: Part of the capacity that is to stay free.
    type: float
    default: 15
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
"""

EXAMPLES = r"""
- name: Check two supplies of which one is redundant
  gpuops.fleet.power_check:
    supply_watts: 1100
    supply_count: 2
    redundant_supplies: 1

- name: Judge gathered facts, and accept no warning
  gpuops.fleet.power_check:
    facts: "{{ ansible_facts.gpu }}"
    supply_watts: 1000
    fail_on: [fail, unknown, warn]
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
      sample: power.budget
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
      sample: 850 W required, 1000 W recommended (15 % headroom), 1000 W usable
    expected:
      description: What the rule wants.
      type: str
      sample: at least 850 W, better 1000 W
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: pynvml enforced power limit of 0000:3b:00.0
        value:
          description: What was there.
          type: raw
          sample: "250 W"
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
budget:
  description: The figures, in watts; null where a part is not known.
  returned: always, except when a parameter is not valid
  type: dict
  contains:
    gpu_watts:
      description: Sum of the GPUs' power limits.
      type: float
      sample: 500.0
    platform_watts:
      description: As given.
      type: float
      sample: 350.0
    required_watts:
      description: GPUs and platform.
      type: float
      sample: 850.0
    recommended_watts:
      description: Required, with the headroom on top.
      type: float
      sample: 1000.0
    reset_watts:
      description: Required once every limit is back at its default, as after a reboot.
      type: float
      sample: 850.0
    usable_watts:
      description: Capacity without the redundant supplies.
      type: float
      sample: 1000.0
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
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power

POLICY_ARGUMENTS = {
    "supply_watts": {"type": "float"},
    "supply_count": {"type": "int", "default": 1},
    "redundant_supplies": {"type": "int", "default": 0},
    "platform_watts": {"type": "float", "default": power.PLATFORM_WATTS},
    "headroom_percent": {"type": "float", "default": power.HEADROOM_PERCENT},
}
BUDGET_KEYS = ("gpu_watts", "platform_watts", "required_watts", "recommended_watts", "reset_watts", "usable_watts")


def check(fleet: FleetModule) -> None:
    """Judge the power supplies and end the task."""
    policy = power.Policy(**{name: fleet.params[name] for name in POLICY_ARGUMENTS})
    facts = fleet.facts(read_now)
    figures = power.budget(facts, policy)
    fleet.finish_checks(power.check(facts, policy), budget={key: figures[key] for key in BUDGET_KEYS})


def main() -> None:
    """Run the module."""
    FleetModule(dict(CHECK_ARGUMENTS, **POLICY_ARGUMENTS)).run(check)


if __name__ == "__main__":
    main()
