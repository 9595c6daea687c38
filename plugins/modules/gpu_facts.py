#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gather facts about NVIDIA GPUs, their driver and their host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_facts
short_description: Gather facts about NVIDIA GPUs, their driver and their host
version_added: 1.0.0
description:
  - Reads the GPUs from the PCI bus, the driver from the kernel and from the file system, and each GPU's state from NVML.
  - Works on hosts without a driver, with a broken driver, with a lost GPU and without any GPU. The facts have the same keys on all of
    them; what could not be read is V(null), and the reason is in C(unavailable) of the device, the driver or the host.
  - NVML is asked through the Python library C(pynvml) (package C(nvidia-ml-py)) where the target has it, else through C(nvidia-smi -q -x).
    Both give the same values. Neither is asked while the C(nvidia) kernel module is not loaded.
author:
  - the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
options:
  reader:
    description:
      - How NVML is asked.
      - With V(auto), C(pynvml) where it can be imported, else C(nvidia-smi).
      - With V(none), NVML is not asked; PCI, the driver and the host are still read.
    type: str
    choices: [auto, pynvml, nvidia_smi, none]
    default: auto
  timeout_seconds:
    description:
      - Longest time in seconds that one read which can block (NVML, C(nvidia-smi), the Docker socket, a command) may take.
      - What did not answer in time is unavailable; the task does not fail.
    type: int
    default: 20
  gather_subset:
    description:
      - What to gather. What is left out is V(null) with the reason C(not gathered).
      - V(pci) is what the PCI bus tells of the devices, V(devices) adds NVML's values, V(driver) is versions and packages of the
        driver, V(host) is the system around them. These are cheap and the default.
      - V(topology) adds how the GPUs reach each other (and reads V(pci) for it), V(dkms) the states of DKMS builds, V(packages) where the
        driver's packages come from, which are held, what unattended-upgrades may replace and the keys that Secure Boot takes, V(boot) the kernel of the
        boot loader's default entry, V(kernel_log) this boot's messages about GPUs, V(power) the power supplies as DMI tells of them, and
        V(inforom) has the checksum of each InfoROM computed, for which the driver reads the GPU's flash memory.
      - V(all) is all of them.
    type: list
    elements: str
    choices: [all, pci, devices, driver, host, topology, dkms, packages, boot, kernel_log, power, inforom]
    default: [pci, devices, driver, host]
requirements:
  - Python 3.8 or later on the target
  - C(nvidia-ml-py) 11.450 or later on the target is optional
notes:
  - C(nvidia-smi) prints either the temperatures at which a GPU slows down and shuts down or the distance to them. Where it prints the
    distance, only C(pynvml) gives these two temperatures.
  - The time-out of a command counts from its start; a process that not even SIGKILL ends is left behind and the task goes on.
  - Without root, the states of ASPM and ACS, and on some systems the width and speed of the PCI Express link, cannot be read.
seealso:
  - module: gpuops.fleet.gpu_health_check
  - module: gpuops.fleet.nvidia_driver_plan
"""

EXAMPLES = r"""
- name: Gather what is cheap about the GPUs
  gpuops.fleet.gpu_facts:

- name: Gather everything, the kernel log and the power supplies too
  gpuops.fleet.gpu_facts:
    gather_subset: [all]

- name: Count the GPUs on the PCI bus, before any driver is there
  gpuops.fleet.gpu_facts:
    gather_subset: [pci]

- name: Show the power limits
  ansible.builtin.debug:
    msg: "{{ item.name }} at {{ item.bus_address }}: {{ item.power.enforced_limit_watts }} W"
  loop: "{{ ansible_facts.gpu.devices }}"
  loop_control:
    label: "{{ item.uuid }}"
"""

RETURN = r"""
ansible_facts:
  description: Facts to add to C(ansible_facts).
  returned: always
  type: dict
  contains:
    gpu:
      description: The GPUs, their driver and their host.
      returned: always
      type: dict
      contains:
        count:
          description: Number of GPUs on the PCI bus, with a driver or without; V(null) when not gathered.
          returned: always
          type: int
          sample: 2
        devices:
          description:
            - One entry a GPU, ordered by bus address.
            - C(state) is C(ok), C(lost) (it no longer answers), C(not_visible) (unknown to a working driver), C(no_driver) or C(unknown)
              (a driver is loaded, but could not be asked).
            - C(pci) holds the ids, NUMA node, near processors (C(cpu_affinity)), IOMMU group and its other devices (bridges left out), the
              kernel's counts of PCI errors (C(aer)), virtual functions (C(sriov)) and, in C(resizable_bar_sizes_mib), the sizes that BAR1 can take.
            - C(virtualization_mode) is C(none), C(passthrough), C(vgpu), C(host_vgpu) or C(host_vsga).
            - C(pcie) holds the link of the GPU (C(generation_gpu_max) is the card alone, the other maxima are also the slot's) and, in C(upstream),
              of the port above it with its prefetchable memory window and ACS source validation. C(aspm) is C(disabled), C(l0s), C(l1) or C(l0s_l1).
            - C(unavailable) maps the dotted name of each field that is V(null) to the reason. C(sources) tells where the values were read.
          returned: always
          type: list
          elements: dict
          sample:
            - index: 0
              uuid: GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801
              name: Tesla P40
              bus_address: "0000:3b:00.0"
              state: ok
              architecture: pascal
              memory: {total_mib: 23040, reserved_mib: 0, used_mib: 0}
              bar1: {address: "0x39f000000000", size_mib: 32768, total_mib: 32768, used_mib: 2}
              power:
                draw_watts: 9.8
                enforced_limit_watts: 250.0
                default_limit_watts: 250.0
                min_limit_watts: 125.0
                max_limit_watts: 250.0
              unavailable: {mig_mode.current: not supported, mig_mode.pending: not supported}
        driver:
          description:
            - Versions of the loaded module, of the NVML library and of the module on disk for every installed kernel with its flavour and signer,
              DKMS builds (state C(added), C(built), C(installed) or C(broken)), flavour, newest CUDA version that the driver speaks, installed
              packages, and the reader that was used.
          returned: always
          type: dict
          sample:
            loaded_version: 580.95.05
            library_version: 580.95.05
            flavor: proprietary
            module_versions: {6.8.0-87-generic: 580.95.05}
            module_flavors: {6.8.0-87-generic: proprietary}
            module_signers: {6.8.0-87-generic: Canonical Ltd. Kernel Module Signing}
            dkms: []
            cuda_version: "13.0"
            nouveau_loaded: false
            packages: {nvidia-headless-no-dkms-580-server: 580.95.05-0ubuntu1}
            reader: pynvml
            unavailable: {}
        host:
          description:
            - Kernel now and at the next boot, virtualization, Secure Boot, vendor of the system, IOMMU, policy of ASPM, ways between the GPUs
              (C(topology), in the words of C(nvidia-smi topo -m)), NVSwitches and fabric manager, this boot's messages about GPUs (C(kernel_events)),
              power supplies, versions of Docker and of NVIDIA's container toolkit.
          returned: always
          type: dict
          sample:
            kernel_release: 6.8.0-87-generic
            kernel_command_line: BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro
            boot_kernel_release: 6.8.0-87-generic
            virtualization: none
            secure_boot: false
            iommu_group_count: 0
            aspm_policy: default
            topology: {"0000:3b:00.0": {"0000:af:00.0": SYS}, "0000:af:00.0": {"0000:3b:00.0": SYS}}
            nvswitches: []
            fabric_manager: {version: null, active: false}
            kernel_events: []
            system_vendor: Dell Inc.
            docker: {version: 26.1.5}
            container_toolkit: {version: 1.20.1}
            unavailable: {}
"""

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.gpu import CHEAP, READERS, SUBSETS, read_gpu
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule

ARGUMENTS = {
    "reader": {"type": "str", "choices": list(READERS), "default": "auto"},
    "timeout_seconds": {"type": "int", "default": 20},
    "gather_subset": {"type": "list", "elements": "str", "choices": list(SUBSETS), "default": list(CHEAP)},
}


def gather(fleet: FleetModule) -> None:
    """Read the facts with the parameters of the task and return them."""
    if fleet.params["timeout_seconds"] < 1:
        raise PolicyError("timeout_seconds is %d, but must be at least 1" % fleet.params["timeout_seconds"])
    names = ("reader", "timeout_seconds", "gather_subset")
    fleet.finish(ansible_facts={"gpu": read_gpu(fleet.run_command, **{name: fleet.params[name] for name in names})})


def main() -> None:
    """Entry point of the module."""
    FleetModule(ARGUMENTS).run(gather)


if __name__ == "__main__":
    main()
