"""Labelled excerpts of real kernel logs and lspci output (tests/fixtures/hostlogs/cases.json): events and verdicts equal the stated ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import xids
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_events
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware

from tests.unit.facts_samples import device, facts

CASES = {case["id"]: case for case in json.loads((Path(__file__).resolve().parents[4] / "fixtures/hostlogs/cases.json").read_text())}
# What dmesg, syslog and dmesg --decode put before a message.
PREFIX = re.compile(r"^(?:\w+\s*:\w+\s*: \S+ |\w{3} +\d+ [\d:]+ \S+ kernel: )?(?:\[ *[\d.]+\] )?")
UNREAD = {"bar1__address": None, "bar1__size_mib": None, "bar1__total_mib": None, "unavailable": {"bar1.address": "not recorded"}}
GENERATIONS = {"2.5": 1, "5": 2, "8": 3, "16": 4, "32": 5}
SIZES = {"M": 1, "G": 1024}


def entries(case, split=False):
    """The messages of a case as the reader returns them; `split`: each line of a message as an entry of its own, as older journals keep them."""
    found = []
    for line in CASES[case]["text"].splitlines():
        if line.startswith(" ") and found and not split:
            found[-1]["text"] += "\n" + line
        else:
            found.append({"seconds_ago": 5, "text": PREFIX.sub("", line.strip())})
    return found


@pytest.mark.parametrize("split", [False, True], ids=["whole", "line-by-line"])
@pytest.mark.parametrize(
    "case, expected",
    [
        ("02-p40-bar1-fail", [("bar_unassigned", "0000:13:00.0", 1), ("bar_invalid", "0000:13:00.0", 1)]),
        ("05-p40-rminit-bar", [("bar_invalid", "0000:05:00.0", 1)]),
        ("08-tb3-old-kernel-form", [("bridge_window", "0000:7b:02.0", None), ("bar_invalid", "0000:0a:00.0", 1)]),
        ("09-bridge-bar15-only", [("bridge_window", "0000:7b:02.0", None)]),
        ("17-xid79-new-form", [("xid", "0000:07:00.0", 79)]),
        ("18-fallen-no-xid", [("lost", "0000:b3:00.0", None)]),
        ("21-xid154-recovery-action", [("xid", "0009:01:00.0", 154), ("xid", "0019:01:00.0", 154)]),
        ("22-xid13-app-error", [("xid", "0000:38:00.0", 13)]),
    ],
)
def test_events(case, expected, split):
    assert [(event["kind"], event["bus_address"], event["code"]) for event in kernel_events.classify(entries(case, split))] == expected


def severity(event):
    asked = re.search(xids.RECOVERY_ACTION, event["text"])
    return (xids.RECOVERY_ACTIONS[asked.group("action").lower()] if asked else xids.BUCKETS[xids.XIDS[event["code"]][1]])[0]


@pytest.mark.parametrize(
    "case, expected",
    [("17-xid79-new-form", ["machine"]), ("21-xid154-recovery-action", ["gpu", "gpu"]), ("22-xid13-app-error", ["application"])],
)
def test_xids_have_the_severity_of_nvidias_catalogue(case, expected):
    assert [severity(event) for event in kernel_events.classify(entries(case))] == expected


def verdicts(case, *devices):
    """Check id → status of the first GPU of `devices` on a host with the kernel log of the case."""
    events = kernel_events.classify(entries(case)) if CASES[case]["kind"] == "dmesg" else []
    checks = firmware.check(facts(*devices, kernel_events=events))
    return {check.id: check.status for check in checks if check.subject == devices[0]["bus_address"]}


@pytest.mark.parametrize(
    "case, address, model",
    [("02-p40-bar1-fail", "0000:13:00.0", "p40"), ("05-p40-rminit-bar", "0000:05:00.0", "p40"), ("08-tb3-old-kernel-form", "0000:0a:00.0", "odd")],
)
def test_messages_about_this_gpu_fail_it(case, address, model):
    assert CASES[case]["verdict"] == "FAIL large-BAR"
    found = verdicts(case, device(model, state="not_visible", bus_address=address, **UNREAD))
    assert [name for name, status in found.items() if status == "fail"] == ["firmware.above_4g"]
    # Of another GPU the same messages say nothing.
    assert verdicts(case, device("p40", 1))["firmware.above_4g"] == "pass"


def test_a_message_about_an_unrelated_bridge_fails_no_gpu():
    assert CASES["09-bridge-bar15-only"]["verdict"] == "PASS/INFO"
    assert set(verdicts("09-bridge-bar15-only", device("p40")).values()) == {"pass", "skipped"}
    assert verdicts("09-bridge-bar15-only", device("p40", **UNREAD))["firmware.above_4g"] == "unknown"


def lspci(case):
    """What the lines of lspci say, as fields of the facts."""
    text, found = CASES[case]["text"], {}
    region = re.search(r"Region 1: Memory at (\w+) \(64-bit, prefetchable\) \[size=(\d+)([MG])\]", text)
    if region:
        size = int(region[2]) * SIZES[region[3]]
        found.update(bar1__address="0x" + region[1], bar1__size_mib=size, bar1__total_mib=size, pcie__upstream__prefetchable_window=None)
    control = re.search(r"LnkCtl:\s*ASPM (\w+)", text)
    if control:
        found["pcie__aspm"] = {"Disabled": "disabled"}[control[1]]
    for name, form in (("max", r"LnkCap:.*Speed ([\d.]+)GT/s, Width x(\d+)"), ("current", r"LnkSta:\s*Speed ([\d.]+)GT/s.*Width x(\d+)")):
        link = re.search(form, text)
        if link:
            found.update({"pcie__generation_" + name: GENERATIONS[link[1]], "pcie__width_" + name: int(link[2])})
            if name == "max":
                found.update(pcie__upstream__generation_max=GENERATIONS[link[1]], pcie__upstream__width_max=int(link[2]))
    return found


@pytest.mark.parametrize(
    "case, one, expected",
    [
        ("03-p40-bar1-ok", {"model": "p40"}, {"firmware.above_4g": "pass", "firmware.resizable_bar": "skipped"}),
        ("11-v100s-titanxp-256M", {"model": "p40", "pci__device_id": "1b02"}, {"firmware.above_4g": "pass", "firmware.resizable_bar": "skipped"}),
        # Nothing is recorded of the slot: the card alone says that lanes are missing.
        ("13-rtx8000-downgraded-x1", {"pcie__upstream__width_max": None}, {"pcie.width": "warn", "firmware.aspm": "pass"}),
        ("13-rtx8000-downgraded-x1", {}, {"pcie.width": "fail", "firmware.aspm": "pass"}),
        ("14-4090-idle-downgraded-speed", {}, {"pcie.speed": "pass", "pcie.width": "pass"}),
        ("15-rtx8000-aspm-capable-not-enabled", {}, {"firmware.aspm": "pass", "pcie.width": "pass", "pcie.speed": "pass"}),
    ],
)
def test_lspci(case, one, expected):
    change = {**lspci(case), **one}
    found = verdicts(case, device(change.pop("model", "odd"), **change))
    assert {name: found[name] for name in expected} == expected


def test_a_real_p40_is_healthy():
    assert "23040MiB" in CASES["27-real-p40-table-520"]["text"]
    # 23040 MiB with ECC on, behind a BAR1 of 32 GiB that is not resizable.
    found = verdicts("27-real-p40-table-520", device("p40", memory__total_mib=23040))
    assert set(found.values()) == {"pass", "skipped"}
