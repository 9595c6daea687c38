"""The Check type refuses what the contract refuses, and the line holds everything that a reader needs."""

from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import (
    STATUSES,
    ActionError,
    Check,
    EvidenceError,
    FleetError,
    PolicyError,
    ServiceError,
    evidence,
    worst,
)

SEEN = [evidence("sysfs:/x", "0x1")]


def test_line_names_subject_evidence_expectation_and_remedy():
    check = Check("firmware.above_4g", "0000:3b:00.0", "fail", "BAR1 has no address", "BAR1 at or above 4 GiB", SEEN, "Enable it.")
    assert check.line() == "firmware.above_4g 0000:3b:00.0: BAR1 has no address (expected BAR1 at or above 4 GiB; evidence sysfs:/x = 0x1). Remedy: Enable it."


def test_line_is_one_line_and_names_evidence_that_is_missing():
    check = Check("a.b", "host", "unknown", "two\nlines.", evidence=[evidence("sysfs:/y", None)], remedy="Read\n it.")
    assert check.line() == "a.b host: two lines (evidence sysfs:/y = not readable). Remedy: Read it."


def test_to_dict_has_the_keys_of_the_contract():
    assert list(Check("a.b", "host", "pass", "fine", evidence=SEEN).to_dict()) == ["id", "subject", "status", "summary", "expected", "evidence", "remedy"]


@pytest.mark.parametrize(
    "status, seen, remedy",
    [
        ("pass", [], ""),
        ("pass", [evidence("x", None)], ""),
        ("pass", SEEN, "do it"),
        ("skipped", SEEN, "do it"),
        ("fail", SEEN, ""),
        ("warn", SEEN, ""),
        ("unknown", [], ""),
        ("good", SEEN, ""),
    ],
)
def test_a_check_that_breaks_the_contract_cannot_be_built(status, seen, remedy):
    with pytest.raises(ValueError):
        Check("a.b", "host", status, "text", evidence=seen, remedy=remedy)


def test_a_check_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Check("a.b", "host", "pass", "fine", evidence=SEEN).status = "fail"


@pytest.mark.parametrize(
    "statuses, expected",
    [([], "unknown"), (["pass", "skipped"], "pass"), (["skipped"], "skipped"), (["warn", "unknown", "pass"], "unknown"), (list(STATUSES), "fail")],
)
def test_worst(statuses, expected):
    assert worst(statuses) == expected


def test_errors_are_one_tree_with_one_line_and_details():
    kinds = {error.kind for error in (FleetError, EvidenceError, PolicyError, ActionError, ServiceError)}
    assert len(kinds) == 5
    error = PolicyError("two\nlines", option="branch")
    assert isinstance(error, FleetError) and str(error) == error.message == "two lines" and error.details == {"option": "branch"}
