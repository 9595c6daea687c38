"""gpu.xid and gpu.lost: the labelled excerpts of real kernel logs, the window, and who has the say."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import xids
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_events
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health, health_xids
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts
from tests.unit.plugins.module_utils._verdicts.test_recorded_host_logs import CASES, entries

NEXT = "0000:3c:00.0"


def judged(some, limits=None, bad=("fail", "warn", "unknown")):
    """(id, subject, status) of the checks that say something; of a GPU that does not answer nobody knows the VBIOS."""
    found = [check for check in health.check(some, limits=limits) if check.status in bad and check.id != "gpu.uniform"]
    return [(check.id, check.subject, check.status) for check in found]


def event(kind="xid", code=None, address="0000:3b:00.0", ago=60, text="NVRM: recorded"):
    return {"kind": kind, "bus_address": address, "code": code, "seconds_ago": ago, "text": text}


# Case → its label, the GPU and its state then, what is to be judged.
RECORDED = [
    ("17-xid79-new-form", "FAIL xid79, one event (not two)", "0000:07:00.0", "ok", [("gpu.xid", "0000:07:00.0", "fail")]),
    ("17-xid79-new-form", "FAIL xid79, one event (not two)", "0000:07:00.0", "lost", [("gpu.lost", "0000:07:00.0", "fail")]),
    ("18-fallen-no-xid", "FAIL gpu-lost", "0000:b3:00.0", "not_visible", [("gpu.lost", "0000:b3:00.0", "fail")]),
    ("18-fallen-no-xid", "FAIL gpu-lost", "0000:b3:00.0", "ok", [("gpu.lost", "0000:b3:00.0", "fail")]),
    ("21-xid154-recovery-action", "FAIL drain+reset", "0009:01:00.0", "ok", [("gpu.xid", "0009:01:00.0", "fail"), ("gpu.xid", "0019:01:00.0", "fail")]),
    ("22-xid13-app-error", "WARN user application (not hardware)", "0000:38:00.0", "ok", [("gpu.xid", "0000:38:00.0", "warn")]),
    ("09-bridge-bar15-only", "PASS/INFO", "0000:3b:00.0", "ok", []),
    ("02-p40-bar1-fail", "FAIL large-BAR", "0000:13:00.0", "no_driver", []),
]


@pytest.mark.parametrize("split", [False, True], ids=["whole", "line-by-line"])
@pytest.mark.parametrize("row", RECORDED, ids=lambda row: "%s-%s" % (row[0], row[3]))
def test_recorded(row, split):
    case, label, address, state, expected = row
    assert CASES[case]["verdict"] == label
    events = kernel_events.classify(entries(case, split))
    some = facts(device(state=state, bus_address=address), device(number=1), kernel_events=events)
    assert judged(some) == expected
    # The lines of one event are one event.
    assert all("times" not in check.summary for check in health.check(some))


def test_a_gpu_that_has_left_the_bus_is_named_by_the_log_alone():
    gone = facts(device(number=1), kernel_events=[event(code=79)])
    assert judged(gone) == [("gpu.xid", "0000:3b:00.0", "fail")]
    assert judged(facts(device(number=1), kernel_events=[event("lost")])) == [("gpu.lost", "0000:3b:00.0", "fail")]
    assert judged(facts(device(number=1), kernel_events=[event(code=79), event("lost")])) == [("gpu.xid", "0000:3b:00.0", "fail")]


@pytest.mark.parametrize(
    "events, status, words",
    [
        ([], "pass", "no Xid within 86400 s"),
        ([event(code=79)], "fail", "Xid 79: GPU has fallen off the bus, 1 min ago"),
        ([event(code="79")], "fail", "Xid 79: GPU has fallen off the bus"),
        ([event(code=79, ago=86400)], "fail", "1 d ago"),
        ([event(code=79, ago=86401)], "pass", "no Xid"),
        ([event(code=79, ago=None)], "fail", "Xid 79: GPU has fallen off the bus"),
        ([event(code=79, address="0000:3b:00")], "fail", "Xid 79"),
        ([event(code=79, address="0000:3B:00.0")], "fail", "Xid 79"),
        ([event(code=79, address=NEXT)], "pass", "no Xid"),
        ([event(code=13)], "warn", "Xid 13: graphics engine exception"),
        ([event(code=31), event(code=43)], "warn", "Xid 31: GPU memory page fault, 1 min ago; Xid 43: "),
        ([event(code=43)], "pass", "nothing to act on: Xid 43"),
        ([event(code=70)], "warn", "Xid 70: copy engine exception"),
        ([event(code=54)], "warn", "Xid 54: auxiliary power is not connected"),
        ([event(code=13), event(code=119)], "fail", "Xid 119: GSP RPC timeout, 1 min ago; Xid 13: "),
        ([event(code=998)], "unknown", "Xid 998: not in the catalogue of 2026-11-24"),
        ([event(code=None)], "unknown", "Xid without a number: not in the catalogue"),
        ([event(code=31, ago=10), event(code=31, ago=10.4), event(code=31, ago=600)], "warn", "Xid 31 (2 times): GPU memory page fault, 10 s ago"),
        ([event(code=154, text="changed from 0x0 (None) to 0x1")], "pass", "nothing to act on"),
        ([event(code=154, text="GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)")], "pass", "the driver asks for: None"),
        ([event(code=154, text="GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)")], "fail", "the driver asks for: Node Reboot"),
        ([event(code=154, text="GPU recovery action changed from 0x0 (None) to 0x9 (Melt Down)")], "fail", "the driver asks for: Melt Down"),
    ],
)
def test_xids(events, status, words):
    some = facts(device(), device(number=1), kernel_events=events)
    (found,) = [check for check in health.check(some) if check.id == "gpu.xid" and check.subject == "0000:3b:00.0"]
    assert found.status == status and words in found.summary, found.line()


def test_window_and_ignored_codes_are_the_users():
    some = facts(device(), kernel_events=[event(code=79, ago=3600)])
    assert judged(some, Limits(xid_window_seconds=3599)) == []
    assert judged(some, Limits(xid_window_seconds=3600)) == [("gpu.xid", "0000:3b:00.0", "fail")]
    assert judged(some, Limits(ignored_xids=[13, 79])) == []


def test_a_log_that_was_not_read_is_unknown_and_says_why():
    some = facts(device(), kernel_events=None, unavailable={"kernel_events": "journalctl: permission denied"})
    (found,) = [check for check in health.check(some) if check.status == "unknown"]
    assert found.id == "gpu.xid" and found.summary == "the kernel log was not read: journalctl: permission denied"
    assert judged(facts("p40", loaded=None, kernel_events=None), bad=("unknown",)) == []


@pytest.mark.parametrize(
    "model, code, change, name",
    [
        ("p40", 48, {"ecc__volatile_uncorrected": 1}, "gpu.ecc_errors"),
        ("a100", 95, {"ecc__volatile_uncorrected": 1}, "gpu.ecc_errors"),
        ("p40", 64, {"retired_pages__single_bit": 64}, "gpu.retired_pages"),
        ("a100", 64, {"remapped_rows__failure": True}, "gpu.remapped_rows"),
        ("h100", 74, {"nvlinks": [{"link": 0, "active": False}]}, "gpu.nvlink"),
        ("p40", 79, {"state": "lost"}, "gpu.lost"),
    ],
)
def test_one_fault_makes_one_check_fail(model, code, change, name):
    some = facts(device(model, **change), kernel_events=[event(code=code)])
    assert judged(some) == [(name, "0000:3b:00.0", "fail")]
    (xid,) = [check for check in health.check(some) if check.id == "gpu.xid"]
    assert (xid.status, xid.summary) == ("skipped", "Xid %d belongs to %s, which fails" % (code, name))
    # Another Xid beside it still has its own say, and so has this one when the state shows nothing of it.
    also = facts(device(model, **change), kernel_events=[event(code=code), event(code=119)])
    assert ("gpu.xid", "0000:3b:00.0", "fail") in judged(also)
    if "state" not in change and code not in (63,):
        assert judged(facts(device(model), kernel_events=[event(code=code)])) == [("gpu.xid", "0000:3b:00.0", "fail")]


def test_every_xid_of_the_catalogue_has_a_status_and_a_remedy_where_one_is_needed():
    codes = [*xids.XIDS, *(code for group, _name, _bucket in xids.ENGINES for code in group)]
    for code in codes:
        name, severity, remedy = health_xids.meaning(code, "")
        assert name and severity in health_xids.STATUSES and remedy
        assert [check.status for check in health.check(facts(device(), kernel_events=[event(code=code)])) if check.id == "gpu.xid"]


VALUE = st.one_of(st.none(), st.booleans(), st.integers(-5, 200), st.floats(), st.text(max_size=6), st.just([]), st.just({}), st.just("0000:3b:00.0"))
FIELDS = dict.fromkeys(("bus_address", "code", "seconds_ago", "text"), VALUE)
EVENT = st.fixed_dictionaries({}, optional={"kind": st.sampled_from(["xid", "lost"]) | VALUE, **FIELDS})


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENT | VALUE, max_size=4), st.sampled_from(["ok", "lost", "not_visible", "no_driver", "unknown", None]))
def test_no_event_raises_and_none_that_counts_is_passed_over(events, state):
    checks = health.check(facts(device(state=state), kernel_events=events))
    assert all(check.line() for check in checks)
    for one in events:
        if isinstance(one, dict) and one.get("kind") == "xid" and one.get("bus_address") == "0000:3b:00.0" and one.get("code") == 79:
            said = [check for check in checks if check.subject == "0000:3b:00.0" and check.id in ("gpu.xid", "gpu.lost") and check.status == "fail"]
            assert said or (isinstance(one.get("seconds_ago"), float) and one["seconds_ago"] > 86400)
