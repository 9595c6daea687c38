"""The modules that judge facts: arguments, exit, failure lines. What they judge is tested with the verdicts."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gpu

from tests.unit.facts_samples import device, facts
from tests.unit.module_runner import run

GOOD = facts("p40", "p40")
LOST = facts(device(), device(number=1, state="lost", bar1__address="0x0"))
HEALTH = ["ecc_mode", "ecc_errors", "retired_pages", "remapped_rows", "throttling", "temperature", "pcie_replay", "persistence", "nvlink", "inforom", "xid"]
HEALTH_IDS = ["gpu.count", *["gpu.visible"] * 2, *["gpu.lost"] * 2, "gpu.uniform", *("gpu.%s" % name for name in HEALTH for _gpu in GOOD["devices"])]
FIRMWARE_IDS = ["firmware.above_4g", "firmware.resizable_bar", "firmware.aspm", "pcie.width", "pcie.speed", "pcie.acs"]
CHECK_MODULES = {
    "gpu_health_check": ({}, [*HEALTH_IDS, "gpu.fabric_manager"]),
    "firmware_check": ({}, FIRMWARE_IDS * 2),
    "power_check": ({"supply_watts": 1000}, ["power.budget", "power.worst_case", "power.redundancy", "power.sources_agree", "power.events", "power.events"]),
    "nvidia_driver_check": ({}, ["driver.loaded", "driver.consistent", "driver.gpus"]),
}


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("name", CHECK_MODULES)
def test_good_facts_end_well_and_change_nothing(capsys, name, check_mode):
    params, ids = CHECK_MODULES[name]
    result = run(capsys, name, check_mode=check_mode, facts=GOOD, **params)
    assert (result["failed"], result["changed"], result["status"]) == (False, False, "pass")
    assert [check["id"] for check in result["checks"]] == ids
    skipped = sum(check["status"] == "skipped" for check in result["checks"])
    assert result["msg"] == "%d pass" % (len(ids) - skipped) + (", %d skipped" % skipped if skipped else "")


@pytest.mark.parametrize("name", CHECK_MODULES)
def test_facts_are_read_now_when_they_are_not_given(capsys, monkeypatch, name):
    calls = []
    monkeypatch.setattr(gpu, "read_gpu", lambda run_command, **_options: calls.append(run_command) or GOOD)
    params, _ids = CHECK_MODULES[name]
    assert run(capsys, name, **params)["status"] == "pass"
    assert len(calls) == 1 and calls[0](["true"]) == (0, "", "")


@pytest.mark.parametrize("name", [*CHECK_MODULES, "nvidia_driver_plan"])
def test_what_is_no_facts_is_refused_in_one_line(capsys, name):
    result = run(capsys, name, facts={"ansible_distribution": "Debian"})
    assert result["failed"] and result["error"]["kind"] == "policy"
    assert result["msg"] == "facts has no devices and driver: pass ansible_facts.gpu as gpuops.fleet.gpu_facts returned it"


def test_the_whole_ansible_facts_will_do_too(capsys):
    assert run(capsys, "gpu_health_check", facts={"gpu": GOOD})["status"] == "pass"


def test_a_failure_is_one_line_a_failing_check_and_keeps_all_checks(capsys):
    result = run(capsys, "gpu_health_check", facts=LOST, expected_count=3)
    assert result["failed"] and result["status"] == "fail" and len(result["checks"]) == len(HEALTH_IDS) + 1
    lines = result["msg"].split("\n")
    assert [line.split(": ")[0] for line in lines] == ["gpu.count host", "gpu.lost 0000:3c:00.0"]
    assert all(". Remedy: " in line for line in lines)


def test_fail_on_decides_what_fails(capsys):
    assert not run(capsys, "gpu_health_check", facts=LOST, fail_on=[])["failed"]
    assert run(capsys, "power_check", facts=GOOD)["status"] == "unknown"
    assert run(capsys, "power_check", facts=GOOD, fail_on=["unknown"])["failed"]
    assert run(capsys, "power_check", facts=GOOD, supply_watts=900, fail_on=["fail", "warn"])["msg"].startswith("power.budget host: 850 W required")
    assert run(capsys, "gpu_health_check", facts=GOOD, fail_on=["worse"])["failed"]


def test_no_gpu_is_a_failure_of_the_count_and_of_nothing_else(capsys):
    assert run(capsys, "gpu_health_check", facts=facts(loaded=None))["msg"].startswith("gpu.count host: no NVIDIA GPU on the PCI bus")
    assert run(capsys, "firmware_check", facts=facts(loaded=None))["status"] == "skipped"
    assert run(capsys, "nvidia_driver_check", facts=facts(loaded=None))["status"] == "skipped"


def test_the_power_budget_is_returned_in_figures(capsys):
    assert run(capsys, "power_check", facts=GOOD)["budget"] == {
        "gpu_watts": 500.0, "platform_watts": 350.0, "required_watts": 850.0, "recommended_watts": 1000.0, "reset_watts": 850.0, "worst_watts": 850.0,
        "usable_watts": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name, params, line",
    [
        ("gpu_health_check", {"expected_count": -1}, "expected_count is -1: it must be 0 or more"),
        ("gpu_health_check", {"retired_pages_fail": 5}, "retired_pages_warn is 15: it must not be more than retired_pages_fail (5)"),
        ("power_check", {"supply_watts": -5}, "supply_watts is -5.0: it must be greater than 0"),
        ("power_check", {"supply_watts": 1, "redundant_supplies": 1}, "redundant_supplies is 1: it must be 0 or more and less than supply_count (1)"),
        ("power_check", {"processor_watts": -1}, "processor_watts is -1.0: it must be 0 or more"),
        ("power_check", {"timeout_seconds": 0}, "timeout_seconds is 0: it must be greater than 0 and less than 3600"),
        ("power_check", {"bmc": {"ansible_facts": {}}}, "bmc has no power_sources: pass what gpuops.fleet.bmc_info returned"),
        ("firmware_check", {"bmc_settings": {"Sriov": "Enabled"}},
         "bmc_settings: Sriov has no value; pass what was read from the BMC, attribute name to {value, pending, canonical}"),
        ("nvidia_driver_check", {"expected_version": "new"}, "expected_version is new: it must be a version or branch such as 580.95.05 or 580"),
        ("nvidia_driver_plan", {"version": "580"}, "version is 580: it must be a driver version such as 580.95.05"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_one_clear_line(capsys, name, params, line):
    result = run(capsys, name, facts=GOOD, **params)
    assert result["failed"] and result["msg"] == line and result["error"]["kind"] == "policy"


def test_a_plan_is_an_answer_and_never_a_failure(capsys):
    result = run(capsys, "nvidia_driver_plan", facts=GOOD, branch=595)
    assert (result["failed"], result["changed"], result["plan"]["action"]) == (False, False, "impossible")
    assert result["msg"].startswith("impossible: R595 does not support Tesla P40 at 0000:3b:00.0 (pascal)")


def test_a_plan_in_one_line(capsys):
    result = run(capsys, "nvidia_driver_plan", facts=facts("p40", loaded="390.157"), available_branches=[535, 580], check_mode=True)
    assert result["msg"].startswith("upgrade R580 (proprietary kernel modules): 390.157 is older than the floor 470.82.01; R580 is the newest")
    assert json.dumps(result["plan"])
