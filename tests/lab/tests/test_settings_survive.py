"""gpu_settings on a server: four steps, a reboot, an exchange of the driver, and a value that no GPU takes."""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

pytestmark = pytest.mark.lab

FIRST, SECOND = "0000:3b:00.0", "0000:af:00.0"
UNIT, DAEMON = "gpuops-gpu-settings.service", "nvidia-persistenced.service"
CLOCKS = {"memory_mhz": 3615, "graphics_mhz": 1404}
WISHED = {"persistence_mode": True, "power_limit_watts": 200, "compute_mode": "exclusive_process", "ecc_mode": False}
AS_FOUND = [f"{address}, Disabled, 250.00, Default, Enabled, Enabled" for address in (FIRST, SECOND)]
SET = [f"{address}, Enabled, 200.00, Exclusive_Process, Enabled, Disabled" for address in (FIRST, SECOND)]


@pytest.fixture(scope="module")
def settable() -> Iterator[Node]:
    """Two Tesla P40 whose settings a module may change."""
    lifecycle.up("p40x2", "test-settings")
    yield lifecycle.find("test-settings")
    lifecycle.down("test-settings")


def task(node: Node, folder: Path, *options: str, **arguments: Any) -> dict[str, Any]:
    """The result of gpu_settings with `arguments`, run by Ansible with `options`."""
    inventory = write_inventory(node, folder / "inventory.yml")
    result = folder / "result.json"
    tasks = [
        {"gpuops.fleet.gpu_settings": arguments, "register": "result", "ignore_errors": True},
        # Also in check mode, where the result is what is looked at.
        {"ansible.builtin.copy": {"content": "{{ result | to_json }}", "dest": str(result), "mode": "0600"}, "delegate_to": "localhost", "check_mode": False},
    ]
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    command = ["ansible-playbook", "-i", str(inventory), str(play), *options]
    run = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ, ANSIBLE_NOCOLOR="1"))
    assert run.returncode == 0 and "Traceback" not in run.stdout + run.stderr, run.stdout + run.stderr
    return json.loads(result.read_text())


def present(node: Node) -> list[str]:
    """The settings of each GPU, as nvidia-smi tells them."""
    columns = "pci.bus_id,persistence_mode,power.limit,compute_mode,ecc.mode.current,ecc.mode.pending"
    lines = node.run("nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits")[1].splitlines()
    return [line[4:].lower()[:12] + line[16:] for line in lines]


def clocks(node: Node) -> list[str]:
    """Memory and graphics clock that programs get, GPU by GPU."""
    columns = "clocks.applications.memory,clocks.applications.graphics"
    return node.run("nvidia-smi", f"--query-gpu={columns}", "--format=csv,noheader,nounits")[1].splitlines()


def files(node: Node) -> str:
    """Names, times and sums of everything that keeps settings."""
    found = "find /etc/gpuops /etc/systemd/system -name '*gpuops*' -exec ls -l --time-style=full-iso {} + 2>&1"
    return node.run("sh", "-c", f"{found}; cat /etc/gpuops/* 2>&1", check=False)[1]


def test_four_steps_a_reboot_and_the_way_back(settable: Node, tmp_path: Path) -> None:
    assert present(settable) == AS_FOUND
    untouched = files(settable)

    planned = task(settable, tmp_path, "--check", "--diff", **WISHED)
    assert planned["changed"] and planned["reset_pending"] == [FIRST, SECOND]
    assert present(settable) == AS_FOUND and files(settable) == untouched

    done = task(settable, tmp_path, "--diff", **WISHED)
    assert done["changed"] and present(settable) == SET
    for key in ("diff", "msg", "kept", "gpus", "reset_pending"):
        assert done[key] == planned[key], key
    assert [gpu["before"] for gpu in done["gpus"]] == [{"persistence_mode": False, "power_limit_watts": 250.0, "compute_mode": "default", "ecc_mode": True}] * 2
    assert [gpu["after"] for gpu in done["gpus"]] == [dict(WISHED, power_limit_watts=200.0)] * 2

    written = files(settable)
    for options in ((), ("--check",)):
        again = task(settable, tmp_path, *options, **WISHED)
        assert not again["changed"] and again["msg"] == "nothing to change" and again["reset_pending"] == [FIRST, SECOND]
    assert files(settable) == written

    # The distribution's user and flags stay; only the flag against persistence mode is gone.
    command = settable.run("systemctl", "show", DAEMON, "--property=ExecStart")[1]
    assert "--user nvidia-persistenced --verbose" in command and "--no-persistence-mode" not in command

    # Clocks beside them: what is kept of the rest stays.
    assert clocks(settable) == ["3615, 1303"] * 2
    planned = task(settable, tmp_path, "--check", application_clocks=CLOCKS)
    assert planned["changed"] and clocks(settable) == ["3615, 1303"] * 2
    assert task(settable, tmp_path, application_clocks=CLOCKS)["msg"] == planned["msg"] and clocks(settable) == ["3615, 1404"] * 2
    for options in ((), ("--check",)):
        assert not task(settable, tmp_path, *options, application_clocks=CLOCKS)["changed"]

    settable.reboot()
    assert clocks(settable) == ["3615, 1404"] * 2
    assert present(settable) == [line.replace("Enabled, Disabled", "Disabled, Disabled") for line in SET]
    assert settable.run("systemctl", "is-active", UNIT, DAEMON)[1].split() == ["active", "active"]
    after = task(settable, tmp_path, **WISHED)
    assert not after["changed"] and after["reset_pending"] == []


def test_settings_come_back_with_the_driver(settable: Node, tmp_path: Path) -> None:
    task(settable, tmp_path, **WISHED)
    before = present(settable)
    settable.run("systemctl", "stop", DAEMON)
    settable.run("modprobe", "-r", "nvidia-uvm", "nvidia-drm", "nvidia-modeset", "nvidia")
    assert settable.run("systemctl", "is-active", UNIT, check=False)[1].strip() == "inactive"
    settable.run("modprobe", "nvidia")
    settable.run("systemctl", "start", DAEMON)
    settable.run("systemctl", "start", UNIT)  # waits for the start that the daemon has asked for
    assert present(settable) == before


def test_a_part_of_the_gpus_and_what_others_keep(settable: Node, tmp_path: Path) -> None:
    task(settable, tmp_path, persistence_mode=True, power_limit_watts=200)
    one = task(settable, tmp_path, gpus=[SECOND], power_limit_watts=150.5)
    assert one["changed"] and [line.split(", ")[2] for line in present(settable)] == ["200.00", "150.50"]
    assert sorted(values["-pl"] for values in one["kept"].values()) == ["150.5", "200"]
    now = task(settable, tmp_path, gpus=["1"], power_limit_watts=175, persist=False)
    assert now["changed"] and [values.get("-pl") for values in now["kept"].values()].count(None) == 1
    assert not task(settable, tmp_path, gpus=["1"], power_limit_watts=175, persist=False)["changed"]


def test_nothing_is_kept_any_more(settable: Node, tmp_path: Path) -> None:
    task(settable, tmp_path, **WISHED)
    assert task(settable, tmp_path, "--check", state="absent")["changed"] and "gpuops" in files(settable)
    gone = task(settable, tmp_path, state="absent")
    assert gone["changed"] and gone["kept"] == {} and not task(settable, tmp_path, state="absent")["changed"]
    assert "gpuops-gpu-settings" not in files(settable) and "10-gpuops" not in files(settable)
    settable.reboot()
    assert [line.split(", ")[1:4] for line in present(settable)] == [["Disabled", "250.00", "Default"]] * 2 and clocks(settable) == ["3615, 1303"] * 2
    assert "--no-persistence-mode" in settable.run("systemctl", "show", DAEMON, "--property=ExecStart")[1]


@pytest.mark.parametrize("options", [(), ("--check",)], ids=["real", "check"])
@pytest.mark.parametrize(
    "arguments, line",
    [
        ({"power_limit_watts": 300}, f"power_limit_watts is 300: GPU 0 (Tesla P40 at {FIRST}) takes 125 to 250 W"),
        ({"power_limit_watts": 100, "persistence_mode": True}, f"power_limit_watts is 100: GPU 0 (Tesla P40 at {FIRST}) takes 125 to 250 W"),
        ({"application_clocks": {"memory_mhz": 3600, "graphics_mhz": 1404}},
         f"application_clocks.memory_mhz is 3600: GPU 0 (Tesla P40 at {FIRST}) supports 3615 and 405 MHz"),
        ({"application_clocks": {"memory_mhz": 3615, "graphics_mhz": 1400}},
         f"application_clocks.graphics_mhz is 1400: GPU 0 (Tesla P40 at {FIRST}) with memory at 3615 MHz supports 79 clocks from 544 to 1531 MHz, "
         "next to it 1392 and 1404"),
        ({"power_limit_watts": -1}, "power_limit_watts is -1: it must be more than 0"),
        ({}, "nothing to set: name at least one of persistence_mode, ecc_mode, compute_mode, power_limit_watts, application_clocks"),
    ],
)  # fmt: skip
def test_a_wrong_value_changes_nothing(settable: Node, tmp_path: Path, options: tuple[str, ...], arguments: dict[str, Any], line: str) -> None:
    before = present(settable), files(settable)
    found = task(settable, tmp_path, *options, **arguments)
    assert found["failed"] and found["msg"] == line and found["error"]["kind"] == "policy"
    assert (present(settable), files(settable)) == before


def test_a_lost_gpu_is_named_and_nothing_is_set(settable: Node, tmp_path: Path) -> None:
    before = files(settable)
    faults.inject("lost-gpu", settable, {"gpu": "1"})
    found = task(settable, tmp_path, **WISHED)
    assert found["failed"] and found["msg"] == f"GPU 1 (Tesla P40 at {SECOND}) is lost: its settings can be neither read nor set"
    assert files(settable) == before
    # The sound one can be set alone.
    assert task(settable, tmp_path, gpus=[FIRST], power_limit_watts=180, persist=False)["changed"]
