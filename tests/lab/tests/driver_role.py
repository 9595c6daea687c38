"""Runs of the role nvidia_driver on a node, and what the node says of its driver, read with its own tools."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

STATE, DRAIN = "/var/lib/gpuops/nvidia_driver.json", "/var/lib/gpuops/drain.json"
LOCAL = {"assert", "debug", "fail", "set_fact", "include_tasks", "include_role", "include_vars", "import_tasks", "import_role", "meta"}
LOCAL |= {"validate_argument_spec"}
# The operator knows of the supplies; without them the power of the GPUs cannot be judged.
KNOWN = {"gpu_preflight_supply_watts": 3000, "gpu_preflight_supply_count": 4, "gpu_preflight_redundant_supplies": 1}


@dataclass
class Run:
    """A run that has ended: exit status, its tasks as `(name, answer of the host)`, and the role's own result."""

    code: int
    tasks: list[tuple[str, dict[str, Any]]]
    stats: dict[str, int]
    result: dict[str, Any] | None
    text: str

    @property
    def message(self) -> str:
        """What the run ended with, in one line."""
        failed = [answer for _name, answer in self.tasks if answer.get("failed")]
        return " ".join(str(failed[-1].get("msg")).split()) if failed else ""

    @property
    def changed(self) -> list[str]:
        """Names of the tasks that changed something."""
        return [name for name, answer in self.tasks if answer.get("changed")]

    @property
    def remote(self) -> int:
        """How many tasks reached the node."""
        reached = [a for _n, a in self.tasks if not a.get("skipped") and "_ansible_delegated_vars" not in a and a["action"].rpartition(".")[2] not in LOCAL]
        return sum(max(1, len([one for one in answer.get("results", []) if not one.get("skipped")])) for answer in reached)

    def shown(self, name: str) -> str:
        """What the debug task `name` said."""
        return " ".join(str(answer["msg"]) for task, answer in self.tasks if task.endswith(name) and "msg" in answer)


def command(node: Node, folder: Path, variables: dict[str, Any], *options: str) -> list[str]:
    """The command line of a run of the role."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    keep = {
        "name": "Keep the result",
        "ansible.builtin.copy": {"content": "{{ nvidia_driver_result | to_json }}", "dest": str(result), "mode": "0600"},
        "delegate_to": "localhost",
        "check_mode": False,
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "when": "nvidia_driver_result is defined",
    }
    role = {"name": "The driver", "ansible.builtin.include_role": {"name": "gpuops.fleet.nvidia_driver"}}
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": [{"block": [role], "always": [keep]}]}], sort_keys=False))
    inventory = write_inventory(node, folder / "inventory.yml")
    return ["ansible-playbook", "-i", str(inventory), str(play), "-e", json.dumps(KNOWN | variables), *options]


def environment() -> dict[str, str]:
    """Variables for a run whose output is read."""
    return dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json", ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")


def run(node: Node, folder: Path, *options: str, **variables: Any) -> Run:
    """Run the role to its end."""
    done = subprocess.run(command(node, folder, variables, *options), env=environment(), check=False, capture_output=True, text=True)
    assert "{" in done.stdout and "Traceback" not in done.stderr, done.stdout + done.stderr
    output = json.loads(done.stdout[done.stdout.index("{\n") :])
    answers = [(task["task"]["name"], answer) for play in output["plays"] for task in play["tasks"] for answer in task["hosts"].values()]
    kept = folder / "result.json"
    return Run(done.returncode, answers, output["stats"].get(node.name, {}), json.loads(kept.read_text()) if kept.exists() else None, done.stdout + done.stderr)


def wait_for(node: Node, script: str, patience: float = 300) -> None:
    """Wait until a command ends well in the node."""
    until = time.monotonic() + patience
    while node.run("sh", "-c", script, check=False)[0]:
        assert time.monotonic() < until, f"in vain: {script}"
        time.sleep(0.2)


def killed_run(node: Node, folder: Path, moment: str, **variables: Any) -> None:
    """Begin a run, and kill it and what it does on the node once the command `moment` ends well there."""
    line, quiet = command(node, folder, variables), subprocess.DEVNULL
    process = subprocess.Popen(line, env=environment(), stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        wait_for(node, moment)
        node.run("sh", "-c", "pkill -9 apt-get; pkill -9 dpkg; pkill -9 -f '[A]nsiballZ'; true")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def driver(node: Node) -> dict[str, str]:
    """Version of the loaded module, of the module on disk and of nvidia-smi's library, and the GPUs that nvidia-smi counts; empty where there is none."""
    script = """
    cat /sys/module/nvidia/version 2>/dev/null || echo
    modinfo -F version nvidia 2>/dev/null || echo
    basename "$(readlink -f /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1)" | sed 's/libnvidia-ml.so.1*//; s/^[.]//'
    nvidia-smi -L 2>/dev/null | grep -c UUID
    """
    loaded, disk, library, gpus = node.run("sh", "-c", script, check=False)[1].split("\n")[:4]
    return {"loaded": loaded, "disk": disk, "library": library, "gpus": gpus}


def whole(version: str, gpus: int = 2) -> dict[str, str]:
    """What `driver` says of a host that runs this version."""
    return {"loaded": version, "disk": version, "library": version, "gpus": str(gpus)}


def packages(node: Node) -> dict[str, str]:
    """Installed driver packages and their versions, from dpkg."""
    lines = node.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\\n")[1].splitlines()
    found = (line.split() for line in lines)
    return {name: version for status, name, version in (one for one in found if len(one) == 3) if "nvidia" in name and status == "installed"}


def unfinished(node: Node) -> list[str]:
    """Packages that dpkg calls neither installed nor absent."""
    listing = "dpkg-query -W -f '${db:Status-Status} ${Package}\\n'"
    return node.run("sh", "-c", f"{listing} | grep -Ev '^(installed|config-files|not-installed) ' || true")[1].splitlines()


def held(node: Node) -> set[str]:
    """Packages that are held."""
    return set(node.run("apt-mark", "showhold")[1].split())


def exists(node: Node, path: str) -> bool:
    """Whether there is such a file."""
    return node.run("test", "-e", path, check=False)[0] == 0


def fingerprint(node: Node) -> str:
    """Every file of the host that a run could change, its packages and holds, loaded modules and running services."""
    script = r"""
    find /boot /etc /opt /usr /var/lib -xdev \( -path /var/lib/lab -o -path /var/lib/systemd -o -path /var/lib/apt/lists -o -path '*/__pycache__' -o -path /etc/hosts -o -path /etc/resolv.conf -o -path /etc/hostname \) -prune -o -type f -printf '%p %s %T@\n' | sort
    apt-mark showhold; cat /sys/module/nvidia/version; ls /sys/module | grep nvidia; systemctl list-units --plain --no-legend --state=active '*.service' | grep -v user@
    """  # noqa: E501
    return node.run("sh", "-c", script, check=False)[1]


def hold_gpu(node: Node, name: str) -> None:
    """A service that has GPU 0 open."""
    program = "import os, time; os.open('/dev/nvidia0', os.O_PATH); time.sleep(1e6)"
    unit = f'[Service]\nExecStart=/usr/bin/python3 -c "{program}"\n[Install]\nWantedBy=multi-user.target\n'
    node.write(f"/etc/systemd/system/{name}.service", unit)
    node.run("systemctl", "daemon-reload")
    node.run("systemctl", "start", name)


def active(node: Node, name: str) -> bool:
    """Whether a unit runs."""
    return node.run("systemctl", "is-active", name, check=False)[0] == 0
