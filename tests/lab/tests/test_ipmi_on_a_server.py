"""power_check asks a BMC over IPMI: Debian's ipmitool and OpenIPMI's simulator, with the FRU inventory of two power supplies."""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.bmc import ipmi
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

pytestmark = pytest.mark.lab

PACKAGES = ("ipmitool", "openipmi")
UNIT = "lab-bmc"
WATTS = [1600, 1600]


@pytest.fixture(scope="module")
def managed(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """The machine, with a BMC for the time of these tests."""
    root = tmp_path_factory.mktemp("bmc")
    ipmi.write(WATTS, root)
    apt = ("apt-get", "-qq", "-o", "Dpkg::Use-Pty=0")
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    node.run(*apt, "install", "-y", "--no-install-recommends", *PACKAGES, environment=quiet)
    node.put(root)
    node.run("systemd-run", "-q", "--unit", UNIT, "-p", "StateDirectory=lab-bmc", "ipmi_sim", "-n", "-c", "/etc/ipmi/lab.conf", "-f", "/etc/ipmi/lab.emu",
             "-s", "/var/lib/lab-bmc")  # fmt: skip
    try:
        yield node
    finally:
        node.run("systemctl", "stop", UNIT, check=False)
        node.run("sh", "-c", "rm -rf /usr/local/bin/ipmitool /etc/ipmi/lab.* /var/lib/lab-bmc")
        node.run(*apt, "purge", "-y", "--autoremove", *PACKAGES, environment=quiet)


def power(node: Node, folder: Path, **arguments: Any) -> dict[str, Any]:
    """The result of power_check on the node."""
    inventory, result, play = write_inventory(node, folder / "inventory.yml"), folder / "result.json", folder / "play.yml"
    tasks = [
        {"gpuops.fleet.power_check": {"ipmi": True, "fail_on": [], **arguments}, "register": "result"},
        {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(result), "mode": "0600"}, "delegate_to": "localhost"},
    ]
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    command = ["ansible-playbook", "-i", str(inventory), str(play)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, ANSIBLE_NOCOLOR="1"))
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(result.read_text())


def test_the_capacity_comes_from_the_fru_inventory(managed: Node, tmp_path: Path) -> None:
    found = power(managed, tmp_path, redundant_supplies=1)
    checks = {check["id"]: check for check in found["checks"] if check["subject"] == "host"}
    assert found["ipmi_reason"] is None
    # 850 W for two Tesla P40, of 1600 W of the one supply that is left; SMBIOS tells 1100 W and is trusted less.
    assert (checks["power.budget"]["status"], "1600 W usable" in checks["power.budget"]["summary"]) == ("pass", True), checks["power.budget"]
    assert checks["power.sources_agree"]["status"] == "warn" and "1600" in checks["power.sources_agree"]["summary"]
    # The simulator's sensors cannot be read: the state of the supplies is SMBIOS's.
    assert "1600 W" in json.dumps(checks["power.budget"]["evidence"])


def test_a_bmc_that_does_not_answer_is_told_in_one_line(managed: Node, tmp_path: Path) -> None:
    managed.run("systemctl", "stop", UNIT)
    found = power(managed, tmp_path)
    assert found["ipmi_reason"] == "ipmitool -v fru print: Get Auth Capabilities error"
    budget = next(check for check in found["checks"] if check["id"] == "power.budget")
    assert "SMBIOS" in budget["summary"]
