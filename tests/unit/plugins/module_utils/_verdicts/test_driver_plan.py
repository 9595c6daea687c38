"""The driver plan: requirements S1 to S3. One row a decision; the comment of a row names its source."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_plan import check, plan, summary
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import Policy

from tests.unit.facts_samples import KERNEL, device, facts

OPEN, CLOSED = "open", "proprietary"
BUSY = [{"pid": 812, "name": "/usr/bin/ollama", "used_memory_mib": 9000}]

# facts, policy → action, branch, flavor, a word of the reasons or blockers
ROWS = [
    # --- nothing to do
    # S1: at or above 470.82.01 no update, however new the branches are
    (facts("p40", "p40", loaded="470.82.01"), {}, "none", 470, CLOSED, "meets the floor 470.82.01"),
    # S1; R535 was maintained until June 2026 (branch table): said, not acted on
    (facts("p40", "p40", loaded="535.309.01"), {}, "none", 535, CLOSED, "was maintained until 2026-06-30"),
    # S1
    (facts("p40", "p40", loaded="580.95.05"), {}, "none", 580, CLOSED, "supports every GPU"),
    # a pin that is met
    (facts("p40", loaded="580.95.05"), {"version": "580.95.05"}, "none", 580, CLOSED, "meets"),
    # a branch pin that is met
    (facts("p40", loaded="580.178.04"), {"branch": 580}, "none", 580, CLOSED, "meets"),
    # Turing runs both flavours below R615: what works stays (driver-assistant rule "either")
    (facts("t4", loaded="580.95.05", flavor=CLOSED), {}, "none", 580, CLOSED, "meets"),
    # evidence, pitfall 10: a lost GPU is no matter of the driver
    (facts(device(state="lost"), device(number=1)), {}, "none", 580, CLOSED, "no driver change brings it back"),
    # the driver supports the card and still does not see it: its version is not why
    (facts(device(state="not_visible"), device(number=1)), {}, "none", 580, CLOSED, "its version is not why"),
    # unknown id, working: not guessed about, left alone (selection rule, last row)
    (facts("odd", loaded="580.95.05", flavor=OPEN), {}, "none", 580, OPEN, "meets"),
    # no GPU
    (facts(loaded=None), {}, "none", None, None, "no NVIDIA GPU on the PCI bus"),
    # --- install
    # S2 and selection table: P40 ends with R580, proprietary
    (facts("p40", "p40", loaded=None), {}, "install", 580, CLOSED, "newest maintained branch that supports every GPU"),
    # selection table: V100 as P40
    (facts("v100", loaded=None), {}, "install", 580, CLOSED, "no NVIDIA driver is installed"),
    # selection table: Pascal with Turing and Ampere is R580 proprietary
    (facts("p40", "t4", "a100", loaded=None), {}, "install", 580, CLOSED, "newest maintained"),
    # R620 long-term until 2029, open only (driver guide r620)
    (facts("h100", loaded=None), {}, "install", 620, OPEN, "R620 (long-term support branch)"),
    # Blackwell: open only
    (facts("b200", loaded=None), {}, "install", 620, OPEN, "newest maintained"),
    # Grace Hopper: open only
    (facts("gh200", loaded=None), {"branch": 580}, "install", 580, OPEN, "R580 is pinned"),
    # what the archive has decides: 595 is the newest maintained one offered; open is the default from R560
    (facts("a100", loaded=None), {"available_branches": [535, 580, 595]}, "install", 595, OPEN, "newest maintained"),
    # proprietary asked for: R610 was the last with it and is a feature branch, so R595
    (facts("a100", loaded=None), {"flavor": CLOSED}, "install", 595, CLOSED, "newest maintained"),
    # below R560 the proprietary flavour is the default (driver guide r560)
    (facts("t4", loaded=None), {"branch": 535}, "install", 535, CLOSED, "was maintained until 2026-06-30"),
    # only the ended R535 on offer (Debian 12): taken, and said
    (facts("p40", loaded=None), {"available_branches": [535]}, "install", 535, CLOSED, "newest branch that supports every GPU"),
    # Kepler ends with R470, long ended: the only one that drives the card
    (facts("k80", loaded=None), {}, "install", 470, CLOSED, "no maintenance commitment"),
    # R595 ends in March 2027, R580 in June 2028: after that date R580 is the newest maintained one below R620
    (facts("a100", loaded=None), {"available_branches": [580, 595], "date": "2027-06-01"}, "install", 580, OPEN, "newest maintained"),
    # unknown id with both pins: the user's word
    (facts("odd", loaded=None), {"branch": 580, "flavor": OPEN}, "install", 580, OPEN, "taken because it is pinned"),
    # S3: the kernel changed, the module is only there for the old one: same branch again
    (facts("p40", loaded=None, disk={"5.15.0-100-generic": "535.183.01"}), {}, "reinstall", 535, CLOSED, "only for 5.15.0-100-generic"),
    # S3: still loaded, gone from the disk
    (facts("p40", loaded="580.95.05", disk={}), {}, "reinstall", 580, CLOSED, "gone after the next boot"),
    # headless set without its library
    (facts("p40", loaded="580.95.05", library=None), {}, "reinstall", 580, CLOSED, "libnvidia-ml.so.1 is missing"),
    # unattended upgrade of the library alone (prior art, thread 3)
    (facts("p40", loaded="535.183.01", library="580.95.05"), {}, "reinstall", 580, CLOSED, "half installed"),
    # open flavour on a Pascal: the card is invisible until the flavour changes (driver-packages 0.1)
    (facts(device(state="not_visible"), loaded="580.95.05", flavor=OPEN), {}, "install", 580, CLOSED, "needs the proprietary kernel modules"),
    # --- upgrade, downgrade
    # S2
    (facts("p40", "p40", loaded="390.157"), {}, "upgrade", 580, CLOSED, "390.157 is older than the floor 470.82.01"),
    # S2: not R620, which drops Pascal, although the T4 could have it
    (facts("p40", "t4", loaded="450.248.02"), {}, "upgrade", 580, CLOSED, "older than the floor"),
    # S2: an H100 SXM begins with R525 (open module tables)
    (facts(device("h100", state="not_visible"), loaded="510.108.03"), {}, "upgrade", 620, OPEN, "its first branch is R525"),
    # floor within a branch
    (facts("p40", loaded="580.65.06"), {"floor_version": "580.95.05"}, "upgrade", 580, CLOSED, "older than the floor 580.95.05"),
    # a newer branch pinned: the installed flavour stays
    (facts("t4", loaded="535.309.01", flavor=CLOSED), {"branch": 580}, "upgrade", 580, CLOSED, "not of the pinned branch R580"),
    # CUDA repository upgraded past Pascal (driver-packages 0.4): back to the last branch that has it
    (facts(device(state="not_visible"), loaded="615.71.09", flavor=OPEN), {}, "downgrade", 580, CLOSED, "its last branch is R580"),
    # version pinned below what runs
    (facts("a100", loaded="595.91.07", flavor=OPEN), {"version": "580.95.05"}, "downgrade", 580, OPEN, "not the pinned version"),
    # S4: CUDA 12 needs 525.60.13
    (facts("p40", loaded="470.256.02"), {"cuda_major": 12}, "upgrade", 580, CLOSED, "older than 525.60.13, which CUDA 12 needs"),
    # S4: and is met from there on
    (facts("p40", loaded="535.183.01"), {"cuda_major": 12}, "none", 535, CLOSED, "meets 525.60.13, which CUDA 12 needs"),
    # S4: the floor of the user stays when it is higher
    (facts("p40", loaded="470.256.02"), {"cuda_major": 11}, "none", 470, CLOSED, "meets the floor 470.82.01"),
    # S4: CUDA 13 needs R580
    (facts("t4", loaded="570.211.01", flavor=OPEN), {"cuda_major": 13, "available_branches": [570, 580]}, "upgrade", 580, OPEN, "which CUDA 13 needs"),
    # --- the driver is there and waits
    # evidence, pitfall 9: library and disk new, old module loaded
    (facts("p40", loaded="535.183.01", library="580.95.05", disk="580.95.05"), {}, "reload", 580, CLOSED, "535.183.01 is loaded, 580.95.05 is installed"),
    # the same, in use by a program
    (facts(device(processes=BUSY), loaded="535.183.01", library="580.95.05", disk="580.95.05"), {}, "reboot", 580, CLOSED, "in use by /usr/bin/ollama"),
    # installed and never loaded
    (facts("p40", loaded=None, disk="580.95.05", library="580.95.05"), {}, "reload", 580, CLOSED, "installed and not loaded"),
    # installed, nouveau was first (S17)
    (facts("p40", loaded=None, disk="580.95.05", library="580.95.05", nouveau=True), {}, "reboot", 580, CLOSED, "nouveau is loaded"),
    # --- impossible
    # selection table: R590 and later drop Pascal
    (facts("p40", loaded=None), {"branch": 595}, "impossible", None, None, "R595 does not support Tesla P40 at 0000:3b:00.0 (pascal): its last branch is R580"),
    # the same while a good driver runs: it is not exchanged for one that loses the card
    (facts("p40", "t4"), {"branch": 595}, "impossible", None, None, "its last branch is R580"),
    # selection table: Pascal and Blackwell share branches and no flavour
    (facts("p40", "b200", loaded=None), {}, "impossible", None, None, "no flavour drives every GPU"),
    # Kepler ends with R470, Hopper SXM begins with R525
    (facts("k80", "h100", loaded=None), {}, "impossible", None, None, "one ends with R470, another begins with R525"),
    # open asked for on a Pascal
    (facts("p40", loaded=None), {"flavor": OPEN}, "impossible", None, None, "needs the proprietary kernel modules, not the open ones"),
    # proprietary ended with R610
    (facts("t4", loaded=None), {"branch": 620, "flavor": CLOSED}, "impossible", None, None, "they end with R610"),
    # driver-packages 0.5: Debian 13 and Ubuntu 26.04 of the CUDA repository have nothing for a Pascal
    (facts("p40", loaded=None), {"available_branches": [595, 610]}, "impossible", None, None, "R595 does not support"),
    # pin and source disagree
    (facts("p40", loaded=None), {"branch": 580, "available_branches": [535]}, "impossible", None, None, "R580 is not available from the package source"),
    # empty source
    (facts("p40", loaded=None), {"available_branches": []}, "impossible", None, None, "the package source has no driver branch"),
    # a floor above the last branch of the card
    (facts("p40"), {"floor_version": "590.44.01"}, "impossible", None, None, "its last branch is R580"),
    # S4: a 580 driver reports CUDA 13.0 on a Pascal, whose code CUDA 13 no longer builds
    (facts("p40"), {"cuda_major": 13}, "impossible", None, None, "impossible on this hardware: it needs compute capability 7.5, and Tesla P40"),
    # S4, unknown card: nobody knows
    (facts("odd"), {"cuda_major": 13}, "impossible", None, None, "is not known"),
    # unknown id: no guess (selection rule, last row)
    (facts("odd", loaded=None), {}, "impossible", None, None, "set branch and flavor"),
    # unknown id, branch pinned only
    (facts("odd", loaded=None), {"branch": 580}, "impossible", None, None, "set flavor"),
]


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_decision(row):
    given, policy, action, branch, flavor, words = row
    decided = plan(given, Policy(**policy))
    assert (decided["action"], decided["branch"], decided["flavor"]) == (action, branch, flavor), decided
    assert any(words in line for line in decided["reasons"] + decided["blockers"]), decided
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
