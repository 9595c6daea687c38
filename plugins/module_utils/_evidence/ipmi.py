# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power supplies as the host's BMC lists them over IPMI. Private to gpuops.fleet: the names may change in any release.

Capacity: Power Supply Information record of the FRU storage (IPMI Platform Management FRU Information Storage Definition, section 18.1), which
ipmitool prints with `-v` only. State: discrete sensors of the type Power Supply (08h; IPMI 2.0, table 42-3).
"""

from __future__ import annotations

import re
import typing as t

Run = t.Callable[..., t.Tuple[int, str, str]]

FRU = ("ipmitool", "-v", "fru", "print")
SENSORS = ("ipmitool", "sdr", "type", "Power Supply")
CONSUMED = ("ipmitool", "dcmi", "power", "reading")
LIMIT_SUPPLIES = 64
# Text of the sensor's state → state of the supply; the first that is found counts, worst first.
STATES = (("Failure detected", "failed"), ("AC lost", "unplugged"), ("input out-of-range", "failed"), ("Config Error", "failed"),
          ("Predictive failure", "failed"), ("Presence detected", "ok"))  # fmt: skip


def read(run: Run, timeout_seconds: float = 20) -> t.Tuple[t.Optional[t.Dict[str, t.Any]], str]:
    """`(source, reason)`: a power source as docs/architecture.md has it (Facts, power), or None and why there is none. Never raises.

    `run(args, timeout_seconds=…)` returns `(rc, stdout, stderr)`, rc 127 without the program, 124 after the time-out.
    """
    rc, out, err = run(list(FRU), timeout_seconds=timeout_seconds)
    if rc == 127:
        return None, "ipmitool is not installed"
    if rc == 124:
        return None, "%s: no answer within %g s" % (" ".join(FRU), timeout_seconds)
    capacities = parse_fru(out)
    if not capacities:
        why = _first_line(err) if rc else ""
        return None, "%s: %s" % (" ".join(FRU), why or "no FRU tells the capacity of a power supply")
    states = parse_sensors(run(list(SENSORS), timeout_seconds=timeout_seconds)[1])
    consumed = parse_consumed(run(list(CONSUMED), timeout_seconds=timeout_seconds)[1])
    # A supply that a sensor sees and no FRU describes is there, with a capacity that nobody tells.
    silent = sorted(set(states) - {_number(name) for name, _watts, _hot_plug in capacities})
    everything: t.List[t.Tuple[str, t.Optional[float], t.Optional[bool]]] = [*capacities, *(("supply %s" % number, None, None) for number in silent)]
    supplies = [
        {
            "name": name, "watts": watts, "rated_watts": watts, "state": states.get(_number(name), "unknown"), "hot_plug": hot_plug,
            "redundancy_group": None, "line_volts": None,
        }
        for name, watts, hot_plug in everything
    ]  # fmt: skip
    return {
        "source": "ipmi", "where": " ".join(FRU), "capacity_watts": None, "consumed_watts": consumed, "supplies": supplies, "redundancy": [], "refused": [],
    }, ""  # fmt: skip


def parse_fru(text: str) -> t.List[t.Tuple[str, float, bool]]:
    """`(name, watts, hot plug)` of every FRU with a Power Supply Information record that tells a capacity."""
    found: t.List[t.Tuple[str, float, bool]] = []
    for block in re.split(r"^FRU Device Description\s*:", text, flags=re.MULTILINE)[1:]:
        name = re.sub(r"\s*\(ID \d+\)\s*\Z", "", block.split("\n", 1)[0].strip())
        record = re.search(r"^\s*Power Supply Record\s*$(.*)", block, re.MULTILINE | re.DOTALL)
        watts = re.search(r"^\s*Capacity\s*:\s*(\d{1,5}) W\s*$", record.group(1), re.MULTILINE) if record else None
        # 0xFFF is the field's "not specified" in some BMCs, and 0 an empty record.
        if watts and 0 < int(watts.group(1)) < 0xFFF and len(found) < LIMIT_SUPPLIES:
            found.append((name[:64] or "supply %d" % (len(found) + 1), float(watts.group(1)), "'Hot swap'" in record.group(1)))  # type: ignore[union-attr]
    return found


def parse_sensors(text: str) -> t.Dict[str, str]:
    """Number of the supply (from the sensor's name, else its entity instance) → state, of sensors that tell a supply's presence."""
    found: t.Dict[str, str] = {}
    for line in text.splitlines():
        columns = [column.strip() for column in line.split("|")]
        if len(columns) < 5:
            continue
        number = _number(columns[0]) or columns[3].rpartition(".")[2]
        state = next((state for words, state in STATES if words.lower() in columns[4].lower()), None)
        if state and (number not in found or found[number] == "ok"):
            found[number] = state
    return found


def parse_consumed(text: str) -> t.Optional[float]:
    """Watts that the whole host takes now (DCMI power reading), or None."""
    match = re.search(r"^\s*Instantaneous power reading:\s*(\d{1,6}) Watts", text, re.MULTILINE)
    return float(match.group(1)) if match and int(match.group(1)) else None


def _number(name: str) -> str:
    match = re.search(r"\d+", name)
    return match.group().lstrip("0") or "0" if match else ""


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Loading ")]
    return lines[0][:200] if lines else ""
