"""SMBIOS type 39: tables as the specification lays them out, and bytes that are none."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import power, smbios
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lab.hardware.dmi import write_tables

PRESENT, HOT_PLUG, UNPLUGGED = 1 << 1, 1, 1 << 2
OK, UNKNOWN_STATUS, CRITICAL = 3 << 7, 2 << 7, 5 << 7
TEXTS = ("PSU.Slot.1", "PWR SPLY,1100W,RDNT,DELTA", "DELL", "CNLOD0012345", "0Y26KXA02")


def structure(kind, body, texts=()):
    return struct.pack("<BBH", kind, 4 + len(body), kind) + body + (b"".join(text.encode() + b"\0" for text in texts) + b"\0" if texts else b"\0\0")


def psu(watts=1100, flags=PRESENT | HOT_PLUG | OK, group=1, texts=TEXTS):
    """Location, name, manufacturer, serial number and part number are the strings 1 to 5."""
    return structure(39, struct.pack("<8BHH3H", group, 1, 2, 3, 4, 0, 5, 0, watts, flags, 0xFFFF, 0xFFFF, 0xFFFF), texts)


def table(*structures):
    return structure(1, bytes(23), ("Dell Inc.",)) + b"".join(structures) + structure(127, b"")


def test_two_redundant_supplies():
    found, why = smbios.parse(table(psu(), psu(texts=("PSU.Slot.2", *TEXTS[1:]))))
    assert why == "" and found["source"] == "smbios" and found["where"] == "/sys/firmware/dmi/tables/DMI type 39"
    assert [(one["name"], one["watts"], one["state"], one["hot_plug"], one["redundancy_group"]) for one in found["supplies"]] == [
        ("PSU.Slot.1", 1100.0, "ok", True, "1"), ("PSU.Slot.2", 1100.0, "ok", True, "1"),
    ]  # fmt: skip
    assert found["redundancy"] == [{"name": "1", "members": 2, "needed": 2, "state": None}]


@pytest.mark.parametrize(
    "supply, reason",
    [
        (psu(0x8000), "unknown to the firmware"),
        (psu(75), "75 W is not what a server's power supply gives"),
        (psu(0), "0 W is not"),
        (psu(199), "199 W is not"),
        # Written in another unit: 750 as 7500 deci-watts would still be plausible, 75 centiwatts and 65535 are not.
        (psu(65535), "65535 W is not"),
        (psu(20000), "20000 W is not"),
        (psu(texts=("OEM_Define0", "OEM_Define1", "OEM_Define2", "OEM_Define3", "OEM_Define5")), "placeholder"),
        (psu(texts=("To Be Filled By O.E.M.",) * 5), "placeholder"),
        (psu(texts=("Default string", "Not Specified", "N/A", " ", "0000")), "placeholder"),
        (psu(texts=()), "placeholder"),
        (structure(39, bytes(8)), "too short"),
    ],
)
def test_what_cannot_be_true_is_no_source(supply, reason):
    found, why = smbios.parse(table(supply))
    assert found is None and reason in why


@pytest.mark.parametrize("watts", [200, 550, 1100, 3000, 12000])
def test_what_can_be_true_is_taken(watts):
    assert smbios.parse(table(psu(watts)))[0]["supplies"][0]["watts"] == watts


def test_a_supply_without_watts_makes_the_capacity_incomplete_and_keeps_the_others():
    found, _why = smbios.parse(table(psu(), psu(0x8000)))
    assert [one["watts"] for one in found["supplies"]] == [1100.0, None]
    assert found["refused"] == [{"name": "PSU.Slot.1", "reason": "its capacity is unknown to the firmware"}]


@pytest.mark.parametrize(
    "flags, state",
    [
        (PRESENT | OK, "ok"),
        (PRESENT | CRITICAL, "failed"),
        (PRESENT | OK | UNPLUGGED, "unplugged"),
        (PRESENT | UNKNOWN_STATUS, "unknown"),
    ],
)
def test_states(flags, state):
    assert smbios.parse(table(psu(flags=flags)))[0]["supplies"][0]["state"] == state


def test_an_empty_bay_is_no_supply():
    found, _why = smbios.parse(table(psu(), psu(0, flags=0)))
    assert [one["name"] for one in found["supplies"]] == ["PSU.Slot.1"] and found["redundancy"] == []
    assert smbios.parse(table(psu(flags=OK)))[0] is None


def test_no_supply_at_all():
    assert smbios.parse(table()) == (None, "/sys/firmware/dmi/tables/DMI: no power supply (type 39)")
    assert smbios.parse(b"")[0] is None


@pytest.mark.parametrize("length", range(0, 160, 7))
def test_tables_that_are_cut_off(length):
    found, _why = smbios.parse((structure(1, bytes(23), ("Dell Inc.",)) + psu() + psu())[:length])
    assert found is None or [one["watts"] for one in found["supplies"]] == [1100.0]


def test_the_tables_of_a_simulated_server_are_read_from_its_files(tmp_path):
    machine = {"manufacturer": "Dell Inc.", "product": "PowerEdge R740", "supplies": [{"watts": 1100}, {"watts": 1100}]}
    write_tables({"machine": machine}, tmp_path / "sys/firmware")
    read = power.read(str(tmp_path))
    assert [one["watts"] for one in read["power"]["supplies"]] == [1100.0, 1100.0] and read["power_sources"] == [read["power"]]


def test_without_the_file_there_is_a_reason(tmp_path):
    read = power.read(str(tmp_path))
    assert read["power"] is None and read["power_sources"] == []
    assert read["unavailable"]["power"] == "/sys/firmware/dmi/tables/DMI: no such file or directory"
    assert read["unavailable"]["processor_limit_watts"] == "/sys/class/powercap: no processor package"


def zones(root, *rows):
    for name, label, limit in rows:
        zone = root / "sys/class/powercap" / name
        zone.mkdir(parents=True)
        (zone / "name").write_text(label + "\n")
        if limit is not None:
            (zone / "constraint_0_power_limit_uw").write_text("%s\n" % limit)


def test_the_processors_limit_counts_packages_once(tmp_path):
    zones(tmp_path, ("intel-rapl:0", "package-0", 270000000), ("intel-rapl:1", "package-1", 270000000), ("intel-rapl:0:0", "dram", 41250000),
          ("intel-rapl-mmio:0", "package-0", 270000000), ("intel-rapl:2", "psys", 900000000))  # fmt: skip
    assert power.processor_limit(str(tmp_path)) == (540.0, "")


@pytest.mark.parametrize("limit", [None, "", "many", "-5"])
def test_a_package_without_a_limit_leaves_the_sum_unknown(tmp_path, limit):
    zones(tmp_path, ("intel-rapl:0", "package-0", 270000000), ("intel-rapl:1", "package-1", limit))
    found, why = power.processor_limit(str(tmp_path))
    assert found is None and why.startswith("/sys/class/powercap/intel-rapl:1")


GOOD = table(psu(), psu(2000, group=0), psu(0x8000))


def sane(data):
    found, why = smbios.parse(data)
    assert (found is None) == bool(why)
    for one in found["supplies"] if found else []:
        assert one["watts"] is None or 200 <= one["watts"] <= 12000


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_raise(data):
    sane(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_no_damaged_table_raises(changes):
    data = bytearray(GOOD)
    for place, value in changes:
        data[place] = value
    sane(bytes(data))
