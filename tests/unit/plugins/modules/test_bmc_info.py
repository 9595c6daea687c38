"""bmc_info as Ansible runs it, against a service with TLS."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule

from tests.lab.bmc.server import PASSWORD, USERNAME, Bmc
from tests.lab.bmc.trees import TREES, load
from tests.unit.facts_samples import facts
from tests.unit.module_runner import run


@pytest.fixture
def service(tmp_path):
    with Bmc(load("hpe-dl380a"), tmp_path) as server:
        yield server


def ask(capsys, service, check_mode=False, **change):
    params = {"base_url": service.base_url, "username": USERNAME, "password": PASSWORD, "ca_path": str(service.ca_path), **change}
    return run(capsys, "bmc_info", check_mode, **{name: value for name, value in params.items() if value is not None})


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("name", TREES)
def test_every_recorded_tree_gives_a_plain_result(capsys, service, name, check_mode):
    service.tree = load(name)
    result = ask(capsys, service, check_mode=check_mode)
    assert (result["failed"], result["changed"]) == (False, False)
    assert {"service", "system", "bios", "bios_attributes", "power", "power_sources", "unavailable"} <= set(result) and result["bios"]
    assert all(set(one) == {"attribute", "value", "enabled", "pending", "slots", "slots_pending"} for one in result["bios"].values())


def test_power_check_takes_the_result(capsys, service):
    result = run(capsys, "power_check", facts=facts("p40", "p40"), bmc=ask(capsys, service))
    assert result["status"] == "pass" and result["budget"]["usable_watts"] == 4400
    assert [one["source"] for one in result["power_sources"]] == ["redfish_power_subsystem", "redfish_power"]


def test_power_check_leaves_out_a_bmc_that_was_not_read(capsys, monkeypatch, service):
    said = []
    monkeypatch.setattr(FleetModule, "warn", lambda _module, message: said.append(message))
    failed = ask(capsys, service, password="not-the-password")
    result = run(capsys, "power_check", facts=facts("p40", "p40"), bmc=failed, supply_watts=1000)
    assert result["status"] == "pass" and result["budget"]["usable_watts"] == 1000
    assert len(said) == 1 and said[0].startswith("bmc: the BMC was not read and is left out: username, password: ")


def test_firmware_check_takes_the_attributes(capsys, service):
    result = run(capsys, "firmware_check", facts=facts("p40", "p40"), bmc_settings=ask(capsys, service)["bios_attributes"], fail_on=[])
    assert {check["subject"] for check in result["checks"] if check["id"] == "firmware.bmc_setting"} >= {"PcieGlobalAspm", "PciSlot2Aspm", "Sriov"}


@pytest.mark.parametrize(
    "change, option, words",
    [
        ({"password": "not-the-password"}, "password", "wrong username or password (HTTP 401)"),
        ({"base_url": "https://127.0.0.1:1"}, "base_url", "no BMC answers: connection refused"),
        ({"base_url": "http://127.0.0.1"}, "base_url", "is not an address like https://"),
        ({"ca_path": None}, "ca_path", "is not trusted"),
        ({"ca_path": "/nowhere/ca.pem"}, "ca_path", "no such file or directory"),
        ({"timeout_seconds": -1}, "timeout_seconds", "must be greater than 0"),
        ({"system": "Blade7"}, "system", "system Blade7 does not exist"),
    ],
)
def test_a_failure_is_one_line_that_names_the_option(capsys, service, change, option, words):
    result = ask(capsys, service, **change)
    assert result["failed"] and result["error"]["option"] == option
    assert option in result["msg"] and words.lower() in result["msg"].lower() and "\n" not in result["msg"]
    assert "exception" not in result
    assert "not-the-password" not in json.dumps(dict(result, invocation=None)) and PASSWORD not in json.dumps(result)


def test_garbage_is_one_line_too(capsys, service):
    service.raw = b"<html>login</html>"
    result = ask(capsys, service)
    assert result["failed"] and result["msg"] == "base_url %s: /redfish/v1/ is no JSON object, so this is not Redfish" % service.base_url
