"""firmware.resizable_bar: section 3 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware

from tests.unit.facts_samples import device, facts

# GeForce RTX 4090 (24564 MiB by NVML) and its sizes, 64 MiB to 32 GiB.
RTX = {"pci__device_id": "2684", "architecture": "ada", "memory__total_mib": 24564, "pci__resizable_bar_sizes_mib": [64 << step for step in range(10)]}
UNREAD = {"pci__resizable_bar_sizes_mib": None}


def check(one, **host):
    return next(one for one in firmware.check(facts(one, **host)) if one.id == "firmware.resizable_bar")


@pytest.mark.parametrize(
    "one, status, words",
    [
        (device("p40"), "skipped", "fixed BAR1 of 32 GiB"),
        (device("h100"), "skipped", "fixed BAR1 of 128 GiB"),
        (device("p40", bar1__size_mib=256), "skipped", "fixed BAR1"),  # firmware.above_4g tells what is wrong
        (device("t4"), "skipped", "cannot be larger"),
        (device("t4", **UNREAD), "skipped", "turing cards have no Resizable BAR"),
        (device("odd", **RTX), "warn", "BAR1 is 256 MiB"),
        (device("odd", **{**RTX, **UNREAD}), "warn", "BAR1 is 256 MiB"),
        (device("odd", **RTX, bar1__size_mib=16384), "warn", "BAR1 is 16 GiB"),
        (device("odd", **RTX, bar1__size_mib=32768), "pass", "covers"),
        (device("odd", **{**RTX, "pci__resizable_bar_sizes_mib": []}), "skipped", "cannot be larger"),
        (device("odd", **RTX, bar1__size_mib=None), "warn", "BAR1 is 256 MiB"),  # NVML knows it too
        (device("odd", **RTX, bar1__address=None, unavailable={"bar1.address": "BAR1 is not assigned"}), "skipped", "firmware.above_4g"),
        (device("odd", **RTX, bar1={}), "unknown", "how large BAR1 is"),
        (device("odd", memory={}), "unknown", "how large the memory is"),
        (device("odd", **{**RTX, "memory__total_mib": None}), "warn", "the memory 24 GiB"),  # the board catalogue knows it
    ],
)
def test_resizable_bar(one, status, words):
    found = check(one)
    assert found.status == status and words in found.summary, found.line()


def test_the_drivers_own_attempt_is_evidence_and_no_fault():
    event = {"kind": "bar_resize", "bus_address": "0000:3b:00.0", "code": None, "seconds_ago": 1, "text": "nvidia 0000:3b:00.0: BAR 1: no space"}
    found = check(device("odd", **RTX, bar1__size_mib=32768), kernel_events=[event])
    assert found.status == "pass"
    found = check(device("odd", **RTX), kernel_events=[event])
    assert found.status == "warn" and found.evidence[-1]["value"] == event["text"]
    assert "NVreg_EnableResizableBar=1" in found.remedy
