"""firmware.aspm, pcie.width and pcie.speed: sections 4 and 5 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import Policy

from tests.unit.facts_samples import device, facts

BUSY = {"utilization": {"gpu_percent": 97}}
PERFORMANCE = {"clocks__graphics_mhz": 1303, "clocks__memory_mhz": 3615}
SLOW = {"pcie__generation_current": 1}


def check(name, one, policy=None, **host):
    return next(found for found in firmware.check(facts(one, "p40", **host), policy) if found.id == name)


@pytest.mark.parametrize(
    "gpu, port, status, words",
    [
        ("disabled", "disabled", "pass", "disabled on both ends"),
        ("l1", "disabled", "fail", "L1 on 0000:3b:00.0"),
        ("disabled", "l0s", "fail", "L0s on 0000:3a:00.0"),
        ("l0s_l1", "l0s_l1", "fail", "L0s and L1 on 0000:3b:00.0, L0s and L1 on 0000:3a:00.0"),
        (None, "l1", "fail", "L1 on 0000:3a:00.0"),  # one end is enough to know
        (None, "disabled", "unknown", "of 0000:3b:00.0 is not known: needs root"),
        ("disabled", None, "unknown", "of 0000:3a:00.0 is not known"),
        ("disabled", "on", "unknown", "of 0000:3a:00.0 is not known"),
    ],
)
def test_aspm_is_judged_on_both_ends(gpu, port, status, words):
    found = check("firmware.aspm", device("p40", pcie__aspm=gpu, pcie__upstream__aspm=port, unavailable={"pcie.aspm": "needs root"}))
    assert found.status == status and words in found.summary, found.line()


ASPM_ON = {"pcie__aspm": "l1", "pcie__upstream__aspm": "l1"}
POLICY, LINK_FILE = "pcie_aspm.policy=performance", "/sys/bus/pci/devices/0000:3b:00.0/link/l1_aspm"


def test_the_remedies_of_aspm_are_those_that_work():
    found = check("firmware.aspm", device("p40", **ASPM_ON))
    assert "PcieAspmL1" in found.remedy and POLICY in found.remedy and LINK_FILE in found.remedy and "l0s_aspm" not in found.remedy
    assert "pcie_aspm=off" not in found.line()


def test_pcie_aspm_off_is_named_as_ineffective():
    found = check("firmware.aspm", device("p40", **ASPM_ON), kernel_command_line="ro pcie_aspm=off quiet")
    assert found.status == "fail" and "pcie_aspm=off on the kernel command line does not turn ASPM off" in found.summary
    assert "remove pcie_aspm=off" in found.remedy and POLICY in found.remedy and LINK_FILE not in found.remedy
    # It does not help, and it does not hurt where the firmware has turned ASPM off.
    assert check("firmware.aspm", device("p40"), kernel_command_line="ro pcie_aspm=off quiet").status == "pass"


def test_a_firmware_that_forbids_the_kernel_to_change_aspm():
    text = "acpi PNP0A08:00: FADT indicates ASPM is unsupported, using BIOS configuration"
    event = {"kind": "aspm_firmware", "bus_address": None, "code": None, "seconds_ago": 1, "text": text}
    assert check("firmware.aspm", device("p40"), kernel_events=[event]).status == "pass"
    found = check("firmware.aspm", device("p40", **ASPM_ON), kernel_events=[event])
    assert found.status == "fail" and POLICY not in found.remedy and "FADT" in found.remedy


def test_any_aspm_is_accepted_when_nothing_is_expected():
    assert check("firmware.aspm", device("p40", **ASPM_ON), Policy(aspm_expected="any")).status == "skipped"


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({}, "pass", "x16"),
        ({"pcie__width_current": 8}, "fail", "x8 instead of x16"),
        ({"pcie__width_current": 1, **SLOW}, "fail", "x1 instead of x16"),  # rest does not explain lanes
        ({"pcie__width_current": 8, "pcie__upstream__width_max": 8}, "pass", "all that the slot has, the card could use x16"),
        ({"pcie__width_current": 4, "pcie__upstream__width_max": 8}, "fail", "x4 instead of x8"),
        ({"pcie__width_max": 8, "pcie__width_current": 8}, "pass", "x8"),
        ({"pcie__width_current": 8, "pcie__upstream__width_max": None}, "warn", "what the slot can is not known"),
        ({"pcie__upstream__width_max": None}, "pass", "x16"),
        ({"pcie__width_current": None}, "unknown", "not known"),
        ({"pcie__width_max": None}, "unknown", "not known"),
        ({"pcie": None}, "unknown", "not known"),
    ],
)
def test_width(change, status, words):
    found = check("pcie.width", device("p40", **change))
    assert found.status == status and words in found.summary, found.line()


@pytest.mark.parametrize(
    "change, status, words",
    [
        ({}, "pass", "generation 3"),
        (SLOW, "pass", "while the GPU rests"),
        ({**SLOW, **BUSY}, "fail", "generation 1 instead of 3 under load"),
        ({**SLOW, **PERFORMANCE}, "fail", "generation 1 instead of 3 under load"),
        # A memory clock that never sinks is no load.
        ({**SLOW, "clocks__memory_mhz": 3615}, "pass", "while the GPU rests"),
        ({"pcie__upstream__generation_max": 2, "pcie__generation_current": 2, **BUSY}, "pass", "all that the slot has"),
        ({"pcie__upstream__generation_max": 2, **SLOW, **BUSY}, "fail", "1 instead of 2"),
        ({"pcie__generation_gpu_max": 4}, "pass", "the card could use generation 4"),
        ({**SLOW, "utilization": None, "clocks": None}, "skipped", "whether the GPU rests is not known"),
        ({**SLOW, "utilization": None, **PERFORMANCE}, "fail", "under load"),
        ({"pcie__generation_current": None}, "unknown", "not known"),
        ({"pcie__generation_max": None}, "unknown", "not known"),
    ],
)
def test_speed(change, status, words):
    found = check("pcie.speed", device("p40", **change))
    assert found.status == status and words in found.summary, found.line()


LINK_CHECKS = ("firmware.aspm", "pcie.width", "pcie.speed", "pcie.acs")
BROKEN = {"pcie__width_current": 1, "pcie__upstream__acs_source_validation": True, **ASPM_ON, **SLOW, **BUSY}


@pytest.mark.parametrize(
    "one, host, words",
    [
        (device("p40", **BROKEN), {"system_vendor": "QEMU", "virtualization": "kvm"}, "virtual machine (kvm): the link belongs to its host"),
        (device("p40", **BROKEN, virtualization_mode="vgpu"), {}, "virtual GPU"),
        (device("p40", **BROKEN, state="lost"), {}, "GPU is lost"),
    ],
)
@pytest.mark.parametrize("name", LINK_CHECKS)
def test_a_link_that_is_not_there_is_not_judged(name, one, host, words):
    found = check(name, one, **host)
    assert found.status == "skipped" and words in found.summary


def test_on_a_server_of_a_known_vendor_the_links_are_judged_whatever_the_processor_says():
    assert check("pcie.width", device("p40", **BROKEN), system_vendor="Dell Inc.", virtualization="vm-other").status == "fail"


@pytest.mark.parametrize(
    "option, value, words",
    [
        ("aspm_expected", "on", "aspm_expected is on: it must be one of disabled, any"),
        ("platform_role", "desktop", "platform_role is desktop: it must be one of baremetal, passthrough"),
        ("bmc_settings", {"Sriov": "Enabled"}, "bmc_settings: Sriov has no value"),
    ],
)
def test_a_policy_that_makes_no_sense_is_one_clear_line(option, value, words):
    with pytest.raises(PolicyError, match="^" + words.replace("(", r"\(")):
        Policy(**{option: value})
