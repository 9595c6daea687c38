"""DMI tables (SMBIOS 3.2) of the machine, and what the kernel makes of them in /sys/class/dmi/id."""
from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_BIOS_VERSION, _BIOS_DATE = "2.19.1", "06/04/2023"
_SERIAL = "7LAB042"
# Hot replaceable, present; input voltage is switched automatically; type switching (7.40.1). Then, by the supply's state: status OK, or
# critical; unplugged from the wall.
_SUPPLY = 1 | 1 << 1 | 4 << 3 | 4 << 10
_STATES = {"ok": 3 << 7, "failed": 5 << 7, "unplugged": 3 << 7 | 1 << 2}
_NO_HANDLE = 0xFFFF


def _structures(machine: dict[str, Any]) -> list[tuple[int, bytes, list[str]]]:
    maker, product = machine["manufacturer"], machine["product"]
    supplies = [
        (
            39,
            struct.pack("<8BHH3H", 1, 1, 2, 3, 4, 0, 5, 6, supply["watts"], _SUPPLY | _STATES[supply.get("state", "ok")], _NO_HANDLE, _NO_HANDLE, _NO_HANDLE),
            [f"PSU.Slot.{number}", f"PWR SPLY,{supply['watts']}W,RDNT", "DELTA", f"LAB{number:08d}", "0Y26KX", "A02"],
        )
        for number, supply in enumerate(machine["supplies"], 1)
    ]
    return [
        (0, struct.pack("<BBHBBQHBBBB", 1, 2, 0xF000, 3, 0xFF, 1 << 7, 0x0D03, 2, 19, 0xFF, 0xFF), [maker, _BIOS_VERSION, _BIOS_DATE]),
        (1, struct.pack("<4B16s3B", 1, 2, 0, 3, bytes(range(16)), 6, 0, 4), [maker, product, _SERIAL, product.split()[0]]),
        # Chassis: rack mount, states safe, no security.
        (3, struct.pack("<5B4BI4B", 1, 0x17, 0, 2, 0, 3, 3, 3, 2, 0, 2, 1, 0, 0), [maker, _SERIAL]),
        *supplies,
        (127, b"", []),
    ]


def _table(machine: dict[str, Any]) -> bytes:
    table = b""
    for handle, (kind, body, strings) in enumerate(_structures(machine)):
        table += struct.pack("<BBH", kind, 4 + len(body), handle) + body
        table += b"".join(text.encode() + b"\0" for text in strings) + (b"\0" if strings else b"\0\0")
    return table


def _entry_point(length: int) -> bytes:
    entry = bytearray(struct.pack("<5sBBBBBBBIQ", b"_SM3_", 0, 24, 3, 2, 0, 1, 0, length, 0x1000))
    entry[5] = -sum(entry) & 0xFF
    return bytes(entry)


def write_tables(hardware: dict[str, Any], firmware: Path) -> None:
    """Write `firmware`/dmi/tables (what becomes /sys/firmware) and `firmware`/id (what becomes /sys/class/dmi/id)."""
    machine = hardware["machine"]
    tables = firmware / "dmi/tables"
    tables.mkdir(parents=True)
    table = _table(machine)
    (tables / "DMI").write_bytes(table)
    (tables / "smbios_entry_point").write_bytes(_entry_point(len(table)))
    identity = firmware / "id"
    identity.mkdir()
    attributes = {
        "sys_vendor": machine["manufacturer"], "product_name": machine["product"], "product_family": machine["product"].split()[0], "product_serial": _SERIAL,
        "bios_vendor": machine["manufacturer"], "bios_version": _BIOS_VERSION, "bios_date": _BIOS_DATE,
        "chassis_vendor": machine["manufacturer"], "chassis_type": "23", "chassis_serial": _SERIAL,
    }  # fmt: skip
    for name, value in attributes.items():
        (identity / name).write_text(f"{value}\n")
