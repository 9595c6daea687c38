"""The catalogue of Xids is whole: every code has a bucket that says what to do."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import xids

SEVERITIES = {xids.APPLICATION, xids.INFORMATION, xids.GPU, xids.MACHINE, xids.POWER}


def test_every_code_has_a_known_bucket_and_stands_once():
    engines = [code for codes, _name, _bucket in xids.ENGINES for code in codes]
    assert len(engines) == len(set(engines)) and not set(engines) & set(xids.XIDS)
    assert all(bucket in xids.BUCKETS for _name, bucket, _second in xids.XIDS.values())
    assert all(bucket in xids.BUCKETS for _codes, _name, bucket in xids.ENGINES)
    assert xids.UNKNOWN_BUCKET in xids.BUCKETS


def test_every_bucket_says_how_bad_it_is_and_what_to_do():
    for severity, action in [*xids.BUCKETS.values(), *xids.RECOVERY_ACTIONS.values()]:
        assert severity in SEVERITIES and action and not action.endswith(".")


@pytest.mark.parametrize(
    "code, severity",
    [(13, "application"), (31, "application"), (43, "information"), (45, "information"), (48, "gpu"), (54, "power"), (62, "gpu"), (63, "information"),
     (64, "gpu"), (74, "gpu"), (79, "machine"), (92, "information"), (94, "application"), (95, "gpu"), (119, "gpu")],
)  # fmt: skip
def test_well_known_codes(code, severity):
    assert xids.BUCKETS[xids.XIDS[code][1]][0] == severity


@pytest.mark.parametrize(
    "text, action",
    [("changed from 0x0 (None) to 0x4 (Drain and Reset)", "drain and reset"), ("changed from 0x1 (GPU Reset Required) to 0x0 (None)", "none")],
)
def test_what_xid_154_asks_for_is_in_the_table(text, action):
    found = re.search(xids.RECOVERY_ACTION, "NVRM: Xid (PCI:0009:01:00): 154, GPU recovery action " + text)
    assert found.group("action").lower() == action and action in xids.RECOVERY_ACTIONS
