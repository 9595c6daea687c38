"""firmware.bmc_setting: what a BMC says, with the values of the recorded Redfish trees (tests/fixtures/redfish), against what is seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_bmc import state
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import Policy

from tests.unit.facts_samples import device, facts

REDFISH = Path(__file__).resolve().parents[4] / "fixtures/redfish"
DELL, HPE, SUPERMICRO = "dell-r6515/Bios.json", "hpe-ilo-emulator/DL380a/Systems/1/bios/index.json", "supermicro-gb300/_redfish_v1_Systems_System_0_Bios.json"
ASPM_ON = {"pcie__aspm": "l1", "pcie__upstream__aspm": "l1"}
UNASSIGNED = {"bar1__address": None, "unavailable": {"bar1.address": "BAR1 is not assigned"}}
SMALL = device("t4", bar1__address="0xc0000000")


def recorded(file, **canonical):
    """Attributes of a recorded tree as the BMC's reader returns them."""
    attributes = json.loads((REDFISH / file).read_text())["Attributes"]
    return {name: {"value": attributes[name], "pending": None, "canonical": about} for name, about in canonical.items()}


def check(settings, *devices, **policy):
    found = firmware.check(facts(*devices), Policy(bmc_settings=settings, **policy))
    return [one for one in found if one.id == "firmware.bmc_setting"]


def test_no_bmc_asked_no_answer():
    assert check(None, "p40") == []


@pytest.mark.parametrize("settings", [{}, {"PciResourcePadding": {"value": "Normal", "pending": None, "canonical": None}}])
def test_a_bmc_that_names_nothing_of_interest_is_unknown(settings):
    (found,) = check(settings, "p40")
    assert (found.subject, found.status) == ("host", "unknown")


@pytest.mark.parametrize(
    "file, canonical, one, policy, status",
    [
        (DELL, {"PcieAspmL1": "aspm"}, device("p40"), {}, "pass"),  # Enabled, but no link uses it
        (DELL, {"PcieAspmL1": "aspm"}, device("p40", **ASPM_ON), {}, "fail"),
        (DELL, {"PcieAspmL1": "aspm"}, device("p40", **ASPM_ON), {"aspm_expected": "any"}, "skipped"),
        (DELL, {"SriovGlobalEnable": "sriov"}, device("p40"), {}, "skipped"),
        (DELL, {"SriovGlobalEnable": "sriov"}, device("p40"), {"platform_role": "passthrough"}, "fail"),
        (HPE, {"Sriov": "sriov"}, device("p40"), {"platform_role": "passthrough"}, "pass"),
        (HPE, {"PciSlot14Aspm": "aspm", "PcieGlobalAspm": "aspm"}, device("p40"), {}, "pass"),
        (SUPERMICRO, {"Above4GDecoding": "above_4g"}, device("p40"), {}, "pass"),
        (SUPERMICRO, {"Above4GDecoding": "above_4g"}, device("p40", **UNASSIGNED), {}, "warn"),
        (SUPERMICRO, {"Above4GDecoding": "above_4g"}, SMALL, {}, "pass"),
        (SUPERMICRO, {"SR_IOVSupport": "sriov"}, device("p40"), {"platform_role": "passthrough"}, "fail"),
    ],
)
def test_recorded_settings(file, canonical, one, policy, status):
    found = check(recorded(file, **canonical), one, **policy)
    assert [one.subject for one in found] == sorted(canonical)
    assert {one.status for one in found} == {status}, [one.line() for one in found]


def setting(value, pending=None, about="above_4g"):
    return {"MmioAbove4Gb": {"value": value, "pending": pending, "canonical": about}}


@pytest.mark.parametrize(
    "settings, one, status, words",
    [
        (setting("Disabled"), device("p40", **UNASSIGNED), "fail", "MmioAbove4Gb is Disabled"),
        (setting("Disabled"), device("p40"), "warn", "the hardware shows the opposite"),
        (setting("Disabled"), SMALL, "fail", "MmioAbove4Gb is Disabled"),  # a card that needs it not proves nothing
        (setting("Auto"), device("p40"), "pass", "shows what is expected"),
        (setting("Auto"), SMALL, "unknown", "Auto"),
        (setting(None), SMALL, "unknown", "None"),
        (setting("Disabled", "Enabled"), device("p40", **UNASSIGNED), "warn", "becomes Enabled at the next boot"),
        (setting("Enabled", "Disabled"), device("p40"), "warn", "becomes Disabled at the next boot"),
        (setting("Enabled", "Enabled"), device("p40"), "pass", "Enabled"),
        (setting("Disabled", about="resizable_bar"), device("p40"), "skipped", "nothing here asks for it"),
        (setting("Disabled", about="resizable_bar"), device("odd", pci__device_id="2684", pci__resizable_bar_sizes_mib=[256, 32768]), "fail", "Disabled"),
    ],
)
def test_setting_against_evidence(settings, one, status, words):
    (found,) = check(settings, one)
    assert found.status == status and words in found.summary, found.line()


@pytest.mark.parametrize(
    "value, expected",
    [("Enabled", True), ("Enable", True), (True, True), ("AspmL1Enabled", True), ("L1", True), ("Disabled", False), (False, False), ("Off", False),
     ("Auto", None), ("56TB", None), ("", None), (None, None), (7, None)],
)  # fmt: skip
def test_words_for_on_and_off(value, expected):
    assert state(value) is expected
