"""One planted fault, one failing check: a broken machine fails the check that names its fault, and no other one."""
from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

pytestmark = pytest.mark.lab

P40X2 = ("0000:3b:00.0", "0000:af:00.0")
# Module → arguments that say what a healthy machine of these profiles has.
MODULES: dict[str, dict[str, Any]] = {"gpu_health_check": {"expected_count": 2}, "firmware_check": {}, "power_check": {"supply_watts": 1000}}

# Profile → the checks that fail, each with its subject.
FAULTS: dict[str, set[tuple[str, str]]] = {
    "p40x2": set(),
    "p40x2-above4g-off": {("firmware.above_4g", address) for address in P40X2},
    "p40x2-aspm-on": {("firmware.aspm", address) for address in P40X2},
}


def checks(profile: str, folder: Path) -> list[dict[str, Any]]:
    """Every check of MODULES on a fresh machine of the profile, judged on one reading of its facts."""
    name = f"planted-{profile}"
    lifecycle.up(profile, name)
    try:
        inventory = write_inventory(lifecycle.find(name), folder / "inventory.yml")
        tasks: list[dict[str, Any]] = [{"gpuops.fleet.gpu_facts": {"gather_subset": ["all"]}}]
        for module, arguments in MODULES.items():
            tasks.append({f"gpuops.fleet.{module}": {"facts": "{{ ansible_facts.gpu }}", "fail_on": [], **arguments}, "register": module})
        result = f"{{{{ ({' + '.join(f'{module}.checks' for module in MODULES)}) | to_json }}}}"
        tasks.append({"ansible.builtin.copy": {"content": result, "dest": str(folder / "checks.json"), "mode": "0600"}, "delegate_to": "localhost"})
        play = folder / "play.yml"
        play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
        run = subprocess.run(["ansible-playbook", "-i", str(inventory), str(play)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr
        return json.loads((folder / "checks.json").read_text())
    finally:
        lifecycle.down(name)


@pytest.mark.parametrize("profile", FAULTS)
def test_a_fault_fails_its_check_and_no_other(profile: str, tmp_path: Path) -> None:
    found = checks(profile, tmp_path)
    failing = {(check["id"], check["subject"]): check for check in found if check["status"] == "fail"}
    assert set(failing) == FAULTS[profile], [f"{check['id']} {check['subject']}: {check['summary']}" for check in failing.values()]
    assert all(check["evidence"] and check["remedy"] for check in failing.values())
    assert {check["id"] for check in found} >= {"gpu.count", "firmware.above_4g", "firmware.aspm", "pcie.width", "pcie.speed", "power.budget"}
