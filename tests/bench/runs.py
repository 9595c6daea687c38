"""Whole playbooks on one node: what check.yml asks of a server, and a site run that changes nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import meter, playbook
from tests.bench.ssh import open_ssh
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

SITE = Path(__file__).resolve().parents[1] / "lab" / "site"
CHECK = "gpuops.fleet.check"
# A server that passes: what its operator knows of two Tesla P40.
KNOWN = {"gpu_preflight_expected_count": 2, "gpu_preflight_supply_watts": 1100}


def check() -> dict[str, Any]:
    """check.yml on one server: `remote` the modules that ran on the server, `delegated` those on the controller, `seconds` through SSH."""
    name = "bench-check"
    lifecycle.up("p40x2", name)
    try:
        node = lifecycle.find(name)
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            folder = Path(scratch)
            meter.install(node)
            metered = write_inventory(node, folder / "docker.yml", ansible_python_interpreter=meter.INTERPRETER)
            counted = playbook.run(CHECK, "-i", str(metered), "-e", json.dumps(KNOWN))
            remote = [row["module"] for row in meter.noted(node)]
            through_ssh = open_ssh(node, folder)
            timed = [playbook.run(CHECK, "-i", str(through_ssh), "-e", json.dumps(KNOWN)) for _round in range(3)]
    finally:
        lifecycle.down(name)
    return {
        "remote": remote,
        "delegated": playbook.module_tasks(counted.result) - len(remote),
        "seconds": round(min(run.seconds for run in timed), 1),
        "controller_cpu_seconds": round(min(run.cpu_seconds for run in timed), 1),
    }


def site() -> dict[str, Any]:
    """site.yml on a node that is already as wanted: `seconds`, `module_tasks` (controller included), `changed`."""
    name = "bench-site"
    lifecycle.up("p40x2-no-driver", name)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            arguments = ["gpuops.fleet.site", "-i", str(write_inventory(lifecycle.find(name), Path(scratch) / "hosts.yml")), "-i", str(SITE)]
            playbook.run(*arguments)
            done = playbook.run(*arguments)
    finally:
        lifecycle.down(name)
    changed = next(iter(done.result["stats"].values()))["changed"]
    return {"seconds": round(done.seconds, 1), "module_tasks": playbook.module_tasks(done.result), "changed": changed}


def lines(results: dict[str, Any]) -> list[str]:
    """The results as lines of Markdown."""
    found = []
    if "check" in results:
        one = results["check"]
        where = f"{len(one['remote'])} modules on the server ({', '.join(one['remote'])}), {one['delegated']} on the controller"
        found.append(f"`check.yml` on one server through SSH: {where}, {one['seconds']} s, {one['controller_cpu_seconds']} CPU s of the controller.")
    if "site" in results:
        one = results["site"]
        found.append(f"`site.yml` with nothing to do: {one['module_tasks']} module tasks, {one['seconds']} s, changed={one['changed']}.")
    return found
