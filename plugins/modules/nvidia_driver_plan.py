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
  - Knows what each GPU needs from a catalogue of boards and architectures, from the C(supported-gpus.json) of the installed driver where the
    facts have it, and from O(supported_gpus) and O(boards); nothing is fetched.
  - With O(package_source) it also names the packages, in exact versions, and refuses what the source cannot give.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
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
  features:
    description:
      - What driver and hardware are to be able to do. Raises the floor to the oldest driver that can; the plan is V(impossible) when a GPU never can.
      - V(cuda11), V(cuda12), V(cuda13) for programs of any minor version, V(cuda-12.8) for what needs the driver of that very toolkit (PTX, new functions),
        V(dlss3), V(open_kernel_modules), and V(ollama-0.30) for a release of Ollama.
    type: list
    elements: str
  latest_supported:
    description: Replace a driver that does by the newest one that supports every GPU.
    type: bool
    default: false
  package_source:
    description:
      - What a package source has, as the role C(gpuops.fleet.nvidia_driver) reads it. Only what it has is chosen, and the plan names the packages.
      - V(manager) (V(apt) or V(dnf)), V(distribution), V(distribution_version), V(versions) (package name to versions, newest first, with the epoch for
        dnf), and as far as they apply V(depends) (package name to version to its dependencies), V(transitional) (names that only bring another
        branch), V(kernel_flavour) (Ubuntu), V(streams) (of the dnf module nvidia-driver), and V(module_source) (V(auto), V(prebuilt), V(precompiled)
        or V(dkms)).
    type: dict
  supported_gpus:
    description:
      - Contents of a C(supported-gpus.json) as NVIDIA ships it with each driver, for what the catalogue does not know.
      - When omitted, the entries that the facts have from the installed driver.
    type: dict
  boards:
    description:
      - Corrections of what is known of boards. PCI device id (V(1b38), or V(25b6:10de:14a9) with that of the subsystem) to a dict with any of
        V(first_branch), V(last_branch), V(flavors) and V(architecture).
    type: dict
  dkms_key_enrolled:
    description:
      - Whether the firmware knows the key with which DKMS signs modules on this host. Matters with Secure Boot.
      - When omitted, as the facts tell.
    type: bool
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

- name: Plan a driver for a release of Ollama, from the recorded facts of a host
  gpuops.fleet.nvidia_driver_plan:
    facts: "{{ lookup('file', 'gpu-facts.json') | from_json }}"
    features: [cuda12, ollama-0.30]

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
      description:
        - One of V(none), V(install), V(upgrade), V(downgrade), V(reinstall) (the right version is not whole, or one of the kernels lacks it),
          V(reload), V(reboot), V(impossible).
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
      description: Its exact version when O(version) pins one or O(package_source) names it, else null.
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
    needs_reboot:
      description: Whether it takes a reboot.
      type: bool
      sample: false
    packages:
      description: What the package manager is to install, in exact versions. Empty without O(package_source) and when no package changes.
      type: list
      elements: str
      sample: [nvidia-utils-580-server=580.95.05-0ubuntu0.24.04.1]
    headers:
      description: Kernel header packages that DKMS needs and the host lacks.
      type: list
      elements: str
      sample: []
    remove:
      description: Installed packages of another branch, flavour or source that go in the same transaction.
      type: list
      elements: str
      sample: [linux-modules-nvidia-535-server-generic]
    source:
      description: One of V(ubuntu_archive), V(cuda_repository), V(debian_archive), V(dnf_module), V(dnf), or null.
      type: str
      sample: ubuntu_archive
    module_source:
      description: Where the kernel module comes from. One of V(prebuilt), V(precompiled), V(dkms), or null.
      type: str
      sample: prebuilt
    stream:
      description: Stream of the dnf module nvidia-driver, or null.
      type: str
      sample: null
    kernels:
      description: Kernel releases that the module must exist for, the running one and that of the next boot.
      type: list
      elements: str
      sample: [6.8.0-60-generic]
    features:
      description: What O(features) and O(cuda_major) ask for, each with its C(name), C(status) (V(met), V(needs_driver) or V(impossible)) and C(detail).
      type: list
      elements: dict
      sample: [{name: cuda12, status: met, detail: "CUDA 12 needs driver 525.60.13 on Tesla P40 at 0000:3b:00.0"}]
    warnings:
      description: What is not in the way and wants attention, one line each.
      type: list
      elements: str
      sample: ["R535 (long-term support branch) was maintained until 2026-06-30"]
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
    "features": {"type": "list", "elements": "str"},
    "latest_supported": {"type": "bool", "default": False},
    "package_source": {"type": "dict"},
    "supported_gpus": {"type": "dict"},
    "boards": {"type": "dict"},
    "dkms_key_enrolled": {"type": "bool"},
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
