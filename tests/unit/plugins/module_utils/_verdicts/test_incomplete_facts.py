"""Facts with gaps and with values of other types: no verdict raises, and none answers `pass` for what it did not see."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver, driver_plan, driver_policy, firmware, health, power
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts

COMPLETE = facts("p40", "t4")
JUNK = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just([]), st.just({}), st.just("0x"), st.just("580.95.05"))


def paths(value, prefix=()):
    yield prefix
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        yield from paths(below, (*prefix, key))


PATHS = [path for path in paths(COMPLETE) if path]
GONE = object()


def changed(path, value):
    """COMPLETE with `value` at `path`, or without it."""
    result = copy.deepcopy(COMPLETE)
    owner = result
    for key in path[:-1]:
        owner = owner[key]
    if value is GONE:
        del owner[path[-1]]
    else:
        owner[path[-1]] = value
    return result


def verdicts(some):
    policy = power.Policy(supply_watts=2000)
    return health.check(some) + firmware.check(some) + power.check(some, policy) + driver.check(some)


def test_the_complete_facts_pass():
    assert {check.status for check in verdicts(COMPLETE)} == {"pass", "skipped"}


def holds(owner, key):
    """Whether an earlier change has left `key` in place."""
    return isinstance(owner, dict) or (isinstance(owner, list) and isinstance(key, int) and key < len(owner))


def below(owner, key):
    return (owner.get(key) if isinstance(owner, dict) else owner[key]) if holds(owner, key) else None


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(PATHS), JUNK), min_size=1, max_size=4))
def test_no_verdict_raises(changes):
    some = copy.deepcopy(COMPLETE)
    for path, value in changes:
        owner = some
        for key in path[:-1]:
            owner = below(owner, key)
        if holds(owner, path[-1]):
            owner[path[-1]] = value
    for check in verdicts(some):
        assert check.to_dict() and check.line()
    decided = driver_plan.plan(some, driver_policy.Policy())
    assert driver_plan.summary(decided)


# What each check cannot do without → its answer must not stay `pass` when that is null or gone.
NEEDS = [
    (("count",), "gpu.count"),
    (("devices",), "gpu.count"),
    (("count",), "driver.gpus"),
    (("devices", 0, "state"), "driver.gpus"),
    (("devices", 0, "uuid"), "driver.gpus"),
    (("devices", 0, "state"), "gpu.visible"),
    (("devices", 0, "uuid"), "gpu.visible"),
    (("devices", 0, "state"), "gpu.lost"),
    (("devices", 0, "ecc", "mode_pending"), "gpu.ecc_mode"),
    (("devices", 0, "ecc", "volatile_uncorrected"), "gpu.ecc_errors"),
    (("devices", 0, "retired_pages", "single_bit"), "gpu.retired_pages"),
    (("devices", 0, "retired_pages"), "gpu.retired_pages"),
    (("devices", 0, "event_reasons"), "gpu.throttling"),
    (("devices", 0, "temperature"), "gpu.temperature"),
    (("devices", 0, "temperature", "gpu_celsius"), "gpu.temperature"),
    (("devices", 0, "pcie", "replay_count"), "gpu.pcie_replay"),
    (("devices", 0, "persistence_mode"), "gpu.persistence"),
    (("devices", 0, "inforom_valid"), "gpu.inforom"),
    (("host", "kernel_events"), "gpu.xid"),
    (("devices", 0, "bar1"), "firmware.above_4g"),
    (("devices", 0, "bar1", "address"), "firmware.above_4g"),
    (("devices", 0, "pcie"), "firmware.aspm"),
    (("devices", 0, "pcie", "aspm"), "firmware.aspm"),
    (("devices", 0, "pcie", "upstream"), "firmware.aspm"),
    (("devices", 0, "pcie", "upstream", "aspm"), "firmware.aspm"),
    (("devices", 0, "pcie", "width_current"), "pcie.width"),
    (("devices", 0, "pcie", "width_max"), "pcie.width"),
    (("devices", 0, "pcie", "generation_current"), "pcie.speed"),
    (("devices", 0, "pcie", "generation_max"), "pcie.speed"),
    (("devices", 0, "pcie", "upstream", "acs_source_validation"), "pcie.acs"),
    (("count",), "power.budget"),
    (("devices",), "power.budget"),
    (("driver",), "driver.loaded"),
    (("driver", "loaded_version"), "driver.loaded"),
    (("driver", "library_version"), "driver.consistent"),
    (("driver", "module_versions"), "driver.consistent"),
    (("host", "kernel_release"), "driver.consistent"),
    (("host",), "driver.consistent"),
]


@pytest.mark.parametrize("value", [None, GONE], ids=["null", "gone"])
@pytest.mark.parametrize("path, name", NEEDS)
def test_missing_evidence_never_passes(path, name, value):
    found = [check for check in verdicts(changed(path, value)) if check.id == name]
    assert found and (found[0].status not in ("pass", "warn")), [check.line() for check in found]


def test_a_card_without_limit_and_without_catalogue_entry_never_passes_the_budget():
    some = facts(device("p40"), device("odd", 1, power=None))
    assert power.check(some, power.Policy(supply_watts=100000))[0].status == "unknown"


@pytest.mark.parametrize("value", [None, GONE, "", 580, True, "new"], ids=["null", "gone", "empty", "number", "bool", "text"])
def test_a_plan_without_the_loaded_version_never_says_none(value):
    assert driver_plan.plan(changed(("driver", "loaded_version"), value), driver_policy.Policy())["action"] != "none"
