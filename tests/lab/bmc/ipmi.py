"""What `ipmi_sim` (Debian package openipmi) needs to serve power supplies over IPMI: FRU inventory, locators of the FRUs, and a sensor each.

ipmi_sim 2.0.37 lets nobody read a sensor (completion code CEh, also for those of its own example): `ipmitool sdr` lists them without a reading.
Intelligent Platform Management Interface Specification 2.0, chapter 43 (sensor data records);
IPMI Platform Management FRU Information Storage Definition 1.3, chapters 8 (common header), 16 and 18.1 (multi-record area, power supplies).
"""
from __future__ import annotations

import struct
from pathlib import Path

PORT, USER, PASSWORD = 9001, "operator", "lab-ipmi"
_BMC = 0x20
_POWER_SUPPLY = 0x0A  # entity id


def _checksum(data: bytes) -> int:
    return -sum(data) & 0xFF


def fru(watts: int) -> bytes:
    """Return the FRU storage of a hot swap power supply: a multi-record area with its one Power Supply Information record."""
    flags = 1 << 1 | 1 << 2 | 1 << 3  # power factor correction, automatic switching, hot swap
    body = struct.pack(
        "<HHBBHHHHBBBBHBHB", watts, 0xFFFF, 0xFF, 0, 9000, 14000, 18000, 26400, 47, 63, 20, flags, 0, 0, 0, 0,
    )  # fmt: skip
    head = bytes([0x00, 0x82, len(body), _checksum(body)])  # format 2, last of the list
    common = bytes([1, 0, 0, 0, 0, 1, 0])
    return common + bytes([_checksum(common)]) + head + bytes([_checksum(head)]) + body


def _name(text: str) -> bytes:
    return bytes([0xC0 | len(text)]) + text.encode()


def locator(number: int, fru_id: int) -> bytes:
    """Return the FRU Device Locator of the supply `number` (from 1), after the record's header."""
    return bytes([_BMC, fru_id, 0x80, 0, 0, 0x10, 0, _POWER_SUPPLY, number, 0]) + _name(f"PS{number} FRU")


def sensor(number: int, sensor_number: int) -> bytes:
    """Return the Compact Sensor Record of the supply's state, after the record's header."""
    masks = struct.pack("<HHH", 0x000F, 0x000F, 0x000F)
    fixed = bytes([_BMC, 0, sensor_number, _POWER_SUPPLY, number, 0x67, 0x40, 0x08, 0x6F]) + masks
    return fixed + bytes([0xC0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) + _name(f"PS{number} Status")


def _record(identifier: int, kind: int, body: bytes) -> bytes:
    return struct.pack("<HBBB", identifier, 0x51, kind, len(body)) + body


def _numbers(data: bytes) -> str:
    return " ".join(f"0x{byte:02x}" for byte in data)


def emulator(supplies: list[int]) -> str:
    """Return the commands of ipmi_sim that make a BMC with supplies of these watts."""
    board = bytes([1, 0, 0, 0, 0, 0, 0, 0xFF])
    lines = ["mc_setbmc 0x20", "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02", "sel_enable 0x20 100 0x0a"]
    lines.append(f"mc_add_fru_data 0x20 0 {len(board)} data {_numbers(board)}")
    for number, watts in enumerate(supplies, 1):
        data, offset = fru(watts), 0x50 + number
        lines.append(f"mc_add_fru_data 0x20 {number} {len(data)} data {_numbers(data)}")
        lines.append(f"sensor_add 0x20 0 {offset:#x} 0x08 0x6f")
        lines.append(f"sensor_set_bit 0x20 0 {offset:#x} 0 1 0")
        lines.append(f"main_sdr_add 0x20 {_numbers(_record(2 * number - 1, 0x11, locator(number, number)))}")
        lines.append(f"main_sdr_add 0x20 {_numbers(_record(2 * number, 0x02, sensor(number, offset)))}")
    return "\n".join([*lines, "mc_enable 0x20", ""])


def lan() -> str:
    """Return ipmi_sim's configuration: the BMC on the loopback interface, one user."""
    auths = "\n".join(f"  allowed_auths_{level} none md2 md5 straight" for level in ("callback", "user", "operator", "admin"))
    return f"""name "lab"
set_working_mc 0x20
startlan 1
  addr 127.0.0.1 {PORT}
  priv_limit admin
{auths}
  guid a123456789abcdefa123456789abcdef
endlan
user 2 true "{USER}" "{PASSWORD}" admin 10 none md2 md5 straight
"""


def write(supplies: list[int], root: Path) -> None:
    """Write below `root` what a node needs: the BMC's two files, and an ipmitool that asks it in the place of a device file."""
    files = {
        "etc/ipmi/lab.emu": emulator(supplies),
        "etc/ipmi/lab.conf": lan(),
        # No kernel driver of a BMC here: everybody's ipmitool takes the way over the network.
        "usr/local/bin/ipmitool": f'#!/bin/sh\nexec /usr/bin/ipmitool -I lanplus -H 127.0.0.1 -p {PORT} -U {USER} -P {PASSWORD} "$@"\n',
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "usr/local/bin/ipmitool").chmod(0o755)
