"""One planted fault, one failing check: a broken machine fails the check that names its fault, and no other one."""
from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node

pytestmark = pytest.mark.lab

P40X2 = ("0000:3b:00.0", "0000:af:00.0")
# Module → arguments that say what a healthy machine of these profiles has.
MODULES: dict[str, dict[str, Any]] = {"gpu_health_check": {"expected_count": 2}, "firmware_check": {}, "power_check": {"supply_watts": 1000}}

# Profile → the checks that fail, each with its subject.
FAULTS: dict[str, set[tuple[str, str]]] = {
    "p40x2": set(),
    "p40x2-above4g-off": {("firmware.above_4g", address) for address in P40X2},
    "p40x2-aspm-on": {("firmware.aspm", address) for address in P40X2},
    "p40x2-supplies-small": {("power.budget", "host")},
    "p40x2-supply-failed": {("power.redundancy", "host")},
}


# Faults of a running machine that can be taken back: profile → (what is planted, as lab keys; what becomes of which check). Where a fault
# is no failure but a warning or an unknown answer, it makes that one and no other.
STATES: dict[str, list[tuple[dict[str, str], set[tuple[str, str, str]]]]] = {
    "p40x2": [
        ({"gpu": "0", "attribute": "ecc_mode_pending", "value": "0"}, {("gpu.ecc_mode", P40X2[0], "warn")}),
        ({"gpu": "1", "attribute": "ecc_volatile_uncorrected", "value": "2"}, {("gpu.ecc_errors", P40X2[1], "fail")}),
        ({"gpu": "0", "attribute": "retired_pages_double_bit", "value": "15"}, {("gpu.retired_pages", P40X2[0], "warn")}),
        ({"gpu": "0", "attribute": "retired_pages_double_bit", "value": "60"}, {("gpu.retired_pages", P40X2[0], "fail")}),
        ({"gpu": "1", "attribute": "retired_pages_pending", "value": "1"}, {("gpu.retired_pages", P40X2[1], "fail")}),
        ({"gpu": "0", "attribute": "event_reasons", "value": "0x40"}, {("gpu.throttling", P40X2[0], "warn")}),
        ({"gpu": "0", "attribute": "temperature_gpu_c", "value": "93"}, {("gpu.temperature", P40X2[0], "fail")}),
        ({"gpu": "1", "attribute": "temperature_gpu_c", "value": "88"}, {("gpu.temperature", P40X2[1], "warn")}),
        ({"gpu": "1", "attribute": "vbios_version", "value": "86.02.31.00.01"}, {("gpu.uniform", "Tesla P40", "warn")}),
        ({"gpu": "0", "attribute": "pcie_replay_counter", "value": "9"}, set()),
        ({"gpu": "0", "attribute": "retired_pages_pending", "value": "error 999"}, {("gpu.retired_pages", P40X2[0], "unknown")}),
        ({"gpu": "0", "attribute": "event_reasons", "value": "error 999"}, {("gpu.throttling", P40X2[0], "unknown")}),
    ],
    "mixed": [
        ({"gpu": "2", "attribute": "remapped_rows_pending", "value": "1"}, {("gpu.remapped_rows", "0000:af:00.0", "fail")}),
        ({"gpu": "2", "attribute": "remapped_rows_failure", "value": "1"}, {("gpu.remapped_rows", "0000:af:00.0", "fail")}),
        ({"gpu": "1", "attribute": "retired_pages_pending", "value": "1"}, {("gpu.retired_pages", "0000:5e:00.0", "fail")}),
    ],
    "h100x8": [({"gpu": "3", "attribute": "nvlinks", "value": "1 1 1 1 1 1 1 0 1 1 1 1 1 1 1 1 1 1"}, {("gpu.nvlink", "0000:61:00.0", "fail")})],
}
# Faults that the kernel log remembers: each has a machine of its own.
EVENTS: dict[str, tuple[str, dict[str, str], set[tuple[str, str]]]] = {
    "lost": ("lost-gpu", {"gpu": "1"}, {("gpu.lost", P40X2[1])}),
    "ecc": ("ecc-error", {"gpu": "0"}, {("gpu.ecc_errors", P40X2[0])}),
}


def judged(node: Node, folder: Path, modules: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Every check of `modules` on the node, judged on one reading of its facts."""
    inventory = write_inventory(node, folder / "inventory.yml")
    tasks: list[dict[str, Any]] = [{"gpuops.fleet.gpu_facts": {"gather_subset": ["all"]}}]
    for module, arguments in modules.items():
        tasks.append({f"gpuops.fleet.{module}": {"facts": "{{ ansible_facts.gpu }}", "fail_on": [], **arguments}, "register": module})
    result = f"{{{{ ({' + '.join(f'{module}.checks' for module in modules)}) | to_json }}}}"
    tasks.append({"ansible.builtin.copy": {"content": result, "dest": str(folder / "checks.json"), "mode": "0600"}, "delegate_to": "localhost"})
    play = folder / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False))
    run = subprocess.run(["ansible-playbook", "-i", str(inventory), str(play)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads((folder / "checks.json").read_text())


@contextmanager
def machine(profile: str, name: str) -> Iterator[Node]:
    """A fresh machine of the profile."""
    lifecycle.up(profile, name)
    try:
        yield lifecycle.find(name)
    finally:
        lifecycle.down(name)


def failures(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(id, subject) of the checks that fail; each says why and what to do."""
    failing = [check for check in found if check["status"] == "fail"]
    assert all(check["evidence"] and check["remedy"] for check in failing)
    return {(check["id"], check["subject"]) for check in failing}


def faults_of(found: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    """(id, subject, status) of the checks that neither pass nor are skipped."""
    return {(check["id"], check["subject"], check["status"]) for check in found if check["status"] not in ("pass", "skipped")}


@pytest.mark.parametrize("profile", FAULTS)
def test_a_fault_fails_its_check_and_no_other(profile: str, tmp_path: Path) -> None:
    with machine(profile, f"planted-{profile}") as node:
        found = judged(node, tmp_path, MODULES)
    assert failures(found) == FAULTS[profile], [f"{check['id']} {check['subject']}: {check['summary']}" for check in found if check["status"] == "fail"]
    assert {check["id"] for check in found} >= {"gpu.count", "firmware.above_4g", "firmware.aspm", "pcie.width", "pcie.speed", "power.budget"}


@pytest.mark.parametrize("profile", STATES)
def test_a_fault_of_a_running_machine_shows_in_its_check_alone(profile: str, tmp_path: Path) -> None:
    health: dict[str, dict[str, Any]] = {"gpu_health_check": {}}
    with machine(profile, f"state-{profile}") as node:
        sound = faults_of(judged(node, tmp_path, health))
        assert {status for _id, _subject, status in sound} <= {"warn"} and {name for name, _subject, _status in sound} <= {"gpu.persistence"}
        for settings, expected in STATES[profile]:
            path = f"/var/lib/lab/nvml/gpu{settings['gpu']}/{settings['attribute']}"
            before = node.read(path).strip()
            faults.inject("set", node, settings)
            assert faults_of(judged(node, tmp_path, health)) ^ sound == expected, settings
            faults.inject("set", node, {**settings, "value": before})
        assert faults_of(judged(node, tmp_path, health)) == sound


@pytest.mark.parametrize("name", EVENTS)
def test_a_fault_that_the_kernel_log_tells_of_too_fails_one_check(name: str, tmp_path: Path) -> None:
    fault, settings, expected = EVENTS[name]
    with machine("p40x2", f"event-{name}") as node:
        faults.inject(fault, node, settings)
        found = judged(node, tmp_path, MODULES)
    assert failures(found) == expected, [f"{check['id']} {check['subject']}: {check['summary']}" for check in found if check["status"] == "fail"]


def test_a_driver_that_does_not_answer_makes_nothing_pass_and_nothing_fail(tmp_path: Path) -> None:
    with machine("p40x2", "event-silent") as node:
        for function, code in (("nvmlInit_v2", "999"), ("nvmlDeviceGetCount_v2", "999")):
            faults.inject("nvml-error", node, {"function": function, "code": code})
            found = judged(node, tmp_path, {"gpu_health_check": {}})
            assert faults_of(found) == {("gpu.visible", address, "unknown") for address in P40X2}
            # The bus, the kernel log and /proc/driver/nvidia answer without NVML.
            assert {check["id"] for check in found if check["status"] == "pass"} == {"gpu.count", "gpu.xid", "gpu.uniform"}
            faults.inject("nvml-restore", node, {})
