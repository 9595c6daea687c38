#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_drain
short_description: Stop what holds the GPUs of a host, and start exactly that again
description:
  - Finds what has GPUs, which is every process with a device file of NVIDIA's driver open or mapped, with the systemd service or container it belongs
    to, and every running Docker container that was given GPUs, whether it uses them at the moment or not. Containers of other engines are named.
  - Stops what is allowed by name or label, and nothing else. Processes are never ended. Unless all that cannot be stopped has gone, nothing is stopped.
  - What is stopped is written to O(state_file) before it is stopped, and RV(stopped) tells it. A run that died in between is continued by the next one.
  - A service that was stopped cannot be started by anything (udev, a package, a timer) until it is resumed or the host boots. A container whose restart
    policy is C(always) or C(on-failure) has the policy C(no) until it is resumed, or it would come back with Docker's daemon.
  - O(state=resumed) starts what the record names, in reverse order, also after a reboot, and takes each from the record once it runs.
  - In check mode nothing is stopped or started, and RV(holders), RV(modules) and RV(checks) tell what is there, so a task in check mode is the listing.
  - The check C(gpu.holders) in RV(checks) is of the state in which the task ends, in check mode of that in which it began.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  state:
    description:
      - V(drained) ensures that nothing holds a GPU. V(resumed) ensures that what was stopped for it runs again.
    type: str
    choices: [drained, resumed]
    default: drained
  policy:
    description:
      - What to do with holders. V(fail) stops nothing, and fails when there is one.
      - V(stop) stops those that are allowed, and fails before it when there are others.
      - V(wait) waits for the others to end by themselves first, for O(timeout_seconds).
    type: str
    choices: [fail, wait, stop]
    default: stop
  timeout_seconds:
    description:
      - How long V(wait) waits for holders that may not be stopped.
    type: float
    default: 600
  services:
    description:
      - Units of systemd that may be stopped, in the order of stopping. Those that do not exist are passed over.
      - All of them that run are stopped, and not only those that hold a GPU at this moment, for any of them may take one at the next.
      - C(gpuops-gpu-settings) holds none. It sets what O(gpuops.fleet.gpu_settings#module:persist) keeps, and starts again after the driver did.
    type: list
    elements: str
    default:
      - ollama
      - dcgm-exporter
      - nvidia-dcgm-exporter
      - nvidia-dcgm
      - dcgm
      - gpuops-gpu-settings
      - nvidia-imex
      - nvidia-topologyd
      - nvidia-gridd
      - nvidia-fabricmanager
      - nvidia-persistenced
  containers:
    description:
      - Names of Docker containers that may be stopped.
    type: list
    elements: str
    default: []
  container_labels:
    description:
      - Labels of Docker containers that may be stopped, each V(key) or V(key=value).
    type: list
    elements: str
    default: []
  stop_timeout_seconds:
    description:
      - How long stopping or starting one service or container may take. Containers with a longer stop time-out of their own get it.
    type: float
    default: 120
  state_file:
    description:
      - The record of what was stopped. It is there while the host is drained, and is removed when everything is resumed.
    type: path
    default: /var/lib/gpuops/drain.json
seealso:
  - module: gpuops.fleet.nvidia_driver_plan
  - module: gpuops.fleet.gpu_container_check
"""

EXAMPLES = r"""
- name: List what holds the GPUs
  gpuops.fleet.gpu_drain:
    policy: wait
  check_mode: true
  register: drain

- name: Stop what may be stopped, and wait ten minutes for the rest
  gpuops.fleet.gpu_drain:
    policy: wait
    timeout_seconds: 600
    containers: [ollama]
    container_labels: [com.example.drain=allowed]

- name: Start it again
  gpuops.fleet.gpu_drain:
    state: resumed
"""

RETURN = r"""
holders:
  description: What had GPUs when the task began, and the services of O(services) that ran.
  returned: always, except when they could not be read
  type: list
  elements: dict
  contains:
    kind:
      description: V(container), V(service) or V(process).
      type: str
      sample: container
    name:
      description: Name of the container or unit, id of the process.
      type: str
      sample: ollama
    id:
      description: Id of the container.
      type: str
      sample: c2a117b82edf42543769ecd83f136b6182cf192415dafcd2f5f7300fbe7ebdd1
    engine:
      description: Engine of the container, V(docker), V(podman), V(containerd), V(cri-o), V(kubernetes) or V(lxc).
      type: str
      sample: docker
    unit:
      description: The scope of a process, a login session for one.
      type: str
      sample: session-3.scope
    gpus:
      description: How the container was given GPUs.
      type: str
      sample: device request (nvidia.com/gpu=all)
    pids:
      description: The processes that have device files open or mapped.
      type: list
      elements: dict
      sample: [{pid: 4242, command: python3 train.py, user: alice}]
    nodes:
      description: These device files.
      type: list
      elements: str
      sample: [/dev/nvidia0, /dev/nvidiactl]
    may_stop:
      description: Whether the task may stop it.
      type: bool
      sample: true
    why_not:
      description: Why it may not be stopped.
      type: str
      sample: services does not name it
remaining:
  description: As RV(holders), when the task ends. In check mode what would be left.
  returned: always, except when they could not be read
  type: list
  elements: dict
  sample: []
stopped:
  description: What the record names when the task ends, in the order of stopping. In check mode what it would name.
  returned: always, except when the record could not be read
  type: list
  elements: dict
  sample: [{kind: service, name: nvidia-persistenced.service}]
started:
  description: What O(state=resumed) started, or found running, and took from the record. In check mode what it would start.
  returned: always
  type: list
  elements: str
  sample: [service nvidia-persistenced.service, container ollama]
gone:
  description: What O(state=resumed) could not start because it does not exist any more or is masked. It was taken from the record.
  returned: always
  type: list
  elements: str
  sample: []
modules:
  description: The loaded kernel modules of the driver. More C(users) than C(used_by) are open files, or the kernel itself.
  returned: always, except when the holders could not be read
  type: list
  elements: dict
  sample: [{name: nvidia, users: 2, used_by: [nvidia_modeset, nvidia_uvm]}]
reloadable:
  description: Whether, when the task ends, nothing uses the kernel modules, so that they can be unloaded.
  returned: always, except when the holders could not be read
  type: bool
  sample: true
checks:
  description: The check C(gpu.holders).
  returned: with O(state=drained), except when the holders could not be read
  type: list
  elements: dict
  sample: []
status:
  description: Its status.
  returned: with O(state=drained), except when the holders could not be read
  type: str
  sample: pass
msg:
  description: What was stopped or started, or why not.
  returned: always
  type: str
  sample: "stopped container ollama, service nvidia-persistenced.service"
error:
  description: Set when the task failed.
  returned: on failure
  type: dict
  contains:
    kind:
      description: Class of the error. V(policy) for holders that may not be stopped, V(evidence) for what could not be read, V(action) for a refusal.
      type: str
      sample: policy
"""

import os
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._actions import drain as act
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, FleetError, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket, drain_record, gpu_holders, module_users, units
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import drain as plan

SERVICES = [
    "ollama", "dcgm-exporter", "nvidia-dcgm-exporter", "nvidia-dcgm", "dcgm", "gpuops-gpu-settings", "nvidia-imex", "nvidia-topologyd", "nvidia-gridd",
    "nvidia-fabricmanager", "nvidia-persistenced",
]  # fmt: skip
ARGUMENTS = {
    "state": {"type": "str", "choices": ["drained", "resumed"], "default": "drained"},
    "policy": {"type": "str", "choices": ["fail", "wait", "stop"], "default": "stop"},
    "timeout_seconds": {"type": "float", "default": 600},
    "services": {"type": "list", "elements": "str", "default": SERVICES},
    "containers": {"type": "list", "elements": "str", "default": []},
    "container_labels": {"type": "list", "elements": "str", "default": []},
    "stop_timeout_seconds": {"type": "float", "default": 120},
    "state_file": {"type": "path", "default": "/var/lib/gpuops/drain.json"},
}
POLL_SECONDS = 2
# A process that only looks at a GPU (nvidia-smi of a monitor) has gone by then, and so has one that is on its way out.
GRACE_SECONDS = 5


class Seen(t.NamedTuple):
    """The host at one moment."""

    holders: t.List[plan.Holder]
    to_stop: t.List[plan.Entry]
    modules: t.List[t.Dict[str, t.Any]]
    docker: bool

    @property
    def blocking(self) -> t.List[plan.Holder]:
        """Those that may not be stopped."""
        return plan.blocking(self.holders)

    def result(self, began: Seen) -> t.Dict[str, t.Any]:
        """What the task returns of this, its last look, and of the first one."""
        left = plan.holding(self.holders)
        reloadable = not left and not plan.unexplained(self.modules)
        facts = {"holders": began.holders, "remaining": left, "modules": self.modules, "reloadable": reloadable}
        return dict(facts, stopped=[], started=[], gone=[])

    def judged(self, began: Seen) -> t.Dict[str, t.Any]:
        """The same with the check."""
        check = plan.check(self.holders, self.modules, self.docker)
        return dict(self.result(began), checks=[check.to_dict()], status=check.status)


def look(fleet: FleetModule) -> Seen:
    """Who has GPUs now, and what of that may be stopped."""
    allowed = plan.Allowed(fleet.params["services"], fleet.params["containers"], fleet.params["container_labels"])
    present = units.with_triggers(fleet.run_command, [plan.unit_name(name) for name in allowed.services])
    containers = running_containers()
    found = plan.holders(gpu_holders.read(), containers, present, allowed)
    return Seen(found, plan.to_stop(found, containers, present, allowed), module_users.read(), containers is not None)


def running_containers() -> t.Optional[t.List[t.Dict[str, t.Any]]]:
    """Docker's running containers; None when no daemon runs."""
    if not docker_socket.runs():
        return None
    # Many hosts have no Docker, and a module compiles what it imports at every start.
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_containers

    return docker_containers.running()


def drain(fleet: FleetModule) -> None:
    """Ensure that nothing holds a GPU."""
    record, policy = fleet.params["state_file"], fleet.params["policy"]
    before = drain_record.read(record)
    began = look(fleet)
    if policy == "fail":
        now = look_until(fleet, began, lambda seen: not plan.holding(seen.holders), GRACE_SECONDS)
        if plan.holding(now.holders):
            refuse(fleet, plan.holding(now.holders), dict(now.judged(began), stopped=before), "GPUs are in use, and policy fail stops nothing")
    else:
        patient = policy == "wait" and not fleet.check_mode
        now = look_until(fleet, began, lambda seen: not seen.blocking, fleet.params["timeout_seconds"] if patient else GRACE_SECONDS)
    if now.blocking and not (fleet.check_mode and policy == "wait"):
        waited = " after %g s" % fleet.params["timeout_seconds"] if policy == "wait" else ""
        refuse(fleet, now.blocking, dict(now.judged(began), stopped=before), "GPUs are still in use%s by what may not be stopped" % waited)
    wished = [] if policy == "fail" else now.to_stop
    entries = drain_record.merge(before, wished)
    changed = bool(wished) or bool(act.not_held(entries, record))
    if fleet.check_mode:
        parts = ["would wait for %s" % "; ".join(told(now.blocking))] if now.blocking else []
        parts += ["would stop %s" % ", ".join(names_of(wished))] if wished else []
        result = dict(now.judged(began), remaining=now.blocking, stopped=entries)
        end(fleet, changed, "; ".join(parts) or nothing(before), result, (told(began.holders), told(now.blocking)))
    try:
        if changed:
            act.carry_out(fleet.run_command, record, wished, fleet.params["stop_timeout_seconds"])
            now = look_until(fleet, look(fleet), lambda seen: policy == "fail" or not seen.holders, GRACE_SECONDS)
        left = now.holders if policy != "fail" else []
        if left:
            raise ActionError("GPUs are still in use after everything was stopped that may be: %s" % "; ".join(told(left)))
    except FleetError as error:
        # What was stopped until now is in the record: state resumed starts it, and the next run goes on from here.
        fleet.fail(error, changed=changed, **dict(afresh(fleet, now).judged(began), stopped=drain_record.read(record)))
    msg = "stopped %s" % ", ".join(names_of(wished)) if wished else nothing(before)
    end(fleet, changed, msg, dict(now.judged(began), stopped=entries), (told(began.holders), told(now.holders)))


def nothing(before: t.Sequence[plan.Entry]) -> str:
    """The message of a run that has nothing to stop."""
    return "nothing holds a GPU%s" % (" (stopped before: %s)" % ", ".join(names_of(before)) if before else "")


def look_until(fleet: FleetModule, now: Seen, done: t.Callable[[Seen], bool], seconds: float) -> Seen:
    """Look again and again until `done`, or the time is over; `now` is what was seen last."""
    until = time.monotonic() + seconds
    while not done(now) and time.monotonic() < until:
        time.sleep(min(POLL_SECONDS, max(0.0, until - time.monotonic())))
        now = look(fleet)
    return now


def afresh(fleet: FleetModule, now: Seen) -> Seen:
    """A new look, or the last one where that fails."""
    try:
        return look(fleet)
    except FleetError:
        return now


def refuse(fleet: FleetModule, found: t.Sequence[plan.Holder], result: t.Dict[str, t.Any], why: str) -> None:
    """End the task because of holders. Nothing was stopped by it."""
    lines = ["%s%s" % (plan.told(one), " (%s)" % one["why_not"] if one["why_not"] else "") for one in found]
    error = PolicyError("%s: %s. Nothing was stopped" % (why, "; ".join(lines)), holders=len(found))
    fleet.fail(error, **result)


def resume(fleet: FleetModule) -> None:
    """Ensure that what was stopped runs again."""
    record = fleet.params["state_file"]
    entries = drain_record.read(record)
    began = look(fleet)
    if fleet.check_mode or not entries:
        planned = names_of(entries[::-1])
        msg = "would start %s" % ", ".join(planned) if entries else "nothing is recorded as stopped"
        end(fleet, bool(entries), msg, dict(began.result(began), started=planned), (names_of(entries), []))
    started: t.List[str] = []
    gone: t.List[str] = []
    failures: t.List[str] = []
    left = list(entries)
    act.release(fleet.run_command)
    for entry in reversed(entries):
        try:
            (started if act.bring_back(fleet.run_command, entry, fleet.params["stop_timeout_seconds"]) else gone).append(plan.named(entry))
        except FleetError as error:
            # The others can run none the less.
            failures.append(error.message)
            continue
        left.remove(entry)
        act.write_record(record, left)
    result = dict(look(fleet).result(began), stopped=left, started=started, gone=gone)
    if failures:
        fleet.fail(ActionError("not everything that was stopped runs again: %s. %s still names it" % ("; ".join(failures), record)), changed=True, **result)
    if gone:
        fleet.warn("not started, for it does not exist any more or is masked: %s" % ", ".join(gone))
    end(fleet, True, "started %s" % (", ".join(started) or "nothing"), result, (names_of(entries), []))


def names_of(entries: t.Sequence[plan.Entry]) -> t.List[str]:
    """Entries in words."""
    return [plan.named(entry) for entry in entries]


def end(fleet: FleetModule, changed: bool, msg: str, result: t.Dict[str, t.Any], difference: t.Sequence[t.Sequence[str]]) -> None:
    """End the task well. `difference`: lines before and after."""
    if fleet.diff_mode:
        before, after = ("".join("%s\n" % line for line in lines) for lines in difference)
        result = dict(result, diff={"before": before, "after": after})
    fleet.finish(changed=changed, msg=msg, **result)


def told(found: t.Sequence[plan.Holder]) -> t.List[str]:
    """Holders in words."""
    return [plan.told(one) for one in found]


def work(fleet: FleetModule) -> None:
    """Do what the task asks for."""
    if not os.path.isabs(fleet.params["state_file"]):
        raise PolicyError("state_file is %s: it must be an absolute path" % fleet.params["state_file"], option="state_file")
    do = drain if fleet.params["state"] == "drained" else resume
    if fleet.check_mode:
        do(fleet)
    with act.locked():
        do(fleet)


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(work)


if __name__ == "__main__":
    main()
