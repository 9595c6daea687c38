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
    Where a limit cannot be read (no driver yet), the board power of the catalogue is taken, and the evidence says so.
    Required is the sum of the GPUs' limits, O(platform_watts) and O(processor_watts). Recommended is what leaves O(headroom_percent) of the
    capacity free. It ends with V(pass) when usable is at least recommended, with V(warn) when it is at least required, and with V(fail) below.
  - C(power.worst_case) compares with every GPU at its default and at its maximum power limit, because lowered limits do not survive a reboot.
  - C(power.redundancy) wants every fitted supply to work. An empty bay is no fault.
  - C(power.sources_agree) compares the sources that tell a capacity.
  - C(power.events) looks for Xid 54, messages of missing power cables and the server's power brake.
  - The capacity comes from the most trusted source that tells it, in this order - Redfish PowerSubsystem, Redfish Chassis Power (both through
    O(bmc)), C(ipmitool) (with O(ipmi)), SMBIOS type 39 (read with the facts), O(supply_watts). SMBIOS tables are often filled from a template - alone
    they lead to V(warn) at best, and against O(supply_watts) the smaller figure counts.
  - Where a supply tells its line voltage and what it gives at this voltage, that figure counts instead of the one on its label.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
  - gpuops.fleet.checks.facts
options:
  supply_watts:
    description:
      - Capacity of one power supply, in watts. Mind that many supplies give less at 100 to 127 V.
      - When omitted, and when no other source tells a capacity, the check ends with V(unknown) and still tells what is required.
    type: float
  supply_count:
    description: Number of power supplies of the capacity O(supply_watts).
    type: int
    default: 1
  redundant_supplies:
    description:
      - How many power supplies may fail without the server going down. Holds for every source.
      - When omitted, it is what the source says of redundancy groups, else 0.
    type: int
  platform_watts:
    description:
      - What the server takes that is not a GPU (memory, disks, fans, and the processors unless O(processor_watts) counts them), in watts.
    type: float
    default: 350
  processor_watts:
    description:
      - What the processors take, in watts, to be counted besides O(platform_watts).
      - When omitted, O(platform_watts) covers them. The check warns where the processors' own power limit is higher than that.
    type: float
  headroom_percent:
    description: Part of the capacity that is to stay free.
    type: float
    default: 15
  power_limits_persist:
    description: Something sets the lowered power limits again at every boot, so that C(power.worst_case) is not to be feared.
    type: bool
    default: false
  capacity_source:
    description: The source to count with. V(auto) takes the most trusted one.
    type: str
    choices: [auto, redfish_power_subsystem, redfish_power, ipmi, smbios, variables]
    default: auto
  bmc:
    description:
      - What M(gpuops.fleet.bmc_info) returned.
      - The result of a task that failed is left out with a warning, so that the other sources are judged all the same.
    type: dict
  ipmi:
    description: Ask the host's own BMC with C(ipmitool), which needs root and an IPMI device.
    type: bool
    default: false
  timeout_seconds:
    description: Longest time in seconds that one call of C(ipmitool) may take. Reading FRU data is slow on some servers.
    type: float
    default: 30
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.bmc_info
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

- name: Ask the BMC from the controller
  gpuops.fleet.bmc_info:
    base_url: "https://{{ bmc_address }}"
    username: "{{ bmc_username }}"
    password: "{{ bmc_password }}"
  delegate_to: localhost
  register: bmc

- name: Check the supplies that the BMC lists
  gpuops.fleet.power_check:
    facts: "{{ ansible_facts.gpu }}"
    bmc: "{{ bmc }}"
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
      description: V(host), or the bus address of a GPU for C(power.events).
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
      description: As given, with O(processor_watts).
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
    worst_watts:
      description: Required with every GPU at the greatest limit that it accepts.
      type: float
      sample: 850.0
    usable_watts:
      description: Capacity without the redundant supplies.
      type: float
      sample: 1000.0
power_sources:
  description: The sources that were looked at, with the keys of C(host.power) of M(gpuops.fleet.gpu_facts).
  returned: always, except when a parameter is not valid
  type: list
  elements: dict
  sample: [{"source": "smbios", "where": "/sys/firmware/dmi/tables/DMI type 39", "supplies": []}]
ipmi_reason:
  description: Why C(ipmitool) told no capacity; null when it did or was not asked.
  returned: always, except when a parameter is not valid
  type: str
  sample: ipmitool is not installed
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

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.now import read_now
from ansible_collections.gpuops.fleet.plugins.module_utils._module import CHECK_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power

POLICY_ARGUMENTS: t.Dict[str, t.Any] = {
    "supply_watts": {"type": "float"},
    "supply_count": {"type": "int", "default": 1},
    "redundant_supplies": {"type": "int"},
    "platform_watts": {"type": "float", "default": power.PLATFORM_WATTS},
    "processor_watts": {"type": "float"},
    "headroom_percent": {"type": "float", "default": power.HEADROOM_PERCENT},
    "power_limits_persist": {"type": "bool", "default": False},
    "capacity_source": {"type": "str", "choices": ["auto", *power.SOURCES], "default": "auto"},
}
SOURCE_ARGUMENTS: t.Dict[str, t.Any] = {
    "bmc": {"type": "dict"},
    "ipmi": {"type": "bool", "default": False},
    "timeout_seconds": {"type": "float", "default": 30},
}
BUDGET_KEYS = ("gpu_watts", "platform_watts", "required_watts", "recommended_watts", "reset_watts", "worst_watts", "usable_watts")


def check(fleet: FleetModule) -> None:
    """Judge the power supplies and end the task."""
    policy = power.Policy(**{name: fleet.params[name] for name in POLICY_ARGUMENTS})
    asked, why = ask_ipmi(fleet)
    facts = fleet.facts(lambda run: read_now(run, ("power", "kernel_log")))
    sources = power.sources_of(facts, bmc_of(fleet, fleet.params["bmc"]), policy, asked)
    figures = power.budget(facts, policy, sources)
    fleet.finish_checks(
        power.check(facts, policy, sources),
        budget={key: figures[key] for key in BUDGET_KEYS},
        power_sources=sources,
        ipmi_reason=why,
    )


def bmc_of(fleet: FleetModule, given: t.Any) -> t.Any:
    """The parameter, refused when it is the result of something else; nothing when bmc_info failed, which is not to stop the other sources."""
    if given is not None and given.get("failed"):
        fleet.warn("bmc: the BMC was not read and is left out: %s" % given.get("msg"))
        return None
    if given is not None and not isinstance(given.get("power_sources"), list):
        raise PolicyError("bmc has no power_sources: pass what gpuops.fleet.bmc_info returned", option="bmc")
    return given


def ask_ipmi(fleet: FleetModule) -> t.Tuple[t.Any, t.Optional[str]]:
    """`(source, reason)` of ipmitool, when the task asks for it."""
    seconds = fleet.params["timeout_seconds"]
    if not 0 < seconds < 3600:
        raise PolicyError("timeout_seconds is %g: it must be greater than 0 and less than 3600" % seconds, option="timeout_seconds")
    if not fleet.params["ipmi"]:
        return None, None
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import ipmi

    source, why = ipmi.read(fleet.run_command, seconds)
    return source, why or None


def main() -> None:
    """Run the module."""
    FleetModule(dict(CHECK_ARGUMENTS, **POLICY_ARGUMENTS, **SOURCE_ARGUMENTS)).run(check)


if __name__ == "__main__":
    main()
