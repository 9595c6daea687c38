"""Power supplies over IPMI: ipmitool's output, recorded (tests/fixtures/ipmitool/SOURCE)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import ipmi
from hypothesis import given, settings
from hypothesis import strategies as st

RECORDED = Path(__file__).resolve().parents[4] / "fixtures/ipmitool"
DCMI = "\n    Instantaneous power reading:                   236 Watts\n    Minimum during sampling period:                 10 Watts\n"


def text(name):
    return (RECORDED / name).read_text()


def runner(fru="", sensors="", dcmi="", rc=0, err=""):
    def run(args, timeout_seconds=None):
        assert args[0] == "ipmitool" and timeout_seconds == 5
        return (rc, fru, err) if "fru" in args else (0, sensors, "") if "sdr" in args else (0, dcmi, "")

    return run


@pytest.mark.parametrize(
    "sensors, states", [("two-supplies.sdr.txt", ["ok", "ok"]), ("second-unplugged.sdr.txt", ["ok", "unplugged"]), (None, ["unknown"] * 2)]
)
def test_capacity_from_fru_and_state_from_sensors(sensors, states):
    found, why = ipmi.read(runner(text("two-supplies.fru.txt"), text(sensors) if sensors else "", DCMI), 5)
    assert why == "" and found["source"] == "ipmi" and found["where"] == "ipmitool -v fru print" and found["consumed_watts"] == 236
    assert [(one["name"], one["watts"], one["hot_plug"]) for one in found["supplies"]] == [("PS1 FRU", 1100.0, True), ("PS2 FRU", 1100.0, True)]
    assert [one["state"] for one in found["supplies"]] == states


def test_without_verbose_the_record_is_not_there():
    found, why = ipmi.read(runner(text("two-supplies-not-verbose.fru.txt")), 5)
    assert found is None and why == "ipmitool -v fru print: no FRU tells the capacity of a power supply"


def test_a_supply_that_only_a_sensor_knows_has_no_capacity():
    one = text("two-supplies.fru.txt").split("FRU Device Description : PS2")[0]
    found, _why = ipmi.read(runner(one, text("two-supplies.sdr.txt")), 5)
    assert [(supply["name"], supply["watts"], supply["state"]) for supply in found["supplies"]] == [("PS1 FRU", 1100.0, "ok"), ("supply 2", None, "ok")]


@pytest.mark.parametrize(
    "answer, reason",
    [
        ({"rc": 127}, "ipmitool is not installed"),
        ({"rc": 124}, "ipmitool -v fru print: no answer within 5 s"),
        ({"rc": 1, "err": "Could not open device at /dev/ipmi0 or /dev/ipmi/0: No such file or directory\nmore"}, "Could not open device at /dev/ipmi0"),
        ({"fru": text("two-supplies.fru.txt").replace("1100 W", "4095 W")}, "no FRU tells the capacity"),
        ({"fru": text("two-supplies.fru.txt").replace("1100 W", "0 W")}, "no FRU tells the capacity"),
    ],
)
def test_no_source_has_a_reason(answer, reason):
    found, why = ipmi.read(runner(**answer), 5)
    assert found is None and reason in why and "\n" not in why


@settings(max_examples=200, deadline=None)
@given(st.text(), st.text(), st.text())
def test_no_output_raises(fru, sensors, dcmi):
    ipmi.read(runner("FRU Device Description : " + fru + "\n Power Supply Record\n" + fru, sensors, dcmi), 5)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3000), st.characters()), max_size=10))
def test_no_damaged_output_raises(changes):
    data = list(text("two-supplies.fru.txt"))
    for place, character in changes:
        data[place % len(data)] = character
    found, why = ipmi.read(runner("".join(data), text("two-supplies.sdr.txt")), 5)
    assert (found is None) == bool(why)
