"""Which GPUs a task means, which values they take, what has to change."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import gpu_settings as plan


def gpu(index=0, name="Tesla P40", **change):
    return {
        "index": index, "uuid": "GPU-%d" % index, "bus_address": "0000:%02x:00.0" % (0x3B + index), "name": name, "lost": False, "unavailable": {},
        "persistence_mode": False, "power_limit_watts": 250.0, "min_power_limit_watts": 125.0, "max_power_limit_watts": 250.0, "compute_mode": "default",
        "ecc_mode": True, "ecc_mode_pending": True, "memory_clock_mhz": 3615, "graphics_clock_mhz": 1303, "max_memory_clock_mhz": 3615,
        "max_graphics_clock_mhz": 1531, **change,
    }  # fmt: skip


GPUS = [gpu(0), gpu(1), gpu(2, "Tesla T4"), gpu(3, "NVIDIA H100 NVL", bus_address="10000:01:00.0")]


@pytest.mark.parametrize(
    "selectors, chosen",
    [
        (None, [0, 1, 2, 3]),
        (["0"], [0]),
        (["GPU-1"], [1]),
        (["0000:3c:00.0"], [1]),
        (["3C:00.0"], [1]),
        (["00000000:3C:00.0"], [1]),
        (["10000:01:00.0"], [3]),
        (["Tesla P40"], [0, 1]),
        (["tesla t4", "0", "GPU-0"], [0, 2]),
        ([], []),
    ],
)
def test_select(selectors, chosen):
    assert [one["index"] for one in plan.select(GPUS, selectors)] == chosen


@pytest.mark.parametrize("selector", ["9", "GPU", "P40", "0000:3b:00.1", "", "all", "Tesla P40, Tesla T4"])
def test_a_name_that_no_gpu_has_is_an_error_that_lists_them(selector):
    with pytest.raises(PolicyError, match="is no UUID, index, bus address or model of a GPU of this host: GPU 0 .Tesla P40 at 0000:3b:00.0., GPU-0"):
        plan.select(GPUS, [selector])


@pytest.mark.parametrize(
    "wished, needed",
    [
        ({}, []),
        ({"persistence_mode": False, "power_limit_watts": 250.0, "compute_mode": "default", "ecc_mode": True}, []),
        ({"power_limit_watts": 249.995}, []),
        ({"power_limit_watts": 125.0}, [("power_limit_watts", 250.0, 125.0, "-pl", "125")]),
        ({"power_limit_watts": 187.5}, [("power_limit_watts", 250.0, 187.5, "-pl", "187.5")]),
        ({"ecc_mode": False}, [("ecc_mode", True, False, "-e", "0")]),
        ({"compute_mode": "exclusive_process"}, [("compute_mode", "default", "exclusive_process", "-c", "EXCLUSIVE_PROCESS")]),
        ({"application_clocks": {"memory_mhz": 3615, "graphics_mhz": 1303}}, []),
        # Persistence mode comes first: the others need it to last.
        (
            {"power_limit_watts": 200.0, "persistence_mode": True},
            [("persistence_mode", False, True, "-pm", "1"), ("power_limit_watts", 250.0, 200.0, "-pl", "200")],
        ),
    ],
)
def test_changes(wished, needed):
    keys = ("setting", "before", "after", "option", "word")
    assert [tuple(change[key] for key in keys) for change in plan.changes([gpu()], wished)] == needed


def test_clocks_are_a_pair():
    clocks = {"memory_mhz": 3615, "graphics_mhz": 1404}
    (change,) = plan.changes([gpu(supported_clocks=CLOCKS)], {"application_clocks": clocks})
    assert (change["before"], change["after"], change["word"]) == ({"memory_mhz": 3615, "graphics_mhz": 1303}, clocks, "3615,1404")


def test_a_pending_ecc_mode_that_is_wanted_is_no_change_and_one_that_is_not_is_taken_back():
    waiting = gpu(ecc_mode_pending=False)
    assert plan.changes([waiting], {"ecc_mode": False}) == []
    assert [change["after"] for change in plan.changes([waiting], {"ecc_mode": True})] == [True]
    assert plan.waiting([waiting], {}) == ["0000:3b:00.0"] == plan.waiting([gpu()], {"ecc_mode": False})
    assert plan.waiting([waiting], {"ecc_mode": True}) == [] == plan.waiting([gpu(ecc_mode=None, ecc_mode_pending=None)], {})


CLOCKS = [(3615, [1531, 1404, 1303]), (405, [544])]
NO_ECC = gpu(ecc_mode=None, ecc_mode_pending=None, unavailable={"ecc_mode": "not supported", "ecc_mode_pending": "not supported"})


@pytest.mark.parametrize(
    "one, wished, error, line",
    [
        (gpu(), {"power_limit_watts": 300.0}, PolicyError, "power_limit_watts is 300: GPU 0 (Tesla P40 at 0000:3b:00.0) takes 125 to 250 W"),
        (gpu(), {"power_limit_watts": 124.9}, PolicyError, "power_limit_watts is 124.9: GPU 0 (Tesla P40 at 0000:3b:00.0) takes 125 to 250 W"),
        (gpu(), {"application_clocks": {"memory_mhz": 3615, "graphics_mhz": 1600}}, PolicyError,
         "application_clocks.graphics_mhz is 1600: GPU 0 (Tesla P40 at 0000:3b:00.0) takes up to 1531 MHz"),
        (gpu(supported_clocks=CLOCKS), {"application_clocks": {"memory_mhz": 3600, "graphics_mhz": 1404}}, PolicyError,
         "application_clocks.memory_mhz is 3600: GPU 0 (Tesla P40 at 0000:3b:00.0) supports 3615 and 405 MHz"),
        (gpu(supported_clocks=CLOCKS), {"application_clocks": {"memory_mhz": 3615, "graphics_mhz": 1400}}, PolicyError,
         "application_clocks.graphics_mhz is 1400: GPU 0 (Tesla P40 at 0000:3b:00.0) with memory at 3615 MHz supports 3 clocks from 1303 to 1531 MHz, "
         "next to it 1303 and 1404"),
        (gpu(supported_clocks=CLOCKS), {"application_clocks": {"memory_mhz": 405, "graphics_mhz": 1404}}, PolicyError,
         "application_clocks.graphics_mhz is 1404: GPU 0 (Tesla P40 at 0000:3b:00.0) with memory at 405 MHz supports 1 clocks from 544 to 544 MHz, "
         "next to it 544"),
        (NO_ECC, {"ecc_mode": True}, PolicyError, "ecc_mode: GPU 0 (Tesla P40 at 0000:3b:00.0) does not have this setting"),
        (gpu(persistence_mode=None), {"persistence_mode": True}, EvidenceError,
         "persistence_mode of GPU 0 (Tesla P40 at 0000:3b:00.0) cannot be read: not reported"),
        (gpu(lost=True), {"persistence_mode": True}, EvidenceError, "GPU 0 (Tesla P40 at 0000:3b:00.0) is lost: its settings can be neither read nor set"),
        (gpu(uuid=None, name=None, unavailable={"handle": "unknown error"}), {}, EvidenceError,
         "GPU 0 (unknown model at 0000:3b:00.0) does not answer: unknown error"),
    ],
)  # fmt: skip
def test_what_a_gpu_does_not_take_is_one_line_before_anything_is_set(one, wished, error, line):
    with pytest.raises(error) as raised:
        plan.changes([one, gpu(1)], wished)
    assert str(raised.value) == line


@pytest.mark.parametrize(
    "params, line",
    [
        ({"power_limit_watts": -5.0}, "power_limit_watts is -5: it must be more than 0"),
        ({"application_clocks": {"memory_mhz": 0, "graphics_mhz": 1}}, "application_clocks.memory_mhz is 0: it must be more than 0"),
    ],
)
def test_a_value_that_makes_no_sense_is_one_clear_line(params, line):
    with pytest.raises(PolicyError) as raised:
        plan.wishes(params)
    assert str(raised.value) == line
