"""firmware.above_4g: requirement S9 and section 2 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware

from tests.unit.facts_samples import device, facts

UNASSIGNED = {"bar1__address": None, "unavailable": {"bar1.address": "BAR1 is not assigned"}}


@pytest.mark.parametrize(
    "one, status",
    [
        (device("p40"), "pass"),
        (device("p40", state="no_driver"), "pass"),  # the PCI bus proves it without a driver
        (device("p40", state="lost"), "pass"),
        (device("p40", bar1__address="0x100000000"), "pass"),  # 4 GiB exactly
        (device("p40", bar1__address="0xffffffff"), "warn"),
        (device("p40", bar1__address="0xc0000000", bar1__size_mib=256), "warn"),  # native 32 GiB, shrunk below 4 GiB
        (device("t4", bar1__address="0xc0000000"), "unknown"),  # off, or not needed
        (device("odd", bar1__address="0xc0000000"), "unknown"),
        (device("p40", bar1__address="0x0"), "fail"),
        (device("p40", **UNASSIGNED), "fail"),  # resource line with the UNSET flag
        (device("p40", bar1__size_mib=None, **UNASSIGNED), "fail"),  # resource line of zeros
        (device("p40", bar1__total_mib=0), "fail"),  # "BAR1 is 0M @ 0x0"
        (device("p40", bar1__address=None), "unknown"),
        (device("p40", bar1=None), "unknown"),
        (device("p40", bar1__address="over there"), "unknown"),
        (device("p40", bar1__address=None, unavailable={"bar1.address": "Permission denied"}), "unknown"),
    ],
)
def test_above_4g(one, status):
    (check,) = firmware.check(facts(one))
    assert (check.id, check.subject, check.status) == ("firmware.above_4g", "0000:3b:00.0", status), check.line()


def test_a_small_bar_is_proven_by_another_gpu():
    checks = firmware.check(facts(device("t4", 0, bar1__address="0xc0000000"), device("p40", 1)))
    assert [check.status for check in checks] == ["pass", "pass"]
    assert "0000:3c:00.0" in checks[0].summary


def test_a_large_bar_below_is_not_excused_by_another_gpu():
    checks = firmware.check(facts(device("p40", 0, bar1__address="0xc0000000"), device("p40", 1)))
    assert [check.status for check in checks] == ["warn", "pass"]


@pytest.mark.parametrize(
    "host, words",
    [
        ({"system_vendor": "Dell Inc."}, "MmioAbove4Gb"),
        ({"system_vendor": "Supermicro"}, "Above4GDecoding"),
        ({"system_vendor": "HPE"}, "PciResourcePadding"),
        ({"system_vendor": "HP"}, "PciResourcePadding"),
        ({"system_vendor": "Lenovo"}, "DevicesandIOPorts_PCI64BitResourceAllocation"),
        ({"system_vendor": "ASUSTeK COMPUTER INC."}, '"Above 4G Decoding"'),
        ({"system_vendor": None}, '"Above 4G Decoding"'),
        ({"system_vendor": "QEMU", "virtualization": "kvm"}, "64-bit MMIO window"),
        ({"system_vendor": "Dell Inc.", "virtualization": "vm-other"}, "MmioAbove4Gb"),
    ],
)
def test_the_remedy_speaks_the_vendors_language(host, words):
    (check,) = firmware.check(facts(device("p40", **UNASSIGNED), **host))
    assert words in check.remedy and check.remedy.endswith("then restart.")


def test_the_line_names_card_evidence_expectation_and_remedy():
    (check,) = firmware.check(facts(device("p40", **UNASSIGNED)))
    assert check.line() == (
        "firmware.above_4g 0000:3b:00.0: BAR1 (32 GiB) is not assigned: Above 4G Decoding is off, or its window is too small "
        "(expected BAR1 at or above 4 GiB; evidence sysfs:/sys/bus/pci/devices/0000:3b:00.0/resource BAR1 = not assigned, 32 GiB). "
        'Remedy: Set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled in System BIOS Settings, Integrated Devices, then restart.'
    )


def test_in_a_guest_the_pass_says_whose_firmware_it_speaks_of():
    (check,) = firmware.check(facts("p40", system_vendor="QEMU", virtualization="kvm"))
    assert check.status == "pass" and "virtual machine" in check.summary


@pytest.mark.parametrize("given, status", [(facts(loaded=None), "skipped"), ({}, "unknown"), (None, "unknown"), ({"count": 2, "devices": []}, "unknown")])
def test_without_gpus_the_host_gets_the_answer(given, status):
    (check,) = firmware.check(given)
    assert (check.subject, check.status) == ("host", status)
