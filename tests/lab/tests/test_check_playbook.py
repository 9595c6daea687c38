"""check.yml on a server with a fault: its exit status without a waiver, with one, and with one that has ended; and what it costs the server."""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench import meter
from tests.bench.playbook import module_tasks
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

pytestmark = pytest.mark.lab

NAME = "check-aspm"
ASPM = {"check": "firmware.aspm", "reason": "riser on order", "until": "2999-12-31"}
VARIABLES = {"gpu_preflight_expected_count": 2, "gpu_preflight_supply_watts": 1100}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two Tesla P40 whose links have ASPM on."""
    lifecycle.up("p40x2-aspm-on", NAME)
    yield write_inventory(lifecycle.find(NAME), tmp_path_factory.mktemp("inventory") / "hosts.yml")
    lifecycle.down(NAME)


def check(inventory: Path, callback: str = "default", **variables: Any) -> subprocess.CompletedProcess[str]:
    """A run of the playbook."""
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK=callback, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    command = ["ansible-playbook", "gpuops.fleet.check", "-i", str(inventory), "-e", json.dumps(VARIABLES | variables)]
    return subprocess.run(command, env=environment, check=False, capture_output=True, text=True)


# variables → exit status, what the output says
ROWS: list[tuple[dict[str, Any], int, str]] = [
    ({}, 2, "firmware.aspm 0000:3b:00.0: "),
    ({"gpu_preflight_waivers": [ASPM]}, 0, "waived until 2999-12-31: riser on order"),
    ({"gpu_preflight_waivers": [ASPM | {"until": "2026-01-31"}]}, 2, "Its waiver ended on 2026-01-31 (riser on order)"),
    ({"gpu_preflight_waivers": [ASPM | {"subject": "0000:3b:00.0"}]}, 2, "firmware.aspm 0000:af:00.0: "),
]


@pytest.mark.parametrize(("variables", "code", "words"), ROWS, ids=["no waiver", "waiver", "ended", "one subject"])
def test_exit_status(inventory: Path, variables: dict[str, Any], code: int, words: str) -> None:
    done = check(inventory, **variables)
    assert done.returncode == code, done.stdout + done.stderr
    assert words in done.stdout


def test_one_module_runs_on_the_server_and_none_changes_it(inventory: Path, tmp_path: Path) -> None:
    node = lifecycle.find(NAME)
    meter.install(node)
    metered = write_inventory(node, tmp_path / "metered.yml", ansible_python_interpreter=meter.INTERPRETER)
    done = check(metered, callback="ansible.posix.json", gpu_preflight_waivers=[ASPM])
    result = json.loads(done.stdout[done.stdout.index("{") :])
    # All judging is done where the facts are.
    assert [row["module"] for row in meter.noted(node)] == ["gpu_facts"]
    assert module_tasks(result) > 1
    assert all(stats["changed"] == stats["failures"] == stats["unreachable"] == 0 for stats in result["stats"].values())


def test_without_root_what_cannot_be_read_is_unknown(inventory: Path, tmp_path: Path) -> None:
    nobody = {"ansible_user": "nobody", "ansible_remote_tmp": "/tmp/.ansible-nobody"}
    done = check(inventory, **nobody, gpu_preflight_waivers=[ASPM], fleet_report_directory=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / f"{NAME}.json").read_text())
    found = {check["id"]: check["status"] for check in report["checks"]}
    assert found["gpu.count"] == found["gpu.visible"] == "pass" and found["gpu.xid"] == found["power.events"] == "unknown"
    assert json.loads((tmp_path / "summary.json").read_text())["stops"] is False
