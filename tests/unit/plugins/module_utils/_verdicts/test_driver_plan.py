"""The driver plan: requirements S1 to S3. One row a decision; the comment of a row names its source."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_plan import check, plan, summary
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import Policy

from tests.unit.driver_decisions import BUSY, ROWS
from tests.unit.facts_samples import KERNEL, device, facts


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_decision(row):
    given, policy, action, branch, flavor, words, *more = row
    decided = plan(given, Policy(**policy))
    assert (decided["action"], decided["branch"], decided["flavor"]) == (action, branch, flavor), decided
    lines = decided["reasons"] + decided["blockers"] + decided["warnings"] + [one["detail"] for one in decided["features"]]
    assert any(words in line for line in lines), decided
    for key, value in (more[0] if more else {}).items():
        assert decided[key] == value, (key, decided)
    assert bool(decided["packages"]) == ("package_source" in policy and action not in ("none", "impossible")), decided
    assert decided["needs_reboot"] == (decided["activation"] == "reboot")
    assert bool(decided["blockers"]) == (action == "impossible")
    assert bool(decided["steps"]) == (action not in ("none", "impossible"))
    assert summary(decided).startswith(action)


@pytest.mark.parametrize(
    "broken",
    [{}, None, {"count": None}, {"count": 1, "devices": [device()]}, {"count": 2, "devices": [], "driver": {"loaded_version": None}}],
)
def test_without_evidence_nothing_is_decided(broken):
    decided = plan(broken, Policy())
    assert decided["action"] == "impossible" and "not known" in decided["blockers"][0]


def test_a_loaded_module_whose_version_cannot_be_read_is_not_taken_for_none():
    given = facts("p40", loaded=None)
    given["driver"]["unavailable"]["loaded_version"] = "the loaded module names no version"
    assert plan(given, Policy())["action"] == "impossible"


def test_nouveau_is_dealt_with_before_the_driver_and_needs_a_reboot():
    decided = plan(facts("p40", loaded=None, nouveau=True), Policy())
    assert decided["activation"] == "reboot"
    assert [step.split(" ")[0] for step in decided["steps"]] == ["blacklist", "rebuild", "install", "reboot", "prove"]


@pytest.mark.parametrize(
    "given, activation",
    [
        (facts("p40", loaded=None), "load"),
        (facts("p40", loaded="390.157"), "reload"),
        (facts(device(processes=BUSY), loaded="390.157"), "reboot"),
        (facts("p40", loaded="390.157", nouveau=True), "reboot"),
        (facts("p40"), "none"),
    ],
)
def test_activation(given, activation):
    assert plan(given, Policy())["activation"] == activation


def test_secure_boot_is_named_before_a_module_is_installed():
    assert any("Secure Boot" in line for line in plan(facts("p40", loaded=None, secure_boot=True), Policy())["reasons"])


def test_steps_name_what_replaces_what():
    assert plan(facts("p40", loaded="390.157"), Policy())["steps"] == [
        "replace 390.157 by driver R580 with the proprietary kernel modules for kernel %s" % KERNEL,
        "unload and load the kernel modules",
        "prove that loaded, library and on-disk version are equal and that the driver sees 1 GPU",
    ]


@pytest.mark.parametrize(
    "policy, line",
    [
        ({"floor_version": "new"}, "floor_version is new: it must be a driver version such as 580.95.05"),
        ({"version": "580"}, "version is 580: it must be a driver version such as 580.95.05"),
        ({"version": "580.95.05", "branch": 535}, "version 580.95.05 is not of branch 535: give one of them, or both alike"),
        ({"branch": 450}, "branch 450 is below the floor 470.82.01"),
        ({"version": "470.57.02"}, "470.57.02 is below the floor 470.82.01"),
        ({"cuda_major": 9}, "cuda_major is 9: it must be one of 11, 12, 13"),
        ({"cuda_major": 12, "branch": 470}, "branch 470 is below 525.60.13, which CUDA 12 needs"),
        ({"branch": 0}, "branch is 0: it must be a driver branch such as 580"),
        ({"flavor": "closed"}, "flavor is closed: it must be auto, open or proprietary"),
        ({"date": "24.11.2026"}, "date is 24.11.2026: it must be written YYYY-MM-DD"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_clear_line(policy, line):
    with pytest.raises(PolicyError) as error:
        Policy(**policy)
    assert error.value.message == line


CHECKS = [
    (facts("p40", "p40", loaded="580.95.05"), {}, "pass", "supports every GPU", "580.95.05"),
    (facts("p40", loaded="390.157"), {}, "warn", "upgrade R580 (proprietary kernel modules): 390.157 is older", "390.157"),
    (facts("p40", loaded=None), {}, "warn", "install R580", "no driver"),
    (facts("p40", loaded=None), {"branch": 595}, "fail", "no driver can be chosen: ", None),
    (facts(loaded=None), {}, "skipped", "no NVIDIA GPU", "no driver"),
]


@pytest.mark.parametrize(("given", "policy", "status", "words", "current"), CHECKS)
def test_the_plan_as_a_check(given, policy, status, words, current):
    found = check(plan(given, Policy(**policy)))
    assert (found.id, found.subject, found.status) == ("driver.plan", "host", status)
    assert words in found.summary and [item["value"] for item in found.evidence] == [current]
