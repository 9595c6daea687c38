#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_container_check
short_description: Check that containers run with exactly the GPUs asked for
description:
  - Looks from inside the container, because what Docker was asked for is not what a process can use.
    A container can lose its GPUs while it runs, and still look healthy from outside.
  - It needs nothing in the image but a shell, and reads the injected C(nvidia-smi), C(/proc) and Docker's own answers.
  - C(container.running) tells whether the container runs and its health check, if it has one, passes.
  - C(container.gpus) compares the set of GPU UUIDs inside with the GPUs asked for, and sees a GPU that does not answer any more.
  - C(container.device_nodes) compares the device nodes inside with those of the host.
  - C(container.device_cgroup) opens the device nodes inside. A node that the control group forbids is one that systemd took away from a running container.
  - C(container.driver_libraries) compares the libraries that were mounted with the loaded driver, and so finds a container that is older than a driver upgrade.
  - C(container.cdi_spec) compares the CDI specification with the loaded driver and its devices, for containers that get their GPUs by CDI names.
  - C(container.visible_devices) finds an E(NVIDIA_VISIBLE_DEVICES) that has no effect, for example beside C(--gpus).
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
requirements:
  - The C(docker) command on the target
  - root, to read devices and mounts of containers
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
options:
  container:
    description:
      - Name or id of the container.
      - Without it and O(containers), every running container that asks for GPUs is checked.
    type: str
  containers:
    description: Several containers, checked in one task.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name or id of the container.
        type: str
        required: true
      expected_uuids:
        description: As O(expected_uuids).
        type: list
        elements: str
  expected_uuids:
    description:
      - UUIDs of the GPUs that must be inside, in any order. Missing ones are a failure, and so are others.
      - An empty list means that there must be none.
      - Without it, they are what the container asks for, by its device requests, CDI names, E(NVIDIA_VISIBLE_DEVICES) or devices.
    type: list
    elements: str
  timeout_seconds:
    description: Longest time that one command may take, in seconds. A command that takes longer makes its check V(unknown).
    type: float
    default: 30
seealso:
  - module: gpuops.fleet.ollama_placement_check
"""

EXAMPLES = r"""
- name: Check that the container has all GPUs of the server
  gpuops.fleet.gpu_container_check:
    container: ollama
    expected_uuids: "{{ ansible_facts.gpu.devices | map(attribute='uuid') }}"

- name: Check every container that asks for GPUs
  gpuops.fleet.gpu_container_check:

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
  sample: 7 pass
uuids:
  description: UUIDs of the GPUs inside the container; null when they could not be read, or when no container was named.
  returned: always, except when a parameter is not valid
  type: list
  elements: str
  sample: [GPU-11111111-2222-3333-4444-555555555555]
containers:
  description: Names of the containers that were checked, with the UUIDs of the GPUs inside; null for those that could not be read.
  returned: always, except when a parameter is not valid
  type: dict
  sample: {ollama: [GPU-11111111-2222-3333-4444-555555555555]}
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import cdi_spec, container_devices
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import containers as evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FAIL_ON_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import container_wish
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import containers as verdicts

CONTAINER_ARGUMENTS = {"name": {"type": "str", "required": True}, "expected_uuids": {"type": "list", "elements": "str"}}
ARGUMENTS = {
    "container": {"type": "str"},
    "containers": {"type": "list", "elements": "dict", "options": CONTAINER_ARGUMENTS},
    "expected_uuids": {"type": "list", "elements": "str"},
    "timeout_seconds": {"type": "float", "default": 30},
}
Facts = t.Dict[str, t.Any]


def check(fleet: FleetModule) -> None:
    """Read the containers, judge, end the task."""
    container, limit = fleet.params["container"], fleet.params["timeout_seconds"]
    host, specs = container_devices.host(), cdi_spec.read()
    found: t.Dict[str, t.Optional[t.List[str]]] = {}
    checks: t.List[Check] = []
    for name, expected in asked(fleet):
        seen = look(fleet, name, host, specs, limit)
        found[name] = seen["gpus"]["uuids"] if seen["gpus"] else None
        checks += verdicts.check(seen, name, expected)
    fleet.finish_checks(checks, uuids=found.get(container), containers=found)


def asked(fleet: FleetModule) -> t.List[t.Tuple[str, t.Optional[t.List[str]]]]:
    """The containers to check, and the UUIDs that each must have; None: those that it asks for."""
    container, expected, several = (fleet.params[name] for name in ("container", "expected_uuids", "containers"))
    if several is not None:
        return [(one["name"], one["expected_uuids"]) for one in several]
    return [(name, expected) for name in ([container] if container else with_gpus(fleet))]


def with_gpus(fleet: FleetModule) -> t.List[str]:
    """Names of the running containers that ask for GPUs."""
    limit = fleet.params["timeout_seconds"]
    names, reason = evidence.running(fleet.run_command, limit)
    if names is None:
        raise ServiceError("the running containers are not known: %s" % reason)
    states = [(name, evidence.inspect(fleet.run_command, name, limit)) for name in names]
    # One that Docker does not tell about is no reason to say that all is well.
    return [name for name, state in states if state["found"] is None or (state["found"] and container_wish.asks(state))]


def look(fleet: FleetModule, name: str, host: Facts, specs: t.List[Facts], limit: float) -> Facts:
    """All evidence of one container; what is inside only while it runs."""
    state = evidence.inspect(fleet.run_command, name, limit)
    seen: Facts = {"state": state, "host": host, "specs": specs, "gpus": None, "inside": None, "opened": None, "opened_reason": ""}
    if state.get("running") and not state["paused"]:
        seen["gpus"] = evidence.gpus(fleet.run_command, name, limit)
        seen["inside"] = container_devices.inside(state["pid"])
        seen["opened"], seen["opened_reason"] = evidence.opened(fleet.run_command, name, sorted(seen["inside"]["nodes"] or {}), limit)
        if seen["inside"]["nodes"] is None:
            seen["opened"], seen["opened_reason"] = None, seen["inside"]["reason"]
    return seen


def main() -> None:
    """Run the module."""
    FleetModule(dict(ARGUMENTS, **FAIL_ON_ARGUMENTS), mutually_exclusive=[("container", "containers"), ("expected_uuids", "containers")]).run(check)


if __name__ == "__main__":
    main()
