# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the power supplies give, from every source that tells. Private to gpuops.fleet: the names may change in any release.

Sources: DMTF DSP0268 (Redfish: PowerSubsystem, PowerSupply, Power, Redundancy), DSP0134 (SMBIOS type 39), IPMI FRU storage definition.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

# In order of trust.
SUBSYSTEM, CHASSIS, IPMI, SMBIOS, VARIABLES = "redfish_power_subsystem", "redfish_power", "ipmi", "smbios", "variables"
SOURCES = (SUBSYSTEM, CHASSIS, IPMI, SMBIOS, VARIABLES)
NAMES = {SUBSYSTEM: "Redfish PowerSubsystem", CHASSIS: "Redfish Chassis Power", IPMI: "ipmitool", SMBIOS: "SMBIOS type 39", VARIABLES: "supply_watts"}
WORKING, BROKEN = ("ok", "unknown"), ("failed", "unplugged")
# Labels are rounded, and a BMC may tell what a supply gives now instead of what is printed on it.
TOLERANCE = 0.05
# Below it the line is a 100 to 127 V one, at which many supplies give much less than at 200 to 240 V.
LOW_LINE_VOLTS = 150.0
# More than a rack's power shelf gives.
GREATEST_WATTS = 100000.0

Source = t.Dict[str, t.Any]


class Capacity:
    """What one source says. Watts; `usable` is None when it tells nothing to go by.

    `total`: of all supplies that are there; `usable`: what is left when the redundant ones have failed; `complete`: whether every supply that is
    there told its watts (else both are the least it can be); `doubts`: why a pass on this capacity is not to be trusted; `gpu_domain`:
    the part of `usable` from supplies that feed GPUs and nothing else, None where all supplies feed everything; `text`: in a few words.
    """

    def __init__(self, source: Source, spare: t.Optional[int]):
        self.name = str(source.get("source"))
        self.where = known.text(source.get("where")) or NAMES[self.name]
        self.doubts: t.List[str] = []
        self.present = present(source)
        told = [one for one in self.present if watts(one)]
        self.complete = len(told) == len(self.present)
        self.spare = 0
        self.total: t.Optional[float] = None
        self.usable: t.Optional[float] = None
        self.gpu_domain: t.Optional[float] = None
        if told:
            self.total = sum(watts(one) for one in told)
            self.usable, self.spare = _usable(source, self.present, spare)
            self.gpu_domain = _gpu_domain(source, self.present, spare)
            self._doubt_low_line()
        elif not self.present and 0 < (known.number(source.get("capacity_watts")) or 0) <= GREATEST_WATTS and not spare:
            # The whole chassis in one figure, and no supply in the list: nothing is known of redundant ones.
            self.total = self.usable = known.number(source.get("capacity_watts"))
            self.doubts.append("%s tells the capacity of the chassis and no power supplies" % NAMES[self.name])
        self.text = self._text()

    def _doubt_low_line(self) -> None:
        for one in self.present:
            volts, given, rated = (known.number(one.get(key)) for key in ("line_volts", "watts", "rated_watts"))
            if volts and volts < LOW_LINE_VOLTS and given and given == rated and not one.get("derated"):
                self.doubts.append("%s runs at %g V, and what it gives at this voltage is not told" % (label(one), volts))

    def _text(self) -> str:
        if self.usable is None:
            return "no capacity"
        parts: t.Dict[str, int] = {}
        for one in self.present:
            key = as_watts(watts(one)) if watts(one) else "unknown watts"
            volts, rated = known.number(one.get("line_volts")), known.number(one.get("rated_watts"))
            if volts and rated and rated > watts(one) > 0:
                key += " (of %s, at %g V)" % (as_watts(rated), volts)
            if one.get("state") not in WORKING:
                key += " %s" % one.get("state")
            parts[key] = parts.get(key, 0) + 1
        supplies = " + ".join("%d x %s" % (number, key) for key, number in parts.items()) or as_watts(self.total or 0)
        return "%s%s = %s usable" % (supplies, " (%d redundant)" % self.spare if self.spare else "", as_watts(self.usable))


def as_watts(value: float) -> str:
    """`value` for humans."""
    return "%s W" % ("%.1f" % value).replace(".0", "")


def label(supply: t.Dict[str, t.Any]) -> str:
    """How a check names a power supply."""
    return known.text(supply.get("name")) or "a power supply"


def watts(supply: t.Dict[str, t.Any]) -> float:
    """What it gives, at the line voltage it has; 0 when not known, or when it cannot be true (a BMC that tells milliwatts)."""
    told = known.number(supply.get("watts")) or 0.0
    return told if told <= GREATEST_WATTS else 0.0


def present(source: Source) -> t.List[t.Dict[str, t.Any]]:
    """The supplies that are there: an empty bay is not a failed supply."""
    return [one for one in rows(source, "supplies") if one.get("state") != "absent"]


def rows(source: Source, key: str) -> t.List[t.Dict[str, t.Any]]:
    """The entries of the list `key`."""
    listed = source.get(key)
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def groups(source: Source) -> t.List[t.Tuple[str, t.List[t.Dict[str, t.Any]], int]]:
    """`(name, supplies, redundant ones)` of every redundancy group; the supplies of groups whose members are not told are in one group.

    "Needed" of Redfish (MinNumNeeded, MinNeededInGroup) is the number with which the group is still fault tolerant, so that of N members
    N - needed + 1 may fail. A value that would let all of them fail lets all but one.
    """
    there = present(source)
    found: t.List[t.Tuple[str, t.List[t.Dict[str, t.Any]], int]] = []
    loose = 0
    taken: t.List[int] = []
    for row in rows(source, "redundancy"):
        name = known.text(row.get("name")) or "redundancy group"
        members = [one for one in there if one.get("redundancy_group") == name and id(one) not in taken]
        count = len(members) or int(known.number(row.get("members")) or 0)
        needed = int(known.number(row.get("needed")) or 0)
        spare = max(0, min(count - needed + 1, count - 1)) if count and needed else 0
        if members:
            taken.extend(id(one) for one in members)
            found.append((name, members, spare))
        else:
            loose += spare
    rest = [one for one in there if id(one) not in taken]
    if rest:
        found.append(("all others" if found else "all", rest, max(0, min(loose, len(rest) - 1))))
    return found


def _usable(source: Source, there: t.List[t.Dict[str, t.Any]], spare: t.Optional[int]) -> t.Tuple[float, int]:
    """`(watts, redundant supplies)`. The largest ones are those that fail, and one that has failed already is one of them."""
    parts = groups(source) if spare is None else [("all", there, spare)]
    total = 0.0
    for _name, members, lost in parts:
        sizes = sorted(watts(one) for one in members)
        working = sum(watts(one) for one in members if one.get("state") in WORKING)
        total += max(0.0, min(working, sum(sizes[: max(0, len(sizes) - lost)])))
    return total, sum(lost for _name, _members, lost in parts)


def _gpu_domain(source: Source, there: t.List[t.Dict[str, t.Any]], spare: t.Optional[int]) -> t.Optional[float]:
    """Usable watts of the supplies of a domain named GPU (HPE servers for many GPUs have one), or None."""
    mine = [one for one in there if str(one.get("domain")).upper() == "GPU"]
    if not mine or len(mine) == len(there):
        return None
    return _usable(dict(source, supplies=mine), mine, None if spare is None else min(spare, len(mine) - 1))[0]


def capacities(sources: t.Sequence[Source], spare: t.Optional[int]) -> t.List[Capacity]:
    """What the sources say, in order of trust; those that tell nothing are left out."""
    readable = [one for one in sources if isinstance(one, dict) and one.get("source") in SOURCES]
    readable.sort(key=lambda one: SOURCES.index(one["source"]))
    return [one for one in (Capacity(source, spare) for source in readable) if one.usable is not None]


def chosen(found: t.Sequence[Capacity], wanted: str) -> t.Optional[Capacity]:
    """The capacity that the budget counts with: of the source `wanted`, else of the most trusted one.

    SMBIOS tables are often filled from a template: alone they leave a doubt, and against what the user says the smaller figure counts.
    """
    if wanted != "auto":
        return next((one for one in found if one.name == wanted), None)
    best = next((one for one in found if one.complete), None) or next(iter(found), None)
    if best is None or best.name != SMBIOS:
        return best
    said = next((one for one in found if one.name == VARIABLES), None)
    if said is None:
        best.doubts.append("only SMBIOS tells the capacity, and firmware often fills it from a template")
        return best
    return best if agree(best, said) or t.cast(float, best.usable) < t.cast(float, said.usable) else said


def agree(one: Capacity, other: Capacity) -> bool:
    """Whether two sources tell the same usable power."""
    first, second = one.usable or 0.0, other.usable or 0.0
    return abs(first - second) <= TOLERANCE * max(first, second)
