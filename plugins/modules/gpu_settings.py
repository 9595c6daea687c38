#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gpu_settings
short_description: Set persistence mode, power limit, compute mode, ECC mode and application clocks of GPUs
description:
  - Sets what is asked for on the GPUs that differ, through NVML (the Python library C(pynvml) where the target has it, else C(nvidia-smi)), and
    reads them afresh before the task ends well.
  - A value that a GPU does not take fails before anything is changed, and the message names the GPU and its range.
  - The driver forgets all of these but ECC mode when its last client leaves, when it is unloaded and at a reboot. With O(persist) they are kept.
    C(/etc/gpuops/gpu-settings) lists them, C(gpuops-gpu-settings.service) sets them at each boot, and, where all GPUs keep persistence mode, a drop-in
    of C(nvidia-persistenced.service) takes C(--no-persistence-mode) from the distribution's command and leaves the rest of it as it is.
  - ECC mode is kept by the board itself and takes effect with the next reset or reboot; RV(reset_pending) lists the GPUs that wait for it.
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
  gpus:
    description:
      - The GPUs to set, each by UUID, index, bus address or model (V(Tesla P40)). A name that no GPU has is an error.
      - When omitted, all GPUs of the host.
    type: list
    elements: str
  persistence_mode:
    description:
      - Whether the driver keeps the GPU initialised without a client.
    type: bool
  power_limit_watts:
    description:
      - Power limit. It lasts only while persistence mode is on or a client holds the GPU.
    type: float
  compute_mode:
    description:
      - How many processes may use the GPU for computing.
    type: str
    choices: [default, exclusive_process, prohibited]
  ecc_mode:
    description:
      - Whether the next reset or reboot brings ECC.
    type: bool
  application_clocks:
    description:
      - Clocks that programs get, a pair that C(nvidia-smi -q -d SUPPORTED_CLOCKS) lists. Drivers from branch 580 on do not offer them on every GPU.
    type: dict
    suboptions:
      memory_mhz:
        description:
          - Memory clock.
        type: int
        required: true
      graphics_mhz:
        description:
          - Graphics clock.
        type: int
        required: true
  persist:
    description:
      - Whether the settings named in this task are kept across reboots. V(false) sets them for now and forgets what was kept of them.
      - Needs systemd on the target.
    type: bool
    default: true
  state:
    description:
      - V(absent) forgets what is kept of the settings named in this task, or of all when it names none, for the chosen GPUs.
      - It does not set the GPUs back. When all forget persistence mode, the persistence daemon starts anew with the distribution's own command.
    type: str
    choices: [present, absent]
    default: present
  timeout_seconds:
    description:
      - How long each call that can block may take.
    type: float
    default: 20
seealso:
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.gpu_health_check
"""

EXAMPLES = r"""
- name: Keep all GPUs initialised, also after a reboot
  gpuops.fleet.gpu_settings:
    persistence_mode: true

- name: Let both Tesla P40 draw no more than 200 W
  gpuops.fleet.gpu_settings:
    gpus: [Tesla P40]
    persistence_mode: true
    power_limit_watts: 200

- name: Switch ECC off on one GPU
  gpuops.fleet.gpu_settings:
    gpus: ["0000:af:00.0"]
    ecc_mode: false
  register: settings

- name: Reboot for the pending ECC mode
  ansible.builtin.reboot:
  when: settings.reset_pending

- name: Forget all settings that are kept
  gpuops.fleet.gpu_settings:
    state: absent
"""

RETURN = r"""
gpus:
  description: The chosen GPUs with the settings that this task names. In check mode RV(gpus[].after) is what a real run would bring.
  returned: on success
  type: list
  elements: dict
  contains:
    uuid:
      description: UUID of the GPU.
      type: str
      sample: GPU-e52ec6f1-0000-0000-0000-000000000000
    index:
      description: NVML index.
      type: int
      sample: 0
    bus_address:
      description: PCI bus address.
      type: str
      sample: "0000:3b:00.0"
    name:
      description: Model.
      type: str
      sample: Tesla P40
    before:
      description: The settings before.
      type: dict
      sample: {power_limit_watts: 250.0}
    after:
      description: The settings now.
      type: dict
      sample: {power_limit_watts: 200.0}
reset_pending:
  description: Bus addresses of the chosen GPUs whose ECC mode waits for a reset or reboot.
  returned: on success
  type: list
  elements: str
  sample: []
kept:
  description: What is kept across reboots, UUID by UUID, as option and value of C(nvidia-smi).
  returned: on success
  type: dict
  sample: {GPU-e52ec6f1-0000-0000-0000-000000000000: {"-pl": "200", "-pm": "1"}}
reader:
  description: Through what the GPUs were set, V(pynvml) or V(nvidia-smi); V(none) when settings were forgotten without a driver.
  returned: on success
  type: str
  sample: nvidia-smi
msg:
  description: What was changed, or why not.
  returned: always
  type: str
  sample: "power_limit_watts of GPU 0 (Tesla P40 at 0000:3b:00.0): 250 to 200"
error:
  description: Set when the task failed.
  returned: on failure
  type: dict
  contains:
    kind:
      description: Class of the error. V(policy) for a value that makes no sense here, V(evidence) for a GPU that does not answer, V(action) for a refusal.
      type: str
      sample: policy
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._actions import gpu_settings as setting
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import kept_settings as keeping
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver, gpu_settings, kept_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import gpu_settings as plan
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import kept_settings as keep

ARGUMENTS = {
    "gpus": {"type": "list", "elements": "str"},
    "persistence_mode": {"type": "bool"},
    "power_limit_watts": {"type": "float"},
    "compute_mode": {"type": "str", "choices": ["default", "exclusive_process", "prohibited"]},
    "ecc_mode": {"type": "bool"},
    "application_clocks": {
        "type": "dict",
        "options": {"memory_mhz": {"type": "int", "required": True}, "graphics_mhz": {"type": "int", "required": True}},
    },
    "persist": {"type": "bool", "default": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "timeout_seconds": {"type": "float", "default": 20.0},
}


class Keeping(t.NamedTuple):
    """What keeps settings across reboots: as it is, and as it has to be."""

    before: t.Dict[str, t.Optional[str]]
    after: t.Dict[str, t.Optional[str]]
    kept: keep.Kept
    settled: bool  # the unit is enabled and has run, or neither is there
    daemon_runs: bool

    @property
    def changed(self) -> t.Dict[str, t.Optional[str]]:
        """The files that differ."""
        return {path: text for path, text in self.after.items() if text != self.before[path]}


def look(fleet: FleetModule) -> t.Tuple[str, t.List[plan.Gpu], t.List[plan.Gpu]]:
    """`(reader, all GPUs, chosen GPUs)`, read now."""
    if not driver.loaded()["loaded"]:
        if fleet.params["state"] == "absent" and fleet.params["gpus"] is None:
            return "none", [], []
        # Asked without it, NVML would load the module.
        raise EvidenceError("the NVIDIA driver is not loaded: GPUs cannot be set")
    reader, gpus = gpu_settings.read(fleet.run_command, fleet.params["timeout_seconds"])
    return reader, gpus, plan.select(gpus, fleet.params["gpus"])


def look_at_keeping(fleet: FleetModule, gpus: t.Sequence[plan.Gpu], chosen: t.Sequence[plan.Gpu], wished: plan.Wishes) -> Keeping:
    """What keeps settings now, and with what this task asks for."""
    absent = fleet.params["state"] == "absent"
    forget = absent or not fleet.params["persist"]
    names = wished if wished or not absent else plan.OPTIONS
    options = {plan.OPTIONS[name]: None if forget else plan.word(name, wished[name]) for name in names if plan.OPTIONS[name] in keep.ORDER}
    before = kept_settings.texts((keep.SETTINGS, keep.UNIT, keep.DROP_IN))
    if not kept_settings.systemd():
        if options and not forget:
            raise EvidenceError("systemd does not run on this host: settings cannot be kept across reboots, set persist to false")
        return Keeping(before, before, {}, True, False)
    units = kept_settings.units(fleet.run_command, keep.UNIT_NAME, keep.DAEMON_NAME)
    daemon, unit = units.get(keep.DAEMON_NAME, {}), units.get(keep.UNIT_NAME, {})
    present = [gpu["uuid"] for gpu in gpus]
    old = keep.parse(before[keep.SETTINGS])
    # All of a host's GPUs are also those that are kept and not there any more.
    uuids = [gpu["uuid"] for gpu in chosen] + (list(old) if absent and fleet.params["gpus"] is None else [])
    kept = keep.merge(old, uuids, options, present if present and None not in present else None)
    after = keep.files(kept, present, keep.command(kept_settings.unit_texts(daemon, keep.DROP_IN)))
    ready = (unit.get("UnitFileState"), unit.get("ActiveState")) == ("enabled", "active")
    return Keeping(before, after, kept, ready if kept else unit.get("UnitFileState") in ("", None), daemon.get("ActiveState") == "active")


def settle(fleet: FleetModule, keeping_now: Keeping) -> None:
    """Bring files and units to what they have to be; starting the unit sets what is kept."""
    run = fleet.run_command
    if not keeping_now.kept and keeping_now.before[keep.UNIT] is not None:
        keeping.systemctl(run, "disable", "--now", keep.UNIT_NAME)
    keeping.write(keeping_now.changed, fleet.ansible.atomic_move, fleet.ansible.tmpdir)
    keeping.systemctl(run, "daemon-reload")
    if keep.DROP_IN in keeping_now.changed and keeping_now.daemon_runs:
        keeping.systemctl(run, "restart", keep.DAEMON_NAME)
    if keeping_now.kept:
        keeping.systemctl(run, "enable", keep.UNIT_NAME)
        keeping.systemctl(run, "restart", keep.UNIT_NAME)


def set_gpus(fleet: FleetModule) -> None:
    """Do what the task asks for and end it."""
    wished = plan.wishes(fleet.params)
    present = fleet.params["state"] == "present"
    if present and not wished:
        raise PolicyError("nothing to set: name at least one of %s" % ", ".join(plan.SETTINGS))
    reader, gpus, chosen = look(fleet)
    asked = wished if present else {}
    clocks = asked.get("application_clocks")
    if clocks and any(plan.present(gpu, "application_clocks") not in (None, clocks) for gpu in chosen):
        gpu_settings.add_supported_clocks(fleet.run_command, reader, chosen, fleet.params["timeout_seconds"])
    changes = plan.changes(chosen, asked) if asked else []
    kept = look_at_keeping(fleet, gpus, chosen, wished)
    keeps_otherwise = bool(kept.changed) or not kept.settled
    before = {gpu["uuid"]: {name: plan.present(gpu, name) for name in asked} for gpu in chosen}
    if (changes or keeps_otherwise) and not fleet.check_mode:
        if keeps_otherwise:
            settle(fleet, kept)
            # What is kept is set by now, and a daemon that starts anew sets persistence mode.
            chosen = look(fleet)[2]
        if asked:
            setting.apply(fleet.run_command, reader, plan.changes(chosen, asked), fleet.params["timeout_seconds"])
        _reader, gpus, chosen = look(fleet)
        prove(fleet, gpus, chosen, wished)
    forgetful(fleet, chosen, changes, asked)
    named = []
    for gpu in chosen:
        after = asked if fleet.check_mode else {name: plan.present(gpu, name) for name in asked}
        named.append(dict({key: gpu[key] for key in ("uuid", "index", "bus_address", "name")}, before=before[gpu["uuid"]], after=after))
    fleet.finish(
        changed=bool(changes) or keeps_otherwise,
        msg="; ".join(told(changes, kept, keeps_otherwise)) or "nothing to change",
        gpus=named,
        reset_pending=plan.waiting(chosen, asked),
        kept=kept.kept,
        reader=reader,
        **({"diff": difference(changes, kept)} if fleet.diff_mode else {})
    )


def prove(fleet: FleetModule, gpus: t.Sequence[plan.Gpu], chosen: t.Sequence[plan.Gpu], wished: plan.Wishes) -> None:
    """Raise ActionError when a GPU, read afresh, or what keeps its settings is not as it was set."""
    left = plan.changes(chosen, wished) if fleet.params["state"] == "present" else []
    if left:
        raise ActionError("; ".join("%s of %s is still %s after it was set to %s" % (one["setting"], one["who"], one["before"], one["after"]) for one in left))
    kept = look_at_keeping(fleet, gpus, chosen, wished)
    if kept.changed or not kept.settled:
        raise ActionError("the settings are not kept: %s is not as it was written or not active" % ", ".join(sorted(kept.changed) or [keep.UNIT_NAME]))


def forgetful(fleet: FleetModule, chosen: t.Sequence[plan.Gpu], changes: t.Sequence[plan.Change], asked: plan.Wishes) -> None:
    """Warn of settings that will not last, when they were just made."""
    off = [gpu["bus_address"] for gpu in chosen if gpu.get("persistence_mode") is False]
    lasting = asked.get("persistence_mode") or not any(change["setting"] not in ("persistence_mode", "ecc_mode") for change in changes)
    if off and not lasting:
        fleet.warn("persistence mode is off on %s: the driver forgets these settings when the last client leaves the GPU" % ", ".join(off))


def told(changes: t.Sequence[plan.Change], kept: Keeping, keeps_otherwise: bool) -> t.List[str]:
    """The changes in words."""
    lines = ["%s of %s: %s to %s" % (one["setting"], one["who"], shown(one["before"]), shown(one["after"])) for one in changes]
    if keeps_otherwise:
        lines.append("kept across reboots: %s" % (", ".join(sorted(path for path, text in kept.after.items() if text is not None)) or "nothing"))
    return lines


def shown(value: t.Any) -> str:
    """A value in a message."""
    return "%g" % value if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def difference(changes: t.Sequence[plan.Change], kept: Keeping) -> t.List[t.Dict[str, str]]:
    """The differences as Ansible shows them: one a GPU, one a file."""
    found = []
    for uuid in sorted({one["uuid"] for one in changes}):
        own = [one for one in changes if one["uuid"] == uuid]
        texts = ["".join("%s: %s\n" % (one["setting"], shown(one[key])) for one in own) for key in ("before", "after")]
        found.append({"before_header": own[0]["who"], "after_header": own[0]["who"], "before": texts[0], "after": texts[1]})
    for path, text in sorted(kept.changed.items()):
        found.append({"before_header": path, "after_header": path, "before": kept.before[path] or "", "after": text or ""})
    return found


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(set_gpus)


if __name__ == "__main__":
    main()
