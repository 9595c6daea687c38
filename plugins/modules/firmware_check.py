#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: firmware_check
short_description: Check firmware settings and PCI Express links of GPUs by what they left in the hardware
description:
  - C(firmware.above_4g) tells for each GPU whether Above 4G Decoding is on, proven by the address of its BAR1 on the PCI bus.
    A BAR1 without an address, or one that the kernel log reports for this very GPU, is V(fail); messages about unrelated bridges are not.
    A small BAR1 below 4 GiB is V(unknown), unless another GPU proves the setting or the board is known to need no more,
    or V(warn) when the board is known to have a large one.
  - C(firmware.resizable_bar) tells whether BAR1 covers the memory, on cards that can resize it.
  - C(firmware.aspm) tells whether power saving of the link is off in the Link Control registers of the GPU and of the port above it.
    C(pcie_aspm=off) on the kernel command line does not turn it off.
  - C(pcie.width) compares the lanes in use with what card and slot have, C(pcie.speed) the generation under load; a GPU at rest slows its link down.
  - C(pcie.acs) and C(firmware.iommu) depend on O(platform_role). Nothing is ever written to ACS registers.
  - C(firmware.sriov) is given for GPUs with virtual functions.
  - C(firmware.bmc_setting) compares O(bmc_settings) with what the hardware shows, and names settings that wait for the next boot.
  - In a virtual machine, checks of the link are V(skipped), and what the virtual firmware did is named so.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
  - gpuops.fleet.checks.facts
options:
  platform_role:
    description:
      - What the machine is for. V(baremetal) uses its GPUs itself, V(passthrough) gives them to virtual machines.
    type: str
    choices: [baremetal, passthrough]
    default: baremetal
  aspm_expected:
    description:
      - V(disabled) wants ASPM off on both ends of each link, V(any) expects nothing.
    type: str
    choices: [disabled, any]
    default: disabled
  bmc_settings:
    description:
      - BIOS attributes as the server's management controller names them, each with C(value) (now), C(pending) (after the next boot, or null)
        and C(canonical), which is V(above_4g), V(aspm), V(sriov) or V(resizable_bar) for the settings that concern GPUs.
      - When omitted, C(firmware.bmc_setting) is left out.
    type: dict
seealso:
  - module: gpuops.fleet.gpu_facts
"""

EXAMPLES = r"""
- name: Check Above 4G Decoding, reading the facts now
  gpuops.fleet.firmware_check:

- name: Check a host that passes its GPUs to virtual machines
  gpuops.fleet.firmware_check:
    platform_role: passthrough

- name: Compare with what the management controller says
  gpuops.fleet.firmware_check:
    bmc_settings:
      MmioAbove4Gb: {value: Enabled, pending: null, canonical: above_4g}

- name: Judge gathered facts and only report
  gpuops.fleet.firmware_check:
    facts: "{{ ansible_facts.gpu }}"
    fail_on: []
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
      sample: firmware.above_4g
    subject:
      description: The bus address of a GPU, the host, or the name of a BIOS attribute.
      type: str
      sample: "0000:3b:00.0"
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: pass
    summary:
      description: What is true, in one line.
      type: str
      sample: BAR1 lies at 0x39f000000000
    expected:
      description: What the rule wants.
      type: str
      sample: BAR1 at or above 4 GiB
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: sysfs:/sys/bus/pci/devices/0000:3b:00.0/resource BAR1
        value:
          description: What was there.
          type: raw
          sample: "0x39f000000000, 32 GiB"
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
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import ASPM_EXPECTED, BAREMETAL, DISABLED, ROLES, Policy


ARGUMENTS = dict(
    CHECK_ARGUMENTS,
    platform_role={"type": "str", "choices": list(ROLES), "default": BAREMETAL},
    aspm_expected={"type": "str", "choices": list(ASPM_EXPECTED), "default": DISABLED},
    bmc_settings={"type": "dict"},
)


def check(fleet: FleetModule) -> None:
    """Judge the firmware settings and end the task."""
    policy = Policy(**{name: fleet.params[name] for name in ("platform_role", "aspm_expected", "bmc_settings")})
    fleet.finish_checks(firmware.check(fleet.facts(lambda run: read_now(run, ("kernel_log",))), policy))


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(check)


if __name__ == "__main__":
    main()
