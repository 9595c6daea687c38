"""power.budget and power.worst_case: requirement S6 and section 8 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power

from tests.unit.facts_samples import device, facts
from tests.unit.power_samples import smbios, source, supply

TWO = ("p40", "p40")
LOWERED = {"power__enforced_limit_watts": 150.0}
ROOMY = {"power__max_limit_watts": 300.0}


def one(name, some, policy=None, sources=None):
    """The check of the host with this name."""
    (found,) = [check for check in power.check(some, policy or power.Policy(), sources) if check.id == name and check.subject == "host"]
    return found


def test_two_p40_with_the_defaults_need_850_and_better_1000_watts():
    figures = power.budget(facts(*TWO), power.Policy())
    assert (figures["required_watts"], figures["recommended_watts"]) == (850.0, 1000.0)


def test_the_checks_of_a_host_with_two_gpus():
    checks = power.check(facts(*TWO), power.Policy(supply_watts=1000))
    assert [(check.id, check.subject, check.status) for check in checks] == [
        ("power.budget", "host", "pass"), ("power.worst_case", "host", "pass"), ("power.redundancy", "host", "skipped"),
        ("power.sources_agree", "host", "skipped"), ("power.events", "0000:3b:00.0", "pass"), ("power.events", "0000:3c:00.0", "pass"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "devices, policy, status",
    [
        (TWO, {"supply_watts": 1000}, "pass"),
        (TWO, {"supply_watts": 999.9}, "warn"),
        (TWO, {"supply_watts": 850}, "warn"),
        (TWO, {"supply_watts": 849.9}, "fail"),
        (TWO, {"supply_watts": 750, "supply_count": 2}, "pass"),
        (TWO, {"supply_watts": 750, "supply_count": 2, "redundant_supplies": 1}, "fail"),
        (TWO, {"supply_watts": 1100, "supply_count": 2, "redundant_supplies": 1}, "pass"),
        (TWO, {"supply_watts": 400, "supply_count": 4, "redundant_supplies": 2}, "fail"),
        (TWO, {"supply_watts": 500, "supply_count": 4, "redundant_supplies": 2}, "pass"),
        (TWO, {"supply_watts": 850, "headroom_percent": 0}, "pass"),
        (TWO, {"supply_watts": 1000, "platform_watts": 600}, "fail"),
        (TWO, {"supply_watts": 1000, "processor_watts": 150}, "warn"),
        (TWO, {"supply_watts": 1000, "processor_watts": 160}, "fail"),
        (TWO, {"supply_watts": 500, "platform_watts": 0}, "warn"),
        (TWO, {}, "unknown"),
        ((), {"supply_watts": 1000}, "skipped"),
        # No driver: 250 W a card from the catalogue.
        ((device(state="no_driver"), device(number=1, state="no_driver")), {"supply_watts": 1000}, "pass"),
        ((device(state="no_driver"), device(number=1, state="no_driver")), {"supply_watts": 800}, "fail"),
        # Limits lowered to 150 W: enough now. What comes after a reboot is power.worst_case.
        ((device(**LOWERED), device(number=1, **LOWERED)), {"supply_watts": 800}, "pass"),
        # A card that nobody knows: unknown, unless the rest alone is too much.
        (("p40", "odd"), {"supply_watts": 2000}, "unknown"),
        (("p40", "odd"), {"supply_watts": 500}, "fail"),
        (("p40", "odd"), {}, "unknown"),
    ],
)
def test_budget(devices, policy, status):
    check = one("power.budget", facts(*devices), power.Policy(**policy))
    assert check.status == status, check.line()


@pytest.mark.parametrize(
    "devices, policy, status, words",
    [
        (TWO, {"supply_watts": 850}, "pass", "850 W usable, at most 850 W needed"),
        ((device(**ROOMY), device(number=1, **ROOMY)), {"supply_watts": 900}, "warn", "950 W needed when every power limit is raised to its maximum"),
        ((device(**ROOMY), device(number=1, **ROOMY)), {"supply_watts": 950}, "pass", "at most 950 W needed"),
        ((device(**LOWERED), device(number=1, **LOWERED)), {"supply_watts": 800}, "warn", "850 W needed as soon as the lowered power limits are gone"),
        ((device(**LOWERED), device(number=1, **LOWERED)), {"supply_watts": 800, "power_limits_persist": True}, "skipped", "power_limits_persist"),
        (TWO, {}, "unknown", "the capacity of the power supplies is not known"),
        ((device(power__max_limit_watts=None),), {"supply_watts": 9000}, "unknown", "the greatest power limit of every GPU is not known"),
        ((), {"supply_watts": 1000}, "skipped", "no GPU"),
    ],
)
def test_worst_case(devices, policy, status, words):
    check = one("power.worst_case", facts(*devices), power.Policy(**policy))
    assert check.status == status and words in check.summary, check.line()


def test_before_a_driver_is_loaded_the_worst_case_is_not_asked():
    assert one("power.worst_case", facts(*TWO, loaded=None), power.Policy(supply_watts=1000)).status == "skipped"


@pytest.mark.parametrize(
    "state, words",
    [("lost", "gpu.lost tells how"), ("not_visible", "See gpu.visible"), ("no_answer", "See gpu.visible")],
)
def test_a_gpu_without_limits_is_brought_back_first(state, words):
    # A board that no catalogue knows, so that only the driver could tell its limit.
    gone = device(number=1, state=state, power={}, pci={"vendor_id": "10de", "device_id": "ffff"})
    for name in ("power.budget", "power.worst_case"):
        found = one(name, facts(device(), gone), power.Policy(supply_watts=3000))
        assert (found.status, words in found.remedy, "Load the driver" in found.remedy) == ("unknown", True, False)


def test_a_guest_has_no_power_supplies_of_its_own():
    guest = facts("p40", "p40", system_vendor="QEMU", virtualization="kvm", power_sources=[])
    found = power.check(guest, power.Policy())
    assert {check.id: check.status for check in found} == {**dict.fromkeys(power.OF_THE_HOST, "skipped"), "power.events": "pass"}
    # Who knows the host's supplies may say so.
    assert one("power.budget", guest, power.Policy(supply_watts=3000)).status == "pass"


def test_without_a_capacity_the_figures_are_told_all_the_same():
    check = one("power.budget", facts(*TWO))
    assert check.summary == "850 W required, 1000 W recommended (15 % headroom); the capacity of the power supplies is not known"
    assert "supply_watts" in check.remedy and "bmc_info" in check.remedy


def test_evidence_names_where_a_limit_comes_from():
    check = one("power.budget", facts(device(), device(number=1, state="no_driver")), power.Policy(supply_watts=1000))
    assert [item["source"] for item in check.evidence[:2]] == [
        "pynvml enforced power limit of 0000:3b:00.0",
        "board catalogue, power of Tesla P40 of 0000:3c:00.0",
    ]


def test_the_failure_is_one_line_with_figures_and_remedy():
    check = one("power.budget", facts(*TWO), power.Policy(supply_watts=750, supply_count=2, redundant_supplies=1))
    assert check.line() == (
        "power.budget host: 850 W required, 1000 W recommended (15 % headroom), 750 W usable (expected at least 850 W, better 1000 W; "
        "evidence pynvml enforced power limit of 0000:3b:00.0 = 250 W, pynvml enforced power limit of 0000:3c:00.0 = 250 W, platform_watts = 350 W, "
        "supply_watts = 2 x 750 W (1 redundant) = 750 W usable). "
        "Remedy: Fit larger or more supplies, take out a GPU, or lower the GPUs' power limits by 100 W in total."
    )


@pytest.mark.parametrize("broken", [{}, None, {"count": 2, "devices": None}, {"count": 2, "devices": [device()]}])
def test_gpus_that_are_not_known_never_pass(broken):
    for name in ("power.budget", "power.worst_case"):
        assert one(name, broken, power.Policy(supply_watts=10000)).status == "unknown"


@pytest.mark.parametrize(
    "limit, policy, status",
    [
        (None, {}, "pass"),
        (350.0, {}, "pass"),
        (540.0, {}, "warn"),
        (540.0, {"processor_watts": 540}, "pass"),
        (540.0, {"platform_watts": 900}, "pass"),
    ],
)
def test_a_platform_figure_below_the_processors_own_limit_is_doubted(limit, policy, status):
    check = one("power.budget", facts(*TWO, processor_limit_watts=limit), power.Policy(supply_watts=3000, **policy))
    assert check.status == status, check.line()
    assert (status == "warn") == ("the processors alone may take 540 W of the 350 W counted for the platform" in check.summary)


@pytest.mark.parametrize(
    "sources, policy, status, usable",
    [
        # SMBIOS alone: enough is a warning at best, too little is too little.
        ([smbios(1100, 1100)], {}, "warn", 1100),
        ([smbios(1100, 1100, group=None)], {}, "warn", 2200),
        ([smbios(750)], {}, "fail", 750),
        # Confirmed by the user, contradicted by the user.
        ([smbios(1100, 1100)], {"supply_watts": 1100}, "pass", 1100),
        ([smbios(1100, 1100)], {"supply_watts": 1100, "supply_count": 2, "redundant_supplies": 1}, "pass", 1100),
        ([smbios(1100, 1100)], {"supply_watts": 750}, "fail", 750),
        ([smbios(750)], {"supply_watts": 1600}, "fail", 750),
        ([smbios(750)], {"supply_watts": 1600, "capacity_source": "variables"}, "pass", 1600),
        # A BMC comes before both.
        ([smbios(750), source("redfish_power", supply(1600))], {}, "pass", 1600),
        ([smbios(2000), source("redfish_power", supply(800))], {"supply_watts": 2000}, "fail", 800),
        ([source("redfish_power", supply(800)), source("redfish_power_subsystem", supply(1600))], {}, "pass", 1600),
        ([source("redfish_power", supply(800)), source("ipmi", supply(1600))], {"capacity_source": "ipmi"}, "pass", 1600),
        ([source("ipmi", supply(800)), smbios(1600)], {}, "fail", 800),
        ([source("ipmi", supply(800))], {"capacity_source": "redfish_power"}, "unknown", None),
        # One of two supplies does not tell its watts: what is known may be enough, and is never too little.
        ([source("redfish_power", supply(1100), supply(None))], {}, "pass", 1100),
        ([source("redfish_power", supply(800), supply(None))], {}, "unknown", 800),
        ([source("redfish_power", supply(800), supply(None))], {"supply_watts": 1600}, "pass", 1600),
    ],
)
def test_the_most_trusted_source_counts(sources, policy, status, usable):
    policy = power.Policy(**policy)
    sources = [*sources, *power.sources_of(None, None, policy)]
    check = one("power.budget", facts(*TWO), policy, sources)
    assert (check.status, power.budget(facts(*TWO), policy, sources)["usable_watts"]) == (status, usable), check.line()


def test_sources_come_from_facts_bmc_and_variables():
    policy = power.Policy(supply_watts=1000)
    found = power.sources_of(facts(*TWO, power_sources=[smbios(750)]), {"power_sources": [source("redfish_power")]}, policy, source("ipmi"), None)
    assert [one["source"] for one in found] == ["redfish_power", "ipmi", "smbios", "variables"]
    assert power.sources_of(None, {"power_sources": "x"}, power.Policy()) == []


def test_supplies_that_feed_gpus_only_must_carry_the_gpus():
    supplies = [supply(1100, domain=name, group=name) for name in ("System", "System", "GPU", "GPU")]
    split = source("redfish_power", *supplies, redundancy=[("System", 2, 2), ("GPU", 2, 2)])
    assert one("power.budget", facts(*TWO), None, [split]).status == "pass"
    check = one("power.budget", facts(*(["p40"] * 5)), None, [split])
    assert check.status == "fail" and "the supplies for GPUs give 1100 W of the 1250 W that the GPUs may take" in check.summary


@pytest.mark.parametrize(
    "policy, line",
    [
        ({"supply_watts": -5}, "supply_watts is -5: it must be greater than 0"),
        ({"supply_watts": 0}, "supply_watts is 0: it must be greater than 0"),
        ({"supply_watts": float("nan")}, "supply_watts is nan: it must be greater than 0"),
        ({"supply_watts": float("inf")}, "supply_watts is inf: it must be greater than 0"),
        ({"supply_watts": 1100000}, "supply_watts is 1100000: it must be 100000 or less: it is in watts"),
        ({"supply_count": 0}, "supply_count is 0: it must be 1 or more"),
        ({"redundant_supplies": -1}, "redundant_supplies is -1: it must be 0 or more"),
        ({"supply_watts": 1, "redundant_supplies": 1}, "redundant_supplies is 1: it must be 0 or more and less than supply_count (1)"),
        ({"supply_watts": 1, "supply_count": 2, "redundant_supplies": 2}, "redundant_supplies is 2: it must be 0 or more and less than supply_count (2)"),
        ({"platform_watts": -1}, "platform_watts is -1: it must be 0 or more"),
        ({"processor_watts": -1}, "processor_watts is -1: it must be 0 or more"),
        ({"headroom_percent": 100}, "headroom_percent is 100: it must be 0 or more and less than 100"),
        ({"headroom_percent": -1}, "headroom_percent is -1: it must be 0 or more and less than 100"),
        ({"headroom_percent": float("nan")}, "headroom_percent is nan: it must be 0 or more and less than 100"),
        ({"capacity_source": "label"}, "capacity_source is label: it must be one of auto, redfish_power_subsystem, redfish_power, ipmi, smbios, variables"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_clear_line(policy, line):
    with pytest.raises(PolicyError) as error:
        power.Policy(**policy)
    assert error.value.message == line
