"""The filters that make one report of all hosts."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.fleet_summary import FilterModule as Summary
from ansible_collections.gpuops.fleet.plugins.filter.fleet_table import FilterModule as Table
from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check, evidence

fleet_table = Table().filters()["fleet_table"]
fleet_summary = Summary().filters()["fleet_summary"]


def check(name, subject, status, summary="as it is", remedy="Turn it off in firmware setup."):
    return Check(name, subject, status, summary, "", [evidence("x", 1)], "" if status in ("pass", "skipped") else remedy).to_dict()


def p40(name, number):
    """A healthy host but for ASPM on the first `number` GPUs."""
    addresses = ("0000:3b:00.0", "0000:af:00.0")
    aspm = [check("firmware.aspm", address, "fail" if index < number else "pass", "ASPM l1 is on") for index, address in enumerate(addresses)]
    return {"host": name, "gpus": "2 x Tesla P40", "driver": "driver 580.95.05", "checks": [check("gpu.count", "host", "pass"), *aspm], "stops": []}


WAIVED = {**p40("gpu3", 1), "ended_waivers": ["waivers[1]: the waiver of gpu.xid ended on 2026-02-28 and counts no more (its reason: y)"]}
WAIVED["checks"][1]["waiver"] = {"reason": "ticket 7", "until": "2026-12-31"}
OLD = {**p40("gpu4", 0), "from_cache": True, "facts_date": "2026-11-01T08:00:00Z", "ended_waivers": WAIVED["ended_waivers"]}
DOWN = {"host": "gpu5", "gpus": "", "driver": "", "checks": [], "stops": [], "errors": ["not checked: no route to host", "role_watts is -5"]}
WARNED = {**p40("gpu2", 0), "checks": [check("gpu.persistence", "0000:3b:00.0", "warn", "persistence mode is off", "Turn it on.")]}
STOPPED = {**p40("gpu1", 2), "stops": ["firmware.aspm 0000:3b:00.0: ASPM l1 is on"]}
FLEET = [OLD, WAIVED, DOWN, WARNED, STOPPED]

TABLE = """
fail     gpu1  2 x Tesla P40; driver 580.95.05; 2 fail, 1 pass
unknown  gpu5  not checked
               -> not checked: no route to host
               -> role_watts is -5
warn     gpu2  2 x Tesla P40; driver 580.95.05; 1 warn
waived   gpu3  2 x Tesla P40; driver 580.95.05; 1 waived, 2 pass
pass     gpu4  2 x Tesla P40; driver 580.95.05; 3 pass; cached facts of 2026-11-01T08:00:00Z

fail     firmware.aspm    gpu1  0000:3b:00.0  ASPM l1 is on
fail     firmware.aspm    gpu1  0000:af:00.0  ASPM l1 is on
                                              -> Turn it off in firmware setup.
warn     gpu.persistence  gpu2  0000:3b:00.0  persistence mode is off
                                              -> Turn it on.
waived   firmware.aspm    gpu3  0000:3b:00.0  ASPM l1 is on
                                              -> waived until 2026-12-31: ticket 7

pass     firmware.aspm (3), gpu.count (3)

waivers[1]: the waiver of gpu.xid ended on 2026-02-28 and counts no more (its reason: y)"""


def test_all_hosts_are_in_one_table_worst_first():
    assert "\n" + fleet_table(FLEET) == TABLE


@pytest.mark.parametrize("width", [60, 100, 200])
def test_no_line_is_wider_than_asked_unless_names_take_the_room(width):
    assert max(map(len, fleet_table(FLEET, width=width).splitlines())) <= max(width, 80)


@pytest.mark.parametrize("fleet", [[], [DOWN], [OLD]])
def test_a_small_fleet_has_a_table_too(fleet):
    assert fleet_table(fleet).splitlines()


def test_the_summary_counts_and_names_hosts_and_subjects():
    found = fleet_summary(FLEET)
    assert (found["status"], found["stops"]) == ("fail", True)
    statuses = {"gpu4": "pass", "gpu3": "waived", "gpu5": "unknown", "gpu2": "warn", "gpu1": "fail"}
    assert {name: host["status"] for name, host in found["hosts"].items()} == statuses
    assert found["counts"] == {"fail": 2, "warn": 1, "waived": 1, "pass": 6}
    assert found["findings"] == [
        {"id": "firmware.aspm", "status": "fail", "hosts": {"gpu1": ["0000:3b:00.0", "0000:af:00.0"]}},
        {"id": "gpu.persistence", "status": "warn", "hosts": {"gpu2": ["0000:3b:00.0"]}},
        {"id": "firmware.aspm", "status": "waived", "hosts": {"gpu3": ["0000:3b:00.0"]}},
    ]
    assert found["ended_waivers"] == WAIVED["ended_waivers"] and json.dumps(found)


@pytest.mark.parametrize(("fleet", "stops"), [([], False), ([OLD, WAIVED, WARNED], False), ([OLD, DOWN], True), ([STOPPED], True)])
def test_a_host_that_was_not_judged_stops_as_well(fleet, stops):
    assert fleet_summary(fleet)["stops"] is stops


@pytest.mark.parametrize("junk", [[1], [{"checks": []}], [{"host": "a", "checks": [{"id": "x"}]}], 7, ["text"]])
def test_what_is_no_report_is_refused(junk):
    for use in (fleet_table, fleet_summary):
        with pytest.raises(AnsibleFilterError, match="not reports"):
            use(junk)
