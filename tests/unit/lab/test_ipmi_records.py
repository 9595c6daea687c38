"""FRU storage and sensor data records of the simulated BMC, read back as their specifications say."""
from __future__ import annotations

import struct

import pytest

from tests.lab.bmc import ipmi


@pytest.mark.parametrize("watts", [550, 1100, 3000])
def test_fru_storage(watts: int) -> None:
    data = ipmi.fru(watts)
    assert data[0] == 1 and sum(data[:8]) & 0xFF == 0
    record = data[data[5] * 8 :]
    kind, form, length, of_body, _of_head = record[:5]
    assert (kind, form & 0x0F, form >> 7, length) == (0, 2, 1, 24) and sum(record[:5]) & 0xFF == 0
    body = record[5:]
    assert len(body) == length and (sum(body) + of_body) & 0xFF == 0
    assert struct.unpack_from("<H", body)[0] & 0x0FFF == watts


def test_records_say_how_long_they_are() -> None:
    lines = [line.split()[2:] for line in ipmi.emulator([1100, 1100]).splitlines() if line.startswith("main_sdr_add")]
    records = [bytes(int(word, 16) for word in line) for line in lines]
    assert [(record[0], record[3]) for record in records] == [(1, 0x11), (2, 0x02), (3, 0x11), (4, 0x02)]
    assert all(record[2] == 0x51 and record[4] == len(record) - 5 for record in records)
    # The name ends each record; the compact sensor record has it at byte 32.
    assert records[1][31] == 0xC0 | len("PS1 Status") and records[1][32:] == b"PS1 Status"
    assert records[0][15] == 0xC0 | len("PS1 FRU") and records[0][16:] == b"PS1 FRU"
