"""firmware.above_4g: requirement S9 and section 2 of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware

from tests.unit.facts_samples import device, facts

NAME = "firmware.above_4g"


def above_4g(given):
    """The answers to firmware.above_4g alone."""
    return [check for check in firmware.check(given) if check.id == NAME]


UNASSIGNED = {"bar1__address": None, "unavailable": {"bar1.address": "BAR1 is not assigned"}}


@pytest.mark.parametrize(
    "one, status",
    [
        (device("p40"), "pass"),
        (device("p40", state="no_driver"), "pass"),  # the PCI bus proves it without a driver
        (device("p40", state="lost"), "pass"),
        (device("t4", bar1__address="0x100000000", pcie__upstream__prefetchable_window=None), "pass"),  # 4 GiB exactly
        (device("p40", bar1__address="0x39f010000000"), "fail"),  # not a multiple of 32 GiB: a fault of a hypervisor
        (device("p40", bar1__address="0x3af000000000"), "fail"),  # outside the window of the port above
        (device("p40", bar1__address="0x3af000000000", pcie__upstream__prefetchable_window={"start": "x", "end": None}), "pass"),
        (device("p40", bar1__address="0xf0000000", bar1__size_mib=256), "warn"),
        (device("p40", bar1__address="0xc0000000", bar1__size_mib=256), "warn"),  # native 32 GiB, shrunk below 4 GiB
        (device("t4", bar1__address="0xc0000000"), "pass"),  # all that this board asks for
        (device("t4", bar1__address="0xc0000000", bar1__size_mib=64), "unknown"),
        (device("odd", bar1__address="0xc0000000"), "unknown"),  # off, or not needed
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
    (check,) = above_4g(facts(one))
    assert (check.id, check.subject, check.status) == ("firmware.above_4g", "0000:3b:00.0", status), check.line()


def test_a_small_bar_is_proven_by_another_gpu():
    checks = above_4g(facts(device("t4", 0, bar1__address="0xc0000000"), device("p40", 1)))
    assert [check.status for check in checks] == ["pass", "pass"]
    assert "0000:3c:00.0" in checks[0].summary


def test_an_unknown_board_with_a_small_bar_is_proven_by_another_gpu():
    checks = above_4g(facts(device("odd", 0, bar1__address="0xc0000000"), device("p40", 1)))
    assert [check.status for check in checks] == ["pass", "pass"]


def event(kind, address="0000:3b:00.0", code=None, text="pci: a message"):
    return {"kind": kind, "bus_address": address, "code": code, "seconds_ago": 60, "text": text}


UNREAD = {"bar1__address": None, "bar1__total_mib": None, "unavailable": {"bar1.address": "Permission denied"}}


@pytest.mark.parametrize(
    "one, events, status",
    [
        # Where sysfs cannot be read, the log decides.
        (device("p40", **UNREAD), [event("bar_unassigned", code=1)], "fail"),
        (device("p40", **UNREAD), [event("bar_invalid", code=1)], "fail"),
        (device("p40", **UNREAD), [event("bar_unassigned", "0000:3c:00.0", 1), event("bridge_window", "0000:3a:00.0"), event("bar_resize")], "unknown"),
        # An address that sysfs shows is newer than what the kernel said at boot.
        (device("p40"), [event("bar_unassigned", code=1), event("bar_resize"), event("bridge_window", "0000:00:1c.0")], "pass"),
        # The driver needs the other regions too, unless it works by now.
        (device("p40", state="no_driver"), [event("bar_unassigned", code=3)], "fail"),
        (device("p40", state="not_visible"), [event("bar_invalid", code=1), event("prefetch_window", None)], "fail"),
        (device("p40"), [event("bar_invalid", code=1), event("bar_unassigned", code=3)], "pass"),
    ],
)
def test_the_kernel_log(one, events, status):
    (check,) = above_4g(facts(one, kernel_events=events))
    assert check.status == status, check.line()
    if status == "fail":
        assert any(item["source"] == "kernel log" for item in check.evidence)


def test_the_bridge_above_is_evidence_when_bar1_has_no_place():
    (check,) = above_4g(facts(device("p40", **UNASSIGNED), kernel_events=[event("bridge_window", "0000:3a:00.0", text="bridge window: no space")]))
    assert check.evidence[-1] == {"source": "kernel log", "value": "bridge window: no space"}


def test_a_large_bar_below_is_not_excused_by_another_gpu():
    checks = above_4g(facts(device("p40", 0, bar1__address="0xc0000000", bar1__size_mib=256), device("p40", 1)))
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
    (check,) = above_4g(facts(device("p40", **UNASSIGNED), **host))
    assert words in check.remedy and check.remedy.endswith("then restart.")


def test_the_line_names_card_evidence_expectation_and_remedy():
    (check,) = above_4g(facts(device("p40", **UNASSIGNED)))
    assert check.line() == (
        "firmware.above_4g 0000:3b:00.0: BAR1 (32 GiB) is not assigned: Above 4G Decoding is off, or its window is too small "
        "(expected BAR1 at or above 4 GiB; evidence sysfs:/sys/bus/pci/devices/0000:3b:00.0/resource BAR1 = not assigned, 32 GiB). "
        'Remedy: Set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled in System BIOS Settings, Integrated Devices, then restart.'
    )


def test_in_a_guest_the_pass_says_whose_firmware_it_speaks_of():
    (check,) = above_4g(facts("p40", system_vendor="QEMU", virtualization="kvm"))
    assert check.status == "pass" and "virtual machine" in check.summary


@pytest.mark.parametrize("given, status", [(facts(loaded=None), "skipped"), ({}, "unknown"), (None, "unknown"), ({"count": 2, "devices": []}, "unknown")])
def test_without_gpus_the_host_gets_the_answer(given, status):
    (check,) = firmware.check(given)  # no check of a link either
    assert (check.subject, check.status) == ("host", status)
