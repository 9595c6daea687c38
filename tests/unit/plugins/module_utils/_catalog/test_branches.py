"""The catalogues of driver branches and CUDA versions hold together with that of architectures."""

from __future__ import annotations

import datetime

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import branches, features
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.architectures import ARCHITECTURES
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches as verdict
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.facts import version


def test_dates_are_last_days_of_a_month():
    for row in branches.BRANCHES.values():
        if row["supported_until"]:
            assert (datetime.date.fromisoformat(row["supported_until"]) + datetime.timedelta(days=1)).day == 1
    assert datetime.date.fromisoformat(branches.DATE) and datetime.date.fromisoformat(features.DATE)


def test_a_new_feature_branch_carries_no_commitment():
    for branch, row in branches.BRANCHES.items():
        assert row["kind"] != branches.NEW_FEATURE or row["supported_until"] is None, branch


def test_every_architecture_that_any_branch_supports_has_its_last_branch_in_the_catalogue():
    for name, row in ARCHITECTURES.items():
        last = row["last_branch"]
        assert last is None or last < min(branches.BRANCHES) or last in branches.BRANCHES, name


@pytest.mark.parametrize(
    "branch, date, maintained",
    [
        (580, branches.DATE, True),
        (580, "2028-06-30", True),
        (580, "2028-07-01", False),
        (535, branches.DATE, False),
        (620, branches.DATE, True),
        (615, branches.DATE, False),
        (470, branches.DATE, False),
        (999, branches.DATE, False),
    ],
)
def test_maintained(branch, date, maintained):
    assert verdict.maintained(branch, date) is maintained
    assert "R%d" % branch in verdict.maintenance(branch, date)


def test_cuda_versions_rise_together():
    rules = [features.FEATURES["cuda%d" % major]["rules"][0] for major in (11, 12, 13)]
    for place in (0, 2):
        values = [version(rule[place]) for rule in rules]
        assert None not in values and values == sorted(values)
