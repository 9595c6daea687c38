"""Garbage in the facts, in the kernel log and in what a BMC says: no firmware verdict raises, and none passes on it."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import ASPM_EXPECTED, ROLES, Policy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6))
JUNK = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=6)
KINDS = st.sampled_from(["bar_unassigned", "bar_invalid", "bridge_window", "bar_resize", "sriov_mmio", "vf_bar_unassigned", "aspm_firmware", "prefetch_window"])
EVENT = st.fixed_dictionaries({"kind": st.one_of(KINDS, JUNK), "bus_address": st.one_of(st.just("0000:3b:00.0"), JUNK)}, optional={"code": JUNK, "text": JUNK})
CANONICAL = st.sampled_from(["above_4g", "aspm", "sriov", "resizable_bar", None, 1])
SETTING = st.fixed_dictionaries({"value": JUNK}, optional={"pending": JUNK, "canonical": CANONICAL})
FIELDS = ("bar1", "pci", "pcie", "memory", "utilization", "clocks", "unavailable", "sources", "state", "architecture", "bus_address", "virtualization_mode")
HOST = ("virtualization", "system_vendor", "kernel_command_line", "iommu_group_count", "aspm_policy")


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=4),
    st.fixed_dictionaries({"kernel_events": st.lists(EVENT, max_size=4)}, optional=dict.fromkeys(HOST, JUNK)),
    st.builds(
        Policy,
        st.sampled_from(ROLES),
        st.sampled_from(ASPM_EXPECTED),
        st.one_of(st.none(), st.dictionaries(st.text(max_size=6), SETTING, max_size=3)),
    ),
)
def test_no_verdict_raises(change, host, policy):
    for check in firmware.check(facts(device("p40", **change), "t4", **host), policy):
        assert check.to_dict() and check.line()


# Field → the check that cannot pass without it.
NEEDED = {
    "bar1": "firmware.above_4g",
    "pcie__aspm": "firmware.aspm",
    "pcie__upstream__aspm": "firmware.aspm",
    "pcie__width_current": "pcie.width",
    "pcie__width_max": "pcie.width",
    "pcie__generation_current": "pcie.speed",
    "pcie__generation_max": "pcie.speed",
    "pcie__upstream__acs_source_validation": "pcie.acs",
}


@pytest.mark.parametrize("field", NEEDED)
@settings(max_examples=60, deadline=None)
@given(junk=st.one_of(st.none(), st.text(max_size=6), st.floats(max_value=-1), st.lists(SCALARS, max_size=2), st.just({"address": -1})))
def test_garbage_never_passes(field, junk):
    found = next(check for check in firmware.check(facts(device("p40", **{field: junk}), "p40")) if check.id == NEEDED[field])
    assert found.status != "pass", found.line()


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.none(), st.dictionaries(st.text(max_size=4), JUNK, max_size=3)))
def test_a_bmc_that_talks_nonsense_is_a_clear_error_or_an_answer(settings_given):
    try:
        policy = Policy(bmc_settings=settings_given)
    except PolicyError as error:
        assert error.message.startswith("bmc_settings: ") and "\n" not in error.message
    else:
        assert firmware.check(facts("p40"), policy)
