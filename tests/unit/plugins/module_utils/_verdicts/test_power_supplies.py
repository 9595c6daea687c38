"""What supplies give: redundancy groups, line voltage, empty bays; power.redundancy, power.sources_agree and power.events."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power, power_events
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_supplies import Capacity
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts
from tests.unit.junk import places, put
from tests.unit.power_samples import smbios, source, supply

TWO = facts("p40", "p40")
PAIR = [("A", 2, 2)]


def grouped(*watts, group="A", **more):
    return [supply(one, group=group, **more) for one in watts]


@pytest.mark.parametrize(
    "some, spare, usable, redundant",
    [
        (source("redfish_power", supply(800)), None, 800, 0),
        (source("redfish_power", supply(800), supply(800)), None, 1600, 0),
        (source("redfish_power", supply(800), supply(800)), 1, 800, 1),
        # N + R: members - needed + 1 may fail, where needed is what keeps the group fault tolerant.
        (source("redfish_power", *grouped(800, 800), redundancy=PAIR), None, 800, 1),
        (source("redfish_power", *grouped(800, 800), redundancy=[("A", 2, 1)]), None, 800, 1),
        (source("redfish_power", *grouped(800, 800, 800, 800), redundancy=[("A", 4, 3)]), None, 1600, 2),
        (source("redfish_power", *grouped(800, 800, 800, 800), redundancy=[("A", 4, 4)]), None, 2400, 1),
        (source("redfish_power", *grouped(800, 800), redundancy=[("A", 2, None)]), None, 1600, 0),
        # The user knows better.
        (source("redfish_power", *grouped(800, 800), redundancy=PAIR), 0, 1600, 0),
        # The largest ones are those that fail.
        (source("redfish_power", *grouped(800, 1600), redundancy=PAIR), None, 800, 1),
        (source("redfish_power", *grouped(800, 800), *grouped(2000, 2000, group="B"), redundancy=[("A", 2, 2), ("B", 2, 2)]), None, 2800, 2),
        # Groups whose members nobody names (HPE Gen11 PowerSubsystem lists them as empty objects).
        (source("redfish_power_subsystem", *[supply(2200)] * 4, redundancy=[("1", 2, 2), ("2", 2, 2)]), None, 4400, 2),
        # One has failed: it is the redundant one. Both: nothing is left.
        (source("redfish_power", *grouped(800), supply(800, "failed", group="A"), redundancy=PAIR), None, 800, 1),
        (source("redfish_power", supply(800), supply(800, "failed")), None, 800, 0),
        (source("redfish_power", supply(800, "unplugged"), supply(800, "failed")), None, 0, 0),
        # An empty bay is neither a supply nor a failed one.
        (source("redfish_power", supply(800), supply(800, "absent")), None, 800, 0),
        (source("redfish_power", supply(800), supply(None, "absent")), None, 800, 0),
        # The whole chassis in one figure.
        (source("redfish_power", capacity=1600.0), None, 1600, 0),
        (source("redfish_power", capacity=1600.0), 1, None, 0),
        # A BMC that tells milliwatts.
        (source("redfish_power", supply(1100000)), None, None, 0),
        (source("redfish_power", capacity=1100000.0), None, None, 0),
        # No supply and 0 W.
        (source("redfish_power", capacity=0.0), None, None, 0),
        (source("redfish_power"), None, None, 0),
        (source("redfish_power", supply(None), supply(None)), None, None, 0),
    ],
)
def test_usable(some, spare, usable, redundant):
    found = Capacity(some, spare)
    assert (found.usable, found.spare) == (usable, redundant), found.text


def test_a_supply_at_low_line_counts_with_what_it_gives_there():
    """Supermicro PWS-2K05A-1R: 2000 W at 200 to 240 V, 1000 W at 100 to 127 V."""
    low = source("redfish_power", *[supply(1000, volts=120, rated=2000, derated=True)] * 2)
    found = Capacity(low, 1)
    assert (found.usable, found.doubts) == (1000, [])
    assert found.text == "2 x 1000 W (of 2000 W, at 120 V) (1 redundant) = 1000 W usable"


def test_low_line_without_a_figure_for_it_is_doubted():
    checks = {check.id: check for check in power.check(TWO, power.Policy(), [source("redfish_power", supply(2000, volts=120))])}
    assert checks["power.budget"].status == "warn"
    assert "PSU runs at 120 V, and what it gives at this voltage is not told" in checks["power.budget"].summary
    assert Capacity(source("redfish_power", supply(2000, volts=230)), None).doubts == []


def redundancy(sources, some=TWO, **policy):
    policy = power.Policy(**policy)
    (found,) = [check for check in power.check(some, policy, [*sources, *power.sources_of(None, None, policy)]) if check.id == "power.redundancy"]
    return found


OK_PAIR = source("redfish_power", *grouped(1100, 1100), redundancy=PAIR)


@pytest.mark.parametrize(
    "sources, policy, status, words",
    [
        ([OK_PAIR], {}, "pass", "2 of 2 power supplies work, 1 redundant"),
        ([OK_PAIR], {"redundant_supplies": 1}, "pass", "1 redundant"),
        ([OK_PAIR], {"redundant_supplies": 0}, "pass", "none redundant"),
        ([OK_PAIR], {"redundant_supplies": 2}, "fail", "2 redundant power supplies are declared, 2 are fitted"),
        ([source("redfish_power", supply(1100), supply(None, "absent"))], {}, "pass", "1 of 1 power supplies work"),
        ([source("redfish_power", supply(1100), supply(None, "absent"))], {"redundant_supplies": 1}, "fail", "1 redundant power supplies are declared"),
        ([source("redfish_power", supply(1100), supply(1100, "failed", name="PSU 2"))], {}, "fail", "1 of 2 power supplies do not work: PSU 2 (failed)"),
        ([source("ipmi", supply(1100), supply(1100, "unplugged", name="PS2"))], {}, "fail", "PS2 (unplugged)"),
        ([source("redfish_power", *grouped(1100, 1100), redundancy=[("A", 2, 2, "Critical")])], {}, "warn", "the BMC reports Critical for A"),
        ([source("redfish_power", supply(1100), supply(1100))], {}, "pass", "without one 1100 W are left"),
        ([source("redfish_power", supply(600), supply(600))], {}, "warn", "without one 600 W are left of the 850 W required"),
        ([source("redfish_power", supply(1100), supply(1100, "unknown"))], {}, "unknown", "the state of PSU is not known"),
        # Nothing tells a state: with a redundant one declared, nobody knows whether it works.
        ([], {}, "skipped", "no source tells the state"),
        ([], {"supply_watts": 1100, "supply_count": 2, "redundant_supplies": 1}, "unknown", "no source tells whether the power supplies work"),
        ([source("ipmi", supply(1100, "unknown"))], {}, "skipped", "no source tells the state"),
        # IPMI without sensors comes before SMBIOS, but only SMBIOS tells a state.
        ([source("ipmi", supply(1100, "unknown")), smbios(1100, 1100)], {}, "pass", "1 redundant"),
    ],
)
def test_redundancy(sources, policy, status, words):
    check = redundancy(sources, **policy)
    assert check.status == status and words in check.summary, check.line()


def agreement(*sources, **policy):
    policy = power.Policy(**policy)
    (found,) = [check for check in power.check(TWO, policy, [*sources, *power.sources_of(None, None, policy)]) if check.id == "power.sources_agree"]
    return found


@pytest.mark.parametrize(
    "sources, policy, status",
    [
        ([], {}, "skipped"),
        ([OK_PAIR], {}, "skipped"),
        ([OK_PAIR, source("redfish_power_subsystem", *grouped(1100, 1100), redundancy=PAIR)], {}, "pass"),
        ([OK_PAIR, smbios(1100, 1100)], {}, "pass"),
        ([OK_PAIR, smbios(1100)], {}, "pass"),
        ([OK_PAIR, smbios(750, 750)], {}, "warn"),
        ([OK_PAIR, source("ipmi", supply(1080), supply(1080))], {"redundant_supplies": 1}, "pass"),
        ([smbios(1100, 1100)], {"supply_watts": 1100}, "pass"),
        ([smbios(1100, 1100)], {"supply_watts": 1600}, "warn"),
    ],
)
def test_agreement(sources, policy, status):
    check = agreement(*sources, **policy)
    assert check.status == status, check.line()


def test_disagreement_names_both_figures_and_which_one_counts():
    check = agreement(smbios(750, 750), OK_PAIR)
    assert check.summary == "Redfish Chassis Power tells 1100 W usable and is counted with, but SMBIOS type 39 750 W"
    assert "capacity_source" in check.remedy


CABLE = {"kind": "power_cable", "bus_address": "0000:3b:00.0", "code": None, "seconds_ago": 40, "text": "the necessary power cables are not connected"}
XID = {"kind": "xid", "bus_address": "0000:3c:00.0", "code": 54, "seconds_ago": 7, "text": "NVRM: Xid (PCI:0000:3c:00): 54"}


@pytest.mark.parametrize(
    "events, reasons, statuses, words",
    [
        ([], [], ["pass", "pass"], "no sign of missing power"),
        ([CABLE], [], ["fail", "pass"], "the driver reports: its power cables are not connected (once in this boot, 40 s ago)"),
        ([XID, XID], [], ["pass", "fail"], "Xid 54, auxiliary power is not connected (2 times in this boot, 7 s ago)"),
        ([dict(XID, code=79)], [], ["pass", "pass"], "no sign"),
        ([], ["hw_power_brake_slowdown"], ["warn", "pass"], "the server holds the GPU back with its power brake"),
        ([], ["gpu_idle", "sw_power_cap"], ["pass", "pass"], "no sign"),
        ([dict(CABLE, bus_address=None)], [], ["pass", "pass", "fail"], "its power cables"),
        (None, [], ["unknown", "unknown"], "the kernel log of this boot could not be read"),
        (None, ["hw_power_brake_slowdown"], ["warn", "unknown"], "power brake"),
        ([], None, ["unknown", "pass"], "does not tell whether the power brake holds it back"),
    ],
)
def test_events(events, reasons, statuses, words):
    checks = power_events.check(facts(device(event_reasons=reasons), device(number=1), kernel_events=events))
    assert [check.status for check in checks] == statuses
    assert any(words in check.summary for check in checks), [check.line() for check in checks]


def test_no_gpu_and_no_event_is_skipped():
    (check,) = power_events.check(facts(loaded=None))
    assert (check.subject, check.status) == ("host", "skipped")


WHOLE = [
    source("redfish_power", *grouped(1100, 1100), supply(800, "absent"), redundancy=PAIR, capacity=2200.0),
    smbios(1100, 1100),
    source("ipmi", supply(1100, "unplugged", volts=120, rated=2000)),
]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just([]), st.just({}), st.just([None]), st.just(10**400), st.just("ok")
)


PLACES = [place for place in places(WHOLE) if place]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PLACES), JUNK), min_size=1, max_size=5))
def test_no_source_raises_and_none_passes_without_a_finite_capacity(changes):
    some = copy.deepcopy(WHOLE)
    for place, value in changes:
        put(some, place, value)
    budget = power.check(TWO, power.Policy(), some)[0]
    usable = power.budget(TWO, power.Policy(), some)["usable_watts"]
    assert budget.line() and (budget.status != "pass" or 1000 <= usable < 1e6)
