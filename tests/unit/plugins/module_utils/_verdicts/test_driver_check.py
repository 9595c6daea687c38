"""driver.loaded, driver.consistent and driver.gpus: the proof after a change of the driver."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver

from tests.unit.facts_samples import KERNEL, device, facts

OPEN, CLOSED = "open", "proprietary"
BROKEN = ({}, None, {"driver": None}, {"driver": {}}, {"driver": {"loaded_version": "new"}}, {"driver": {"loaded_version": 580}})


def status(checks, name):
    (found,) = [check.status for check in checks if check.id == name]
    return found


@pytest.mark.parametrize(
    "given, expected, answer",
    [
        (facts("p40"), {}, "pass"),
        (facts("p40"), {"expected_version": "580.95.05"}, "pass"),
        (facts("p40"), {"expected_version": "580"}, "pass"),
        (facts("p40"), {"expected_version": "580.95.05", "expected_flavor": CLOSED}, "pass"),
        (facts("p40"), {"expected_version": "58"}, "fail"),  # a number, not a text that begins alike
        (facts("p40"), {"expected_version": "580.95.06"}, "fail"),
        (facts("p40"), {"expected_flavor": OPEN}, "fail"),
        (facts("p40", flavor=None), {"expected_flavor": OPEN}, "unknown"),
        (facts("p40", loaded=None), {}, "fail"),
        (facts("p40", loaded=None, nouveau=True), {}, "fail"),
        (facts(loaded=None), {}, "skipped"),
        *((broken, {}, "unknown") for broken in BROKEN),
    ],
)
def test_loaded(given, expected, answer):
    assert status(driver.check(given, **expected), "driver.loaded") == answer


@pytest.mark.parametrize(
    "given, answer",
    [
        (facts("p40"), "pass"),
        # Upgraded without a reboot (NVML error 18)
        (facts("p40", loaded="535.183.01", library="580.95.05", disk="580.95.05"), "fail"),
        (facts("p40", library="580.178.04"), "fail"),
        (facts("p40", disk="580.178.04"), "fail"),
        (facts("p40", disk={}), "fail"),
        (facts("p40", disk={"5.15.0-1": "580.95.05"}), "fail"),
        (facts("p40", disk={KERNEL: None}), "unknown"),
        (facts("p40", disk=None), "unknown"),
        (facts("p40", library=None), "unknown"),
        (facts("p40", kernel_release=None), "unknown"),
        (facts("p40", loaded=None), "skipped"),
        *((broken, "unknown") for broken in BROKEN),
    ],
)
def test_consistent(given, answer):
    assert status(driver.check(given), "driver.consistent") == answer


def test_waiting_and_half_done_have_different_remedies():
    waiting = driver.check(facts("p40", loaded="535.183.01", library="580.95.05", disk="580.95.05"))[1]
    half = driver.check(facts("p40", library="580.178.04"))[1]
    assert "reload" in waiting.remedy and "package manager" in half.remedy
    assert waiting.summary == "driver versions differ: 535.183.01, 580.95.05"


@pytest.mark.parametrize(
    "given, expected, answer",
    [
        (facts("p40", "p40"), None, "pass"),
        (facts("p40", "p40"), 2, "pass"),
        (facts("p40", "p40"), 1, "fail"),
        (facts("p40"), 2, "fail"),
        (facts(device(), device(number=1, state="lost")), None, "fail"),
        (facts(device(), device(number=1, state="not_visible")), None, "fail"),
        (facts("p40", loaded=None), None, "skipped"),
        (facts("p40", loaded=None), 0, "skipped"),
        (facts(device(), device(number=1, state=None)), None, "unknown"),
        (facts(device(uuid=None)), None, "unknown"),
        (facts(loaded=None), None, "skipped"),
        (facts(loaded=None), 2, "fail"),
        *((broken, None, "unknown") for broken in BROKEN),
        ({"count": 2, "devices": [device()]}, 1, "unknown"),
    ],
)
def test_gpus(given, expected, answer):
    assert status(driver.check(given, expected_count=expected), "driver.gpus") == answer


def test_the_evidence_names_every_gpu():
    check = driver.check(facts(device(), device(number=1, state="lost")))[2]
    assert [item["value"] for item in check.evidence] == ["pynvml", "GPU-00000000-0000-0000-0000-000000000000", "lost"]


@pytest.mark.parametrize("expected", [{"expected_version": "latest"}, {"expected_count": -1}])
def test_a_parameter_that_makes_no_sense_is_refused(expected):
    with pytest.raises(PolicyError, match="^expected_"):
        driver.check({}, **expected)
