"""Memory, state and links of a GPU: one row a rule of docs/checks.md, at its borders."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits

from tests.unit.facts_samples import device, facts


def links(active, total):
    return [{"link": number, "active": number < active} for number in range(total)]


def refused(*fields, why="not supported", **change):
    return {**change, "unavailable": dict.fromkeys(fields, why)}


ECC = ("ecc.mode_current", "ecc.mode_pending")
NO_ECC = refused(*ECC, "ecc.volatile_uncorrected", ecc__mode_current=None, ecc__mode_pending=None, ecc__volatile_uncorrected=None)
NO_LIMITS = {"temperature__slowdown_celsius": None, "temperature__shutdown_celsius": None}

# check, model, what differs from a healthy card, limits, status, words of the summary
TABLE = [
    ("gpu.ecc_mode", "p40", {}, {}, "pass", "ECC is on, and nothing is pending"),
    ("gpu.ecc_mode", "p40", {"ecc__mode_current": False, "ecc__mode_pending": False}, {}, "pass", "ECC is off, and nothing is pending"),
    ("gpu.ecc_mode", "p40", {"ecc__mode_pending": False}, {}, "warn", "ECC is on and will be off after a reset"),
    ("gpu.ecc_mode", "odd", NO_ECC, {}, "skipped", "the ECC mode is not supported by this GPU"),
    ("gpu.ecc_mode", "p40", {"ecc__mode_pending": None}, {}, "unknown", "the ECC mode is not known"),
    ("gpu.ecc_mode", "p40", refused(*ECC, why="unknown error", ecc=None), {}, "unknown", "the ECC mode is not known: unknown error"),
    ("gpu.ecc_errors", "p40", {}, {}, "pass", "no uncorrected ECC error"),
    ("gpu.ecc_errors", "p40", {"ecc__volatile_corrected": 4000}, {}, "pass", "no uncorrected ECC error"),
    ("gpu.ecc_errors", "p40", {"ecc__aggregate_uncorrected": 3}, {}, "pass", "no uncorrected ECC error"),
    ("gpu.ecc_errors", "p40", {"ecc__volatile_uncorrected": 1}, {}, "fail", "1 uncorrected ECC error since the driver was loaded"),
    ("gpu.ecc_errors", "p40", {"ecc__volatile_uncorrected": 2}, {"max_uncorrected_errors": 2}, "pass", "not more than accepted"),
    ("gpu.ecc_errors", "p40", {"ecc__mode_current": False, "ecc__volatile_uncorrected": None}, {}, "skipped", "ECC is off: errors are not counted"),
    ("gpu.ecc_errors", "odd", NO_ECC, {}, "skipped", "is not supported by this GPU"),
    ("gpu.ecc_errors", "p40", {"ecc__volatile_uncorrected": None}, {}, "unknown", "is not known"),
    ("gpu.retired_pages", "p40", {}, {}, "pass", "0 retired pages, none pending"),
    ("gpu.retired_pages", "p40", {"retired_pages__single_bit": 10, "retired_pages__double_bit": 4}, {}, "pass", "14 retired pages"),
    ("gpu.retired_pages", "p40", {"retired_pages__single_bit": 10, "retired_pages__double_bit": 5}, {}, "warn", "15 retired pages"),
    ("gpu.retired_pages", "p40", {"retired_pages__single_bit": 59}, {}, "warn", "59 retired pages"),
    ("gpu.retired_pages", "p40", {"retired_pages__single_bit": 60}, {}, "fail", "60 pages are retired"),
    ("gpu.retired_pages", "p40", {"retired_pages__single_bit": 60, "retired_pages__double_bit": None}, {}, "fail", "60 pages are retired"),
    ("gpu.retired_pages", "p40", {"retired_pages__pending": True}, {}, "fail", "a page waits to be retired"),
    ("gpu.retired_pages", "p40", {"retired_pages__double_bit": 11}, {"retired_pages_warn": 5, "retired_pages_fail": 11}, "fail", "11 pages are retired"),
    ("gpu.retired_pages", "p40", {"retired_pages__pending": None}, {}, "unknown", "is not known"),
    ("gpu.retired_pages", "a100", {}, {}, "skipped", "from Ampere on rows are remapped"),
    ("gpu.remapped_rows", "a100", {}, {}, "pass", "no remapping pending, none failed"),
    ("gpu.remapped_rows", "a100", {"remapped_rows__uncorrectable": 2}, {}, "pass", "no remapping pending, none failed"),
    ("gpu.remapped_rows", "a100", {"remapped_rows__pending": True}, {}, "fail", "a row waits to be remapped"),
    ("gpu.remapped_rows", "a100", {"remapped_rows__pending": True, "remapped_rows__failure": True}, {}, "fail", "a row could not be remapped"),
    ("gpu.remapped_rows", "a100", {"remapped_rows__failure": None}, {}, "unknown", "is not known"),
    ("gpu.remapped_rows", "a100", {"name": "NVIDIA GeForce RTX 4090"}, {}, "skipped", "GeForce boards do not remap rows"),
    ("gpu.remapped_rows", "p40", {}, {}, "skipped", "before Ampere pages are retired"),
    ("gpu.throttling", "p40", {}, {}, "pass", "not held down by a fault"),
    ("gpu.throttling", "p40", {"event_reasons": []}, {}, "pass", "not held down by a fault"),
    ("gpu.throttling", "p40", {"event_reasons": ["sw_power_cap"]}, {}, "pass", "not held down by a fault"),
    ("gpu.throttling", "p40", {"event_reasons": ["hw_slowdown", "hw_thermal_slowdown"]}, {}, "warn", "because it is too hot (0x40)"),
    # The brake is told once, by power.events.
    ("gpu.throttling", "p40", {"event_reasons": ["hw_power_brake_slowdown"]}, {}, "pass", "see power.events"),
    ("gpu.throttling", "p40", {"event_reasons": ["hw_slowdown", "hw_power_brake_slowdown"]}, {}, "pass", "see power.events"),
    ("gpu.throttling", "p40", {"event_reasons": ["hw_slowdown", "hw_power_brake_slowdown", "hw_thermal_slowdown"]}, {}, "warn", "too hot (0x40)"),
    (
        "gpu.throttling", "p40", {"event_reasons": ["hw_power_brake_slowdown"]}, {"throttle_reasons": ["hw_power_brake_slowdown"]}, "warn",
        "power brake of the server is pulled (0x80)",
    ),
    ("gpu.throttling", "p40", {"event_reasons": ["sw_power_cap"]}, {"throttle_reasons": ["sw_power_cap"]}, "warn", "the power limit is reached (0x4)"),
    ("gpu.throttling", "p40", {"event_reasons": None}, {}, "unknown", "is not known"),
    ("gpu.throttling", "p40", refused("event_reasons", event_reasons=None), {}, "skipped", "is not supported by this GPU"),
    ("gpu.temperature", "p40", {}, {}, "pass", "28 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 86}, {}, "pass", "86 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 87}, {}, "warn", "87 C: within 5 C of slowing down"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 87}, {"temperature_margin_celsius": 0}, "pass", "87 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 92}, {}, "fail", "92 C: the GPU slows down from 92 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 99, "temperature__slowdown_celsius": None}, {}, "fail", "99 C: the GPU shuts down from 95 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 70}, {"max_temperature_celsius": 70}, "fail", "70 C: the limit set is 70 C"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": 84, "temperature__gpu_max_celsius": 83}, {}, "warn", "above the highest working temperature"),
    ("gpu.temperature", "p40", NO_LIMITS, {}, "pass", "28 C, which does not slow the GPU down"),
    ("gpu.temperature", "p40", {**NO_LIMITS, "event_reasons": ["hw_thermal_slowdown"]}, {}, "warn", "slows down because it is too hot"),
    ("gpu.temperature", "p40", {**NO_LIMITS, "event_reasons": None}, {}, "unknown", "a limit for the 28 C measured is not known"),
    ("gpu.temperature", "p40", {"temperature__gpu_celsius": None}, {}, "unknown", "the temperature is not known"),
    ("gpu.pcie_replay", "p40", {}, {}, "pass", "0 PCIe replays since the driver was loaded"),
    ("gpu.pcie_replay", "p40", {"pcie__replay_count": 7}, {}, "skipped", "a rate needs a second sample"),
    ("gpu.pcie_replay", "p40", {"pcie__replay_count": 7}, {"max_pcie_replays": 7}, "pass", "7 PCIe replays"),
    ("gpu.pcie_replay", "p40", {"pcie__replay_count": 8}, {"max_pcie_replays": 7}, "warn", "8 PCIe replays"),
    ("gpu.pcie_replay", "p40", {"pcie__replay_count": None}, {"max_pcie_replays": 7}, "unknown", "is not known"),
    ("gpu.persistence", "p40", {}, {}, "pass", "persistence mode is on"),
    ("gpu.persistence", "p40", {"persistence_mode": False}, {}, "warn", "persistence mode is off"),
    ("gpu.persistence", "p40", refused("persistence_mode", persistence_mode=None), {}, "skipped", "is not supported by this GPU"),
    ("gpu.persistence", "p40", {"persistence_mode": None}, {}, "unknown", "is not known"),
    ("gpu.inforom", "p40", {}, {}, "pass", "the InfoROM is valid"),
    ("gpu.inforom", "p40", {"inforom_valid": False}, {}, "fail", "the InfoROM is corrupted"),
    ("gpu.inforom", "p40", refused("inforom_valid", why="the InfoROM is corrupted", inforom_valid=None), {}, "fail", "the InfoROM is corrupted"),
    ("gpu.inforom", "p40", refused("inforom_valid", inforom_valid=None), {}, "skipped", "is not supported by this GPU"),
    ("gpu.inforom", "p40", refused("inforom_valid", why="not gathered", inforom_valid=None), {}, "unknown", "is not known: not gathered"),
    ("gpu.inforom", "p40", {"inforom_valid": None}, {}, "unknown", "is not known"),
    ("gpu.nvlink", "p40", {}, {}, "skipped", "not applicable: Tesla P40 has no NVLink"),
    ("gpu.nvlink", "p40", {"nvlinks": None}, {}, "skipped", "not applicable: Tesla P40 has no NVLink"),
    ("gpu.nvlink", "t4", {"nvlinks": None}, {}, "skipped", "not applicable: Tesla T4 has no NVLink"),
    ("gpu.nvlink", "l40s", {"nvlinks": None}, {}, "skipped", "not applicable: NVIDIA L40S has no NVLink"),
    ("gpu.nvlink", "h100", {}, {}, "pass", "all 18 NVLink links are active"),
    ("gpu.nvlink", "h100", {"nvlinks": links(17, 18)}, {}, "fail", "17 of 18 NVLink links are active"),
    ("gpu.nvlink", "h100", {"nvlinks": links(17, 18)}, {"expected_nvlinks": 16}, "pass", "17 NVLink links are active"),
    ("gpu.nvlink", "h100", {"nvlinks": []}, {}, "fail", "NVML lists none of the board's NVLink links"),
    ("gpu.nvlink", "h100", {"nvlinks": None}, {}, "unknown", "the state of NVLink is not known"),
    ("gpu.nvlink", "h100", {"nvlinks": links(0, 18), "mig_mode": {"current": True, "pending": True}}, {}, "skipped", "MIG mode is on"),
    ("gpu.nvlink", "a100", {"nvlinks": links(0, 12)}, {}, "skipped", "no NVLink bridge connects this GPU"),
    ("gpu.nvlink", "a100", {"nvlinks": links(0, 12)}, {"expected_nvlinks": 12}, "fail", "0 of 12 NVLink links are active"),
    ("gpu.nvlink", "a100", {"nvlinks": links(8, 12)}, {}, "warn", "8 of 12 NVLink links are active"),
    ("gpu.nvlink", "odd", {"nvlinks": None, "unavailable": {}}, {}, "unknown", "the state of NVLink is not known"),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: "%s-%s-%s" % (row[0], row[4], row[5][:30]))
def test_one_gpu(row):
    name, model, change, limits, status, words = row
    one = device(model, **{"architecture": "ampere", **change} if model == "odd" else change)
    found = [check for check in health.check(facts(one), limits=Limits(**limits)) if check.id == name]
    assert [(check.subject, check.status) for check in found] == [("0000:3b:00.0", status)], found
    assert words in found[0].summary


def test_each_fault_of_the_table_makes_one_check_fail_and_no_other():
    for name, model, change, limits, status, _words in TABLE:
        if status in ("fail", "warn"):
            bad = {check.id for check in health.check(facts(device(model, **change)), limits=Limits(**limits)) if check.status in ("fail", "warn")}
            assert bad == {name} or (change.get("event_reasons") == ["hw_thermal_slowdown"] and bad == {name, "gpu.throttling"}), (name, change, bad)


BOARD = sorted(name for name, board, _wanted, _judge in health.QUESTIONS if board)


@pytest.mark.parametrize(
    "change, answered, words",
    [
        ({"state": "no_driver"}, set(), "no driver loaded"),
        ({"state": "lost"}, {"gpu.lost"}, "the GPU is lost: gpu.lost tells more"),
        ({"state": "not_visible"}, {"gpu.visible"}, "gpu.visible tells more"),
        ({"state": "unknown"}, {"gpu.visible"}, "gpu.visible tells more"),
        ({"virtualization_mode": "vgpu"}, {"gpu.visible", "gpu.lost", "gpu.persistence"}, "a vGPU: the board belongs to the virtual machine's host"),
        ({"virtualization_mode": "passthrough"}, {"gpu.visible", "gpu.lost", "gpu.persistence", *BOARD} - {"gpu.nvlink", "gpu.remapped_rows"}, ""),
    ],
)
def test_whom_to_ask(change, answered, words):
    checks = [check for check in health.check(facts(device(**change))) if check.subject == "0000:3b:00.0" and check.id != "gpu.xid"]
    assert {check.id for check in checks if check.status != "skipped"} == answered
    assert all(words in check.summary for check in checks if check.status == "skipped" and check.id in BOARD)


SWITCHES = {"nvswitches": ["0000:05:00.0"]}


@pytest.mark.parametrize(
    "model, host, status, words",
    [
        ("p40", {}, "skipped", "no NVSwitch in this machine"),
        ("p40", {"nvswitches": None}, "skipped", "no GPU with NVLink"),
        ("h100", {"nvswitches": None}, "unknown", "is not known"),
        ("h100", {**SWITCHES, "fabric_manager": {"version": "580.95.05", "active": True}}, "pass", "the fabric manager 580.95.05 runs"),
        ("h100", {**SWITCHES, "fabric_manager": {"version": "580.95.05", "active": False}}, "fail", "does not run"),
        ("h100", {**SWITCHES, "fabric_manager": {"version": None, "active": False}}, "fail", "does not run"),
        ("h100", {**SWITCHES, "fabric_manager": {"version": "580.82.07", "active": True}}, "fail", "fabric manager 580.82.07 does not fit driver 580.95.05"),
        ("h100", {**SWITCHES, "fabric_manager": {"version": None, "active": True}}, "unknown", "is not known"),
        ("h100", {**SWITCHES, "fabric_manager": None}, "unknown", "is not known"),
        ("h100", {**SWITCHES, "loaded": None}, "skipped", "no driver loaded"),
    ],
)
def test_fabric_manager(model, host, status, words):
    (found,) = [check for check in health.check(facts(model, model, **host)) if check.id == "gpu.fabric_manager"]
    assert (found.subject, found.status) == ("host", status) and words in found.summary


@pytest.mark.parametrize(
    "limits, line",
    [
        ({"xid_window_seconds": -1}, "xid_window_seconds is -1: it must be 0 or more"),
        ({"max_temperature_celsius": -1}, "max_temperature_celsius is -1: it must be 0 or more"),
        ({"retired_pages_warn": 61}, "retired_pages_warn is 61: it must not be more than retired_pages_fail (60)"),
    ],
)
def test_limits_that_make_no_sense_are_one_clear_line(limits, line):
    with pytest.raises(PolicyError) as error:
        Limits(**limits)
    assert str(error.value) == line and error.value.details == {"option": next(iter(limits))}
