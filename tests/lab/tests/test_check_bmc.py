"""check.yml with a BMC: what its settings say beside what the hardware shows, and BMCs that give no answer. Above 4G Decoding is off on the server."""
from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.bmc.server import PASSWORD, USERNAME, Bmc
from tests.lab.bmc.trees import load
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

pytestmark = pytest.mark.lab

BIOS = "/redfish/v1/Systems/System_0/Bios"
ATTRIBUTE = "Above4GDecoding"
# What the BMC lists as supplies would be a second source of the power's verdict; here only the operator's word counts.
VARIABLES = {"gpu_preflight_expected_count": 2, "gpu_preflight_supply_watts": 2000}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two Tesla P40 without addresses for their memory."""
    with lifecycle.machine("p40x2-above4g-off", "check-bmc") as node:
        yield write_inventory(node, tmp_path_factory.mktemp("inventory") / "hosts.yml")


@pytest.fixture
def bmc(tmp_path: Path) -> Iterator[Bmc]:
    """A service with the tree of a Supermicro server."""
    with Bmc(load("supermicro-gb300"), tmp_path / "bmc") as service:
        yield service


def check(inventory: Path, folder: Path, bmc: Bmc | None, **change: Any) -> tuple[int, dict[str, Any], str]:
    """A run with this BMC and its right credentials, changed as given: exit status, the host's report, all that was printed."""
    asked = {} if bmc is None else {"base_url": bmc.base_url, "username": USERNAME, "password": PASSWORD, "ca_path": str(bmc.ca_path), **change}
    variables = json.dumps({**VARIABLES, "gpu_preflight_bmc": asked, "fleet_report_directory": str(folder)})
    environment = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
    command = ["ansible-playbook", "gpuops.fleet.check", "-vv", "-i", str(inventory), "-e", variables]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    report = next(path for path in folder.glob("*.json") if path.name != "summary.json")
    return done.returncode, json.loads(report.read_text()), done.stdout + done.stderr


def names(report: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Id, subject and status of every check."""
    return {(one["id"], one["subject"], one["status"]) for one in report["checks"]}


@pytest.fixture(scope="module")
def without(inventory: Path, tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str, str]]:
    """The checks of the same server when no BMC is asked."""
    code, report, printed = check(inventory, tmp_path_factory.mktemp("without"), None)
    assert code == 2 and report["errors"] == [], printed
    assert ("firmware.above_4g", "0000:3b:00.0", "fail") in names(report) and not any(one["id"] == "firmware.bmc_setting" for one in report["checks"])
    return names(report)


# value now, value after the next boot → status, summary, remedy
SETTINGS = [
    ("Disabled", "Enabled", "warn", "Above4GDecoding is Disabled and becomes Enabled at the next boot", "Restart the server"),
    ("Disabled", None, "fail", "Above4GDecoding is Disabled", "Memory Mapped I/O above 4GB"),
    ("Enabled", None, "warn", "Above4GDecoding is Enabled, but the hardware shows the opposite", "Restart the server"),
]


@pytest.mark.parametrize(("value", "pending", "status", "summary", "remedy"), SETTINGS, ids=["pending", "off", "contradicts"])
def test_the_setting_is_compared_with_the_hardware(
    inventory: Path, bmc: Bmc, tmp_path: Path, *, without: set[tuple[str, str, str]], value: str, pending: str | None, status: str, summary: str, remedy: str
) -> None:
    bmc.tree[BIOS]["Attributes"][ATTRIBUTE] = value
    bmc.tree[f"{BIOS}/Settings"]["Attributes"] = {} if pending is None else {ATTRIBUTE: pending}
    code, report, printed = check(inventory, tmp_path / "reports", bmc)
    found = [one for one in report["checks"] if one["id"] == "firmware.bmc_setting" and one["subject"] == ATTRIBUTE]
    assert [(one["status"], one["summary"]) for one in found] == [(status, summary)], printed
    assert remedy in found[0]["remedy"] and found[0]["expected"] == "Above4GDecoding on"
    assert (code, report["errors"]) == (2, []) and {one for one in without if one[0] != "power.budget"} <= names(report)
    assert PASSWORD not in printed and all(path.startswith("/redfish/v1") for path in bmc.requests)


def garbage(bmc: Bmc) -> dict[str, Any]:
    """The service answers with a page for browsers."""
    bmc.raw = b"<html>login</html>"
    return {}


# what goes wrong → the option that the error names, and its words
FAILURES: dict[str, tuple[Callable[[Bmc], dict[str, Any]], str, str]] = {
    "wrong password": (lambda _bmc: {"password": "not-the-password"}, "password", "wrong username or password (HTTP 401)"),
    "garbage": (garbage, "base_url", "is no JSON object, so this is not Redfish"),
    "unreachable": (lambda _bmc: {"base_url": "https://127.0.0.1:1"}, "base_url", "no BMC answers: connection refused"),
    "unknown CA": (lambda _bmc: {"ca_path": ""}, "ca_path", "is not trusted"),
}


@pytest.mark.parametrize(("fault", "option", "words"), FAILURES.values(), ids=FAILURES)
def test_a_bmc_without_an_answer_is_one_line_and_the_other_checks_run(
    inventory: Path, bmc: Bmc, tmp_path: Path, *, without: set[tuple[str, str, str]], fault: Callable[[Bmc], dict[str, Any]], option: str, words: str
) -> None:
    code, report, printed = check(inventory, tmp_path / "reports", bmc, **fault(bmc))
    assert code == 2 and names(report) == without
    (line,) = report["errors"]
    assert line.startswith("gpu_preflight_bmc: ") and option in line and words in line and "\n" not in line
    assert "not-the-password" not in printed and PASSWORD not in printed and "Traceback" not in printed
