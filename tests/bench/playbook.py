"""Runs playbooks and reads what the JSON callback says of them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Actions that run on the controller alone, without a module.
_LOCAL = {
    "add_host", "assert", "debug", "fail", "group_by", "import_role", "import_tasks", "include_role", "include_tasks", "include_vars", "meta", "pause",
    "set_fact", "set_stats", "validate_argument_spec",
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run of a playbook: what it printed, and what it cost the controller (children included)."""

    output: str
    seconds: float
    cpu_seconds: float
    peak_mib: float

    @property
    def result(self) -> dict[str, Any]:
        """What the JSON callback says."""
        return json.loads(self.output[self.output.index("{") :])


def run(playbook: str, *arguments: str, **environment: str) -> Run:
    """Run a playbook with the given arguments and environment; raises CalledProcessError when it fails."""
    command = ["ansible-playbook", playbook, *arguments]
    variables = {**os.environ, "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json", **environment}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), datetime.now()
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    output = process.stdout.read()
    code = process.wait()
    seconds, after = (datetime.now() - begun).total_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        print(output[-5000:])
        raise subprocess.CalledProcessError(code, command)
    cpu = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    # ru_maxrss is the largest of all children so far, in KiB.
    return Run(output, seconds, cpu, after.ru_maxrss / 1024)


def task_seconds(duration: dict[str, str]) -> float:
    """Length of a task in seconds, from the two ISO 8601 times of the JSON callback."""
    start, end = (datetime.fromisoformat(duration[name].replace("Z", "+00:00")) for name in ("start", "end"))
    return (end - start).total_seconds()


def module_tasks(result: dict[str, Any]) -> int:
    """Number of executions of modules, on targets and (delegated) on the controller; loops count by item."""
    count = 0
    for play in result["plays"]:
        for task in play["tasks"]:
            for answer in task["hosts"].values():
                if answer.get("skipped") or answer.get("action", "").rsplit(".", 1)[-1] in _LOCAL:
                    continue
                count += max(1, len([one for one in answer.get("results", []) if not one.get("skipped")]))
    return count
