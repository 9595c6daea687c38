"""power.budget: requirement S6 and section 8 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power

from tests.unit.facts_samples import device, facts

TWO = ("p40", "p40")
LOWERED = {"power__enforced_limit_watts": 150.0}


def test_two_p40_with_the_defaults_need_850_and_better_1000_watts():
    figures = power.budget(facts(*TWO), power.Policy())
    assert (figures["required_watts"], figures["recommended_watts"]) == (850.0, 1000.0)


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
        (TWO, {"supply_watts": 850, "headroom_percent": 0}, "pass"),
        (TWO, {"supply_watts": 1000, "platform_watts": 600}, "fail"),
        (TWO, {"supply_watts": 500, "platform_watts": 0}, "warn"),
        (TWO, {}, "unknown"),
        ((), {"supply_watts": 1000}, "skipped"),
        # No driver: 250 W a card from the catalogue.
        ((device(state="no_driver"), device(number=1, state="no_driver")), {"supply_watts": 1000}, "pass"),
        ((device(state="no_driver"), device(number=1, state="no_driver")), {"supply_watts": 800}, "fail"),
        # Limits lowered to 150 W: enough now, not after a reboot.
        ((device(**LOWERED), device(number=1, **LOWERED)), {"supply_watts": 800}, "warn"),
        # A card that nobody knows: unknown, unless the rest alone is too much.
        (("p40", "odd"), {"supply_watts": 2000}, "unknown"),
        (("p40", "odd"), {"supply_watts": 500}, "fail"),
        (("p40", "odd"), {}, "unknown"),
    ],
)
def test_budget(devices, policy, status):
    (check,) = power.check(facts(*devices), power.Policy(**policy))
    assert (check.id, check.subject, check.status) == ("power.budget", "host", status), check.line()


def test_without_a_capacity_the_figures_are_told_all_the_same():
    (check,) = power.check(facts(*TWO), power.Policy())
    assert check.summary == "850 W required, 1000 W recommended (15 % headroom); the capacity of the power supplies is not known"
    assert "supply_watts" in check.remedy


def test_evidence_names_where_a_limit_comes_from():
    (check,) = power.check(facts(device(), device(number=1, state="no_driver")), power.Policy(supply_watts=1000))
    assert [item["source"] for item in check.evidence[:2]] == [
        "pynvml enforced power limit of 0000:3b:00.0",
        "board catalogue, power of Tesla P40 of 0000:3c:00.0",
    ]


def test_the_failure_is_one_line_with_figures_and_remedy():
    (check,) = power.check(facts(*TWO), power.Policy(supply_watts=750, supply_count=2, redundant_supplies=1))
    assert check.line() == (
        "power.budget host: 850 W required, 1000 W recommended (15 % headroom), 750 W usable (expected at least 850 W, better 1000 W; "
        "evidence pynvml enforced power limit of 0000:3b:00.0 = 250 W, pynvml enforced power limit of 0000:3c:00.0 = 250 W, platform_watts = 350 W, "
        "supply_watts = 2 x 750 W (1 redundant) = 750 W usable). "
        "Remedy: Fit larger or more supplies, take out a GPU, or lower the GPUs' power limits by 100 W in total."
    )


@pytest.mark.parametrize("broken", [{}, None, {"count": 2, "devices": None}, {"count": 2, "devices": [device()]}])
def test_gpus_that_are_not_known_never_pass(broken):
    (check,) = power.check(broken, power.Policy(supply_watts=10000))
    assert check.status == "unknown"


@pytest.mark.parametrize(
    "policy, line",
    [
        ({"supply_watts": -5}, "supply_watts is -5: it must be greater than 0"),
        ({"supply_watts": 0}, "supply_watts is 0: it must be greater than 0"),
        ({"supply_watts": float("nan")}, "supply_watts is nan: it must be greater than 0"),
        ({"supply_watts": float("inf")}, "supply_watts is inf: it must be greater than 0"),
        ({"supply_count": 0}, "supply_count is 0: it must be 1 or more"),
        ({"redundant_supplies": -1}, "redundant_supplies is -1: it must be 0 or more and less than supply_count (1)"),
        ({"supply_count": 2, "redundant_supplies": 2}, "redundant_supplies is 2: it must be 0 or more and less than supply_count (2)"),
        ({"platform_watts": -1}, "platform_watts is -1: it must be 0 or more"),
        ({"headroom_percent": 100}, "headroom_percent is 100: it must be 0 or more and less than 100"),
        ({"headroom_percent": -1}, "headroom_percent is -1: it must be 0 or more and less than 100"),
        ({"headroom_percent": float("nan")}, "headroom_percent is nan: it must be 0 or more and less than 100"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_clear_line(policy, line):
    with pytest.raises(PolicyError) as error:
        power.Policy(**policy)
    assert error.value.message == line
