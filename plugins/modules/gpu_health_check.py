#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_health_check
short_description: Check that all GPUs are there and well
description:
  - C(gpu.count) compares the NVIDIA GPUs on the PCI bus, driver or not, with the expected number.
  - C(gpu.visible) tells for each GPU whether the driver sees it, and C(gpu.lost) whether it has fallen off the bus.
  - C(gpu.uniform) tells for each model whether all its GPUs run one VBIOS version.
  - C(gpu.ecc_mode), C(gpu.ecc_errors), C(gpu.retired_pages) (before Ampere) and C(gpu.remapped_rows) (Ampere and later) judge the memory.
  - C(gpu.throttling), C(gpu.temperature), C(gpu.persistence) and C(gpu.inforom) judge how the GPU runs.
  - C(gpu.pcie_replay), C(gpu.nvlink) and, on machines with NVSwitches, C(gpu.fabric_manager) judge its links.
  - C(gpu.xid) judges what the driver reported in the kernel log of this boot. A program's fault is a warning; it is no fault of the GPU.
  - Each fault makes one check fail. An Xid that tells of a fault which another check sees by its state, such as an ECC error, is left to that check.
  - A check that does not apply to a GPU, such as C(gpu.nvlink) on a board without NVLink, is V(skipped) and says why.
  - As long as no driver is loaded, only C(gpu.count) can be answered.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
  - gpuops.fleet.checks.facts
options:
  expected_count:
    description:
      - How many GPUs the host is to have.
      - When omitted, at least one.
    type: int
  xid_window_seconds:
    description:
      - How old an Xid or a loss may be to count, in seconds.
    type: int
    default: 86400
  ignored_xids:
    description:
      - Xid codes that are not judged.
    type: list
    elements: int
    default: []
  max_uncorrected_errors:
    description:
      - C(gpu.ecc_errors) fails above this number of uncorrected ECC errors since the driver was loaded.
    type: int
    default: 0
  retired_pages_warn:
    description:
      - C(gpu.retired_pages) warns from this number of pages on. The default is that of NVIDIA's DCGM.
    type: int
    default: 15
  retired_pages_fail:
    description:
      - C(gpu.retired_pages) fails from this number of pages on. The default is that of NVIDIA's DCGM; a board can retire 64.
    type: int
    default: 60
  throttle_reasons:
    description:
      - The clock event reasons of NVML about which C(gpu.throttling) warns.
    type: list
    elements: str
    choices:
      - hw_slowdown
      - hw_thermal_slowdown
      - hw_power_brake_slowdown
      - sw_thermal_slowdown
      - sw_power_cap
      - applications_clocks_setting
      - sync_boost
      - display_clocks_setting
    default: [hw_slowdown, hw_thermal_slowdown]
  temperature_margin_celsius:
    description:
      - C(gpu.temperature) warns when the GPU is this close to the temperature at which it slows down.
    type: int
    default: 5
  max_temperature_celsius:
    description:
      - C(gpu.temperature) fails from this temperature on, beside the limits of the board.
    type: int
  max_pcie_replays:
    description:
      - C(gpu.pcie_replay) warns above this number of PCIe replays since the driver was loaded.
      - When omitted, a counter other than 0 is not judged, because only a rate would tell something.
    type: int
  expected_nvlinks:
    description:
      - How many NVLink links of each GPU that has NVLink are to be active; fewer fail.
      - When omitted, all of a board whose links are wired (SXM, HGX).
      - On boards with an optional bridge some inactive links are a warning then, and none at all is fine.
    type: int
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.nvidia_driver_check
"""

EXAMPLES = r"""
- name: Check that both GPUs are there, reading the facts now
  gpuops.fleet.gpu_health_check:
    expected_count: 2

- name: Check with the limits of a warm room, and look at the last hour of the kernel log only
  gpuops.fleet.gpu_health_check:
    max_temperature_celsius: 80
    xid_window_seconds: 3600

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

import dataclasses

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.now import read_now
from ansible_collections.gpuops.fleet.plugins.module_utils._module import CHECK_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits, THROTTLE_REASONS

REASONS = [
    *THROTTLE_REASONS, "hw_power_brake_slowdown", "sw_thermal_slowdown", "sw_power_cap", "applications_clocks_setting", "sync_boost", "display_clocks_setting",
]  # fmt: skip
ARGUMENTS = dict(
    CHECK_ARGUMENTS,
    expected_count={"type": "int"},
    xid_window_seconds={"type": "int", "default": 86400},
    ignored_xids={"type": "list", "elements": "int", "default": []},
    max_uncorrected_errors={"type": "int", "default": 0},
    retired_pages_warn={"type": "int", "default": 15},
    retired_pages_fail={"type": "int", "default": 60},
    throttle_reasons={"type": "list", "elements": "str", "choices": REASONS, "default": list(THROTTLE_REASONS)},
    temperature_margin_celsius={"type": "int", "default": 5},
    max_temperature_celsius={"type": "int"},
    max_pcie_replays={"type": "int"},
    expected_nvlinks={"type": "int"},
)


def check(fleet: FleetModule) -> None:
    """Judge the GPUs and end the task."""
    limits = Limits(**{field.name: fleet.params[field.name] for field in dataclasses.fields(Limits)})
    fleet.finish_checks(health.check(fleet.facts(lambda run: read_now(run, ("kernel_log", "inforom"))), fleet.params["expected_count"], limits))


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(check)


if __name__ == "__main__":
    main()
