"""Faults planted one after the other on one machine: what is done, what it is read as, and what takes it back."""
from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

Answers = set[tuple[str, str, str]]
Arguments = dict[str, dict[str, Any]]
# What takes a message of the kernel back: the journal forgets all of them, and has one again, as no kernel is silent.
_FORGET = "journalctl -q --rotate; journalctl -q --vacuum-time=1ms; /usr/lib/lab/kmod/event.py log 6 'random: crng init done'"


@dataclass(frozen=True)
class Fault:
    """One fault: shell commands that plant it and take it back, and the answers (id, subject, status) that it makes, beside those of a sound machine.

    `arguments`: module → arguments that this fault is judged with beside the usual ones. `only`: the one module that judges it.
    """

    name: str
    plant: str
    restore: str
    expected: Answers
    arguments: Arguments = field(default_factory=dict)
    only: str = ""


def attribute(gpu: int, name: str, value: str, *expected: tuple[str, str, str], **more: Any) -> Fault:
    """An NVML attribute of a GPU has another value."""
    path, kept = f"/var/lib/lab/nvml/gpu{gpu}/{name}", f"/run/lab/{name}.sound"
    plant = f"cp {path} {kept} && echo {shlex.quote(value)} >{path}"
    return Fault(f"{name} of GPU {gpu} is {value}", plant, f"mv {kept} {path}", set(expected), **more)


def message(text: str, *expected: tuple[str, str, str], **more: Any) -> Fault:
    """The kernel has logged a line."""
    return Fault(text, f"/usr/lib/lab/kmod/event.py log 3 {shlex.quote(text)}", _FORGET, set(expected), **more)


def xid(address: str, code: int, text: str, *expected: tuple[str, str, str], **more: Any) -> Fault:
    """The driver has reported an Xid."""
    return message(f"NVRM: Xid (PCI:{address[:-2]}): {code}, pid='<unknown>', name=<unknown>, {text}", *expected, **more)


def together(name: str, *faults: Fault) -> Fault:
    """Several traces of one fault; what is expected is that of all."""
    plant, restore = ("; ".join(getattr(one, what) for one in faults) for what in ("plant", "restore"))
    return Fault(name, plant, restore, set().union(*(one.expected for one in faults)))


def judge(node: Node, folder: Path, faults: list[Fault], modules: Arguments) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Plant, read and take back one fault after the other, in one play; return the checks of each and the facts that they judge."""
    inventory = write_inventory(node, folder / "inventory.yml")
    tasks: list[dict[str, Any]] = []
    before = "true"
    for number, fault in enumerate(faults):
        tasks.append({"name": fault.name, "ansible.builtin.raw": f"set -e; {before}; {fault.plant}"})
        tasks.append({"gpuops.fleet.gpu_facts": {"gather_subset": ["all"]}, "register": f"facts_{number}"})
        before = fault.restore
    tasks.append({"name": "Sound again", "ansible.builtin.raw": f"set -e; {before}"})
    answers = []
    for number, fault in enumerate(faults):
        names = []
        for module, arguments in modules.items():
            if fault.only not in ("", module):
                continue
            given = {"facts": f"{{{{ facts_{number}.ansible_facts.gpu }}}}", **arguments, **fault.arguments.get(module, {})}
            if module.endswith("_check"):
                given["fail_on"] = []
            names.append(f"{module}_{number}")
            tasks.append({f"gpuops.fleet.{module}": given, "register": names[-1], "delegate_to": "localhost"})
        answers.append(f"[{' + '.join(f'{name}.checks' for name in names)}, facts_{number}.ansible_facts.gpu]")
    content = f"{{{{ [{', '.join(answers)}] | to_json }}}}"
    tasks.append({"ansible.builtin.copy": {"content": content, "dest": str(folder / "answers.json"), "mode": "0600"}, "delegate_to": "localhost"})
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    command = ["ansible-playbook", "-i", str(inventory), str(play)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, ANSIBLE_NOCOLOR="1"))
    assert run.returncode == 0, (run.stdout + run.stderr)[-6000:]
    return [(checks, facts) for checks, facts in json.loads((folder / "answers.json").read_text())]


def answers_of(checks: list[dict[str, Any]]) -> Answers:
    """(id, subject, status) of the checks that neither pass nor are skipped; each of them says why and what to do."""
    found = [check for check in checks if check["status"] not in ("pass", "skipped")]
    assert all(check["summary"] and check["evidence"] and check["remedy"] for check in found)
    return {(check["id"], check["subject"], check["status"]) for check in found}
