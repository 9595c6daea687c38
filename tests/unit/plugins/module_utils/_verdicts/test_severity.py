"""Which checks stop a run: severity, waivers and their dates, and what is said of input that makes no sense."""

from __future__ import annotations

import datetime
import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import check_ids
from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.severity import STANDINGS, Policy, is_date, judge, standing, worst
from hypothesis import given
from hypothesis import strategies as st

TODAY = "2026-11-24"
P0, P1 = "0000:3b:00.0", "0000:af:00.0"


def check(name="firmware.aspm", subject=P0, status="fail"):
    remedy = "" if status in ("pass", "skipped") else "Turn it off."
    return Check(name, subject, status, "ASPM is on", "ASPM off", [evidence("Link Control", "l1")], remedy).to_dict()


ASPM = [check(), check(subject=P1), check("gpu.persistence", P0, "warn"), check("power.budget", "host", "unknown"), check("gpu.count", "host", "pass")]


def waiver(until="2026-12-31", **change):
    return {"check": "firmware.aspm", "reason": "ticket 7", "until": until, **change}


# options → subjects that stop, standings in the order of ASPM
ROWS = [
    ({}, [P0, P1], ["fail", "fail", "warn", "unknown", "pass"]),
    ({"fail_on": []}, [], ["fail", "fail", "warn", "unknown", "pass"]),
    ({"fail_on": ["fail", "unknown"]}, [P0, P1, "host"], ["fail", "fail", "warn", "unknown", "pass"]),
    ({"severity": {"firmware.aspm": []}}, [], ["fail", "fail", "warn", "unknown", "pass"]),
    ({"severity": {"power.budget": ["unknown", "fail"]}}, [P0, P1, "host"], ["fail", "fail", "warn", "unknown", "pass"]),
    # one check's severity takes the place of fail_on, it does not add to it
    ({"severity": {"firmware.aspm": ["unknown"]}}, [], ["fail", "fail", "warn", "unknown", "pass"]),
    ({"waivers": [waiver()]}, [], ["waived", "waived", "warn", "unknown", "pass"]),
    ({"waivers": [waiver(subject=P0)]}, [P1], ["waived", "fail", "warn", "unknown", "pass"]),
    ({"waivers": [waiver(subject=P0.upper())]}, [P1], ["waived", "fail", "warn", "unknown", "pass"]),
    ({"waivers": [waiver(subject="0000:99:00.0")]}, [P0, P1], ["fail", "fail", "warn", "unknown", "pass"]),
    # the last day counts, the day after does not
    ({"waivers": [waiver(TODAY)]}, [], ["waived", "waived", "warn", "unknown", "pass"]),
    ({"waivers": [waiver("2026-11-23")]}, [P0, P1], ["fail", "fail", "warn", "unknown", "pass"]),
    # YAML without quotes
    ({"waivers": [waiver(datetime.date(2026, 11, 24))]}, [], ["waived", "waived", "warn", "unknown", "pass"]),
    # one that has ended beside one that has not
    ({"waivers": [waiver("2026-01-01"), waiver(), waiver("2025-01-01")]}, [], ["waived", "waived", "warn", "unknown", "pass"]),
    # a waiver of a warning is shown too; what passes is not waived
    ({"waivers": [waiver(check="gpu.persistence"), waiver(check="gpu.count")]}, [P0, P1], ["fail", "fail", "waived", "unknown", "pass"]),
]


@pytest.mark.parametrize(("options", "stops", "standings"), ROWS)
def test_what_stops(options, stops, standings):
    found = judge([{"checks": ASPM[:2]}, {"checks": ASPM[2:]}, {"skipped": True, "changed": False}], Policy(today=TODAY, **options))
    assert [line.split(": ")[0].split(" ")[1] for line in found["stops"]] == stops
    assert [standing(one) for one in found["checks"]] == standings
    assert [one["status"] for one in found["checks"]] == [one["status"] for one in ASPM], "a waiver changes no status"
    assert found["errors"] == [] and json.dumps(found)


def test_a_waived_check_carries_reason_and_date():
    found = judge([{"checks": ASPM}], Policy(today=TODAY, waivers=[waiver()]))
    assert found["checks"][0]["waiver"] == {"reason": "ticket 7", "until": "2026-12-31"} and found["ended_waivers"] == []
    assert found["status"] == "unknown" and found["health"] == "warn"


def test_a_waiver_that_has_ended_is_reported_and_counts_no_more():
    found = judge([{"checks": ASPM}], Policy(today=TODAY, waivers=[waiver("2026-02-28", subject=P0), waiver("2026-03-31", check="gpu.xid")], prefix="role_"))
    assert found["checks"][0]["ended_waiver"] == {"reason": "ticket 7", "until": "2026-02-28"} and "waiver" not in found["checks"][0]
    assert found["stops"][0].endswith("Remedy: Turn it off. Its waiver ended on 2026-02-28 (ticket 7).")
    assert found["ended_waivers"] == [
        "role_waivers[0]: the waiver of firmware.aspm on 0000:3b:00.0 ended on 2026-02-28 and counts no more (its reason: ticket 7)",
        "role_waivers[1]: the waiver of gpu.xid ended on 2026-03-31 and counts no more (its reason: ticket 7)",
    ]


# What makes no sense → the one line about it. The good half of the input still counts.
BAD = [
    ({"waivers": [waiver(check="firmware.asmp")]}, "role_waivers[0].check names 'firmware.asmp': no check has this id (did you mean firmware.aspm?)"),
    ({"waivers": [waiver(), {"reason": "x", "until": "2026-12-31"}]}, "role_waivers[1].check is missing: name the check"),
    ({"waivers": [waiver(reason=None)]}, "role_waivers[0].reason is missing: say why the check may fail"),
    ({"waivers": [waiver(reason="  \n")]}, "role_waivers[0].reason is missing: say why the check may fail"),
    ({"waivers": [{"check": "gpu.xid", "reason": "x"}]}, "role_waivers[0].until is missing: it must be the last day of the waiver, written YYYY-MM-DD"),
    ({"waivers": [waiver("2026-02-30")]}, "role_waivers[0].until is '2026-02-30': it must be the last day of the waiver, written YYYY-MM-DD"),
    ({"waivers": [waiver("31.12.2026")]}, "role_waivers[0].until is '31.12.2026': it must be the last day of the waiver, written YYYY-MM-DD"),
    ({"waivers": [waiver("never")]}, "role_waivers[0].until is 'never': it must be the last day of the waiver, written YYYY-MM-DD"),
    ({"waivers": [waiver(who="me")]}, "role_waivers[0] has who: a waiver has check, subject, reason, until"),
    ({"waivers": ["firmware.aspm"]}, "role_waivers[0] is 'firmware.aspm': it must have check, reason and until"),
    ({"waivers": {"check": "gpu.xid"}}, "role_waivers is '{'check': 'gpu.xid'}': it must be a list of {check, subject, reason, until}"),
    ({"waivers": [waiver(check="ollama.offload")]}, "role_waivers[0].check names ollama.offload, which proves what was done: it cannot be waived before"),
    ({"severity": {"gpu.foo": ["fail"]}}, "role_severity names 'gpu.foo': no check has this id"),
    ({"severity": {"gpu.xid": ["bad"]}}, "role_severity['gpu.xid'] has 'bad': the statuses are fail, unknown, warn, pass, skipped"),
    ({"severity": {"gpu.xid": "fail"}}, "role_severity['gpu.xid'] is 'fail': it must be a list of fail, unknown, warn, pass, skipped"),
    ({"severity": ["gpu.xid"]}, "role_severity is '['gpu.xid']': it must map ids of checks to lists of statuses"),
    ({"fail_on": ["failed"]}, "role_fail_on has 'failed': the statuses are fail, unknown, warn, pass, skipped"),
]


@pytest.mark.parametrize(("options", "line"), BAD, ids=[line for _options, line in BAD])
def test_what_makes_no_sense_is_one_line_that_names_the_option(options, line):
    found = judge([{"checks": ASPM}], Policy(today=TODAY, prefix="role_", **options))
    assert len(found["errors"]) == 1 and found["errors"][0].startswith(line) and "\n" not in found["errors"][0]
    assert len(found["checks"]) == len(ASPM), "what was checked stays"


NAMES = {"platform_watts": "role_watts", "branch": "role_driver_branch"}
# result of a module without checks → the line
FAILURES = [
    ({"failed": True, "msg": "platform_watts is -5: it must be 0 or more", "error": {"kind": "policy", "option": "platform_watts"}}, "role_watts is -5: it"),
    ({"failed": True, "msg": "R3 is unknown", "error": {"kind": "policy", "option": "branch"}}, "role_driver_branch: R3 is unknown"),
    ({"msg": "facts has no devices", "error": {"kind": "policy"}}, "facts has no devices"),
    ({"failed": True, "module_stderr": "no\nPython"}, "no Python"),
    ({}, "a check module returned nothing"),
    (None, "a check module returned nothing"),
]


@pytest.mark.parametrize(("result", "line"), FAILURES)
def test_a_module_that_failed_is_an_error_and_the_others_count(result, line):
    found = judge([{"checks": ASPM}, result], Policy(today=TODAY, fail_on=[]), NAMES)
    assert len(found["errors"]) == 1 and found["errors"][0].startswith(line)
    assert len(found["checks"]) == len(ASPM)


def test_nothing_checked_is_unknown():
    assert worst([]) == "unknown"
    assert judge([], Policy(today=TODAY))["health"] == "unknown"


def test_a_waived_check_stands_between_warn_and_pass():
    assert STANDINGS == ("fail", "unknown", "warn", "waived", "pass", "skipped")


def test_today_must_be_a_date():
    with pytest.raises(ValueError, match="today"):
        Policy(today="24.11.2026")


@given(st.dates())
def test_every_date_is_a_date(day):
    assert is_date(day.isoformat())


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


@given(JSON, JSON, JSON)
def test_garbage_waives_nothing(fail_on, severity, waivers):
    policy = Policy(today=TODAY, fail_on=fail_on, severity=severity, waivers=waivers)
    assert policy.waivers == [] and set(policy.severity) <= set(check_ids.PREFLIGHT)
    assert all("\n" not in line for line in policy.errors)
