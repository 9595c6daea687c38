# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power supplies as a BMC lists them over Redfish. Private to gpuops.fleet: the names may change in any release.

Source: DMTF DSP0268 (schemas Chassis, PowerSubsystem, PowerSupply, PowerSupplyMetrics, Power).
"""

from __future__ import annotations

import math
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import Redfish

Json = t.Dict[str, t.Any]
Row = t.Dict[str, t.Any]

LIMIT_SUPPLIES = 64
# Resource.Status.State → state of the supply; everything else follows from Health.
STATES = {"Absent": "absent", "UnavailableOffline": "unplugged", "Disabled": "unplugged", "StandbyOffline": "unplugged"}
# NominalVoltageType, LineInputVoltageType, InputType → the volts it stands for, for services that do not measure.
NOMINAL = {"AC100To127V": 120.0, "AC120V": 120.0, "ACLowLine": 120.0, "AC200To240V": 230.0, "AC200To277V": 240.0, "AC240V": 240.0, "ACHighLine": 230.0,
           "AC208V": 208.0, "AC230V": 230.0, "AC277V": 277.0, "ACMidLine": 208.0}  # fmt: skip


def read(service: Redfish, chassis: t.Sequence[Json]) -> t.List[Row]:
    """Power sources as docs/architecture.md has them (Facts, power): one for the PowerSubsystem, one for Chassis Power, each over all chassis.

    A chassis with neither of them is nothing special: risers, drive cages and GPU boards are chassis as well.
    """
    found = []
    for source, link, read_one in (("redfish_power_subsystem", "PowerSubsystem", _subsystem), ("redfish_power", "Power", _chassis_power)):
        whole: t.Optional[Row] = None
        for one in chassis:
            resource = service.follow(one, link)
            part = read_one(service, resource) if resource else None
            if part is None:
                continue
            # The same resource can be reached from several chassis of one server.
            if whole is None:
                whole = dict(part, source=source, refused=[])
            elif part["where"] != whole["where"] and part["where"] not in whole["where"].split(", "):
                whole = _joined(whole, part)
        if whole is not None:
            found.append(whole)
    return found


def tells(source: Row) -> bool:
    """Whether a source tells any capacity. A list without supplies and 0 W of some boards tells none."""
    return bool(source["capacity_watts"] or any(one["watts"] and one["state"] != "absent" for one in source["supplies"]))


def _joined(whole: Row, part: Row) -> Row:
    capacity = [one["capacity_watts"] for one in (whole, part) if one["capacity_watts"]]
    consumed = [one["consumed_watts"] for one in (whole, part) if one["consumed_watts"]]
    return dict(
        whole,
        where="%s, %s" % (whole["where"], part["where"]),
        capacity_watts=sum(capacity) if capacity else None,
        consumed_watts=max(consumed) if consumed else None,
        supplies=(whole["supplies"] + part["supplies"])[:LIMIT_SUPPLIES],
        redundancy=whole["redundancy"] + part["redundancy"],
    )


def _subsystem(service: Redfish, resource: Json) -> Row:
    listed = service.members(service.follow(resource, "PowerSupplies"), LIMIT_SUPPLIES)
    supplies = []
    for number, one in enumerate(listed, 1):
        metrics = service.follow(one, "Metrics") if one.get("Metrics") else None
        volts = _number(_at(metrics, "InputVoltage", "Reading"))
        supplies.append((_text(one.get("@odata.id")), _supply(one, number, volts, one.get("InputNominalVoltageType"))))
    groups = [
        (row, "RedundancyGroup", _number(row.get("MinNeededInGroup")), _number(row.get("MaxSupportedInGroup")))
        for row in _rows(resource.get("PowerSupplyRedundancy"))
    ]
    return {
        "where": _text(resource.get("@odata.id")) or "PowerSubsystem", "capacity_watts": _number(resource.get("CapacityWatts")),
        "consumed_watts": _number(_at(resource, "Allocation", "ConsumedWatts")), **_grouped(supplies, groups),
    }  # fmt: skip


def _chassis_power(_service: Redfish, resource: Json) -> Row:
    supplies = [
        (_text(one.get("@odata.id")), _supply(one, number, _number(one.get("LineInputVoltage")), one.get("LineInputVoltageType")))
        for number, one in enumerate(_rows(resource.get("PowerSupplies"))[:LIMIT_SUPPLIES], 1)
    ]
    groups = [
        (row, "RedundancySet", _number(row.get("MinNumNeeded")), _number(row.get("MaxNumSupported")))
        for row in _rows(resource.get("Redundancy"))
    ]  # fmt: skip
    control = _rows(resource.get("PowerControl"))
    consumed = [value for value in (_number(one.get("PowerConsumedWatts")) for one in control) if value]
    capacity = [value for value in (_number(one.get("PowerCapacityWatts")) for one in control) if value]
    return {
        "where": _text(resource.get("@odata.id")) or "Power", "capacity_watts": max(capacity) if capacity else None,
        "consumed_watts": max(consumed) if consumed else None, **_grouped(supplies, groups),
    }  # fmt: skip


def _supply(one: Json, number: int, volts: t.Optional[float], nominal: t.Any) -> Row:
    state = STATES.get(_text(_at(one, "Status", "State")) or "")
    health = _text(_at(one, "Status", "Health"))
    if state is None:
        state = "failed" if health in ("Critical", "Warning") else "ok" if health == "OK" or _at(one, "Status", "State") == "Enabled" else "unknown"
    # A supply without input is there and gives nothing; some services call it Enabled all the same. An empty bay measures 0 V as well.
    if volts == 0 and state in ("ok", "failed", "unknown"):
        state = "unplugged"
    rated = _number(one.get("PowerCapacityWatts")) or None
    volts = volts or NOMINAL.get(_text(nominal) or "")
    derated = _derated(one, volts)
    hot_plug = one.get("HotPluggable")
    if not isinstance(hot_plug, bool):
        hot_plug = _at(one, "Oem", "Hpe", "HotplugCapable")
    bay = _number(_at(one, "Oem", "Hpe", "BayNumber"))
    name = _text(one.get("Name")) or "supply"
    # HPE gives all of them the same name.
    if name in ("HpeServerPowerSupply", "supply"):
        name = "power supply %d" % (bay or number)
    return {
        "name": name, "watts": rated if derated is None else min(derated, rated or derated), "rated_watts": rated or derated, "state": state,
        "hot_plug": hot_plug if isinstance(hot_plug, bool) else None, "redundancy_group": None, "line_volts": volts or None, "derated": derated is not None,
        "domain": _text(_at(one, "Oem", "Hpe", "Domain")), "model": _text(one.get("Model")), "serial": _text(one.get("SerialNumber")),
    }  # fmt: skip


def _derated(one: Json, volts: t.Optional[float]) -> t.Optional[float]:
    """What the supply gives at `volts`, where its input ranges tell it."""
    if not volts:
        return None
    best = None
    for row in _rows(one.get("InputRanges")):
        watts = _number(row.get("OutputWattage")) or _number(row.get("CapacityWatts"))
        low, high = _number(row.get("MinimumVoltage")), _number(row.get("MaximumVoltage"))
        if low is None or high is None:
            nominal = NOMINAL.get(_text(row.get("NominalVoltageType")) or _text(row.get("InputType")) or "")
            low, high = (nominal * 0.83, nominal * 1.17) if nominal else (None, None)
        if watts and low is not None and high is not None and low <= volts <= high:
            best = watts if best is None else min(best, watts)
    return best


def _grouped(
    supplies: t.Sequence[t.Tuple[t.Optional[str], Row]], groups: t.Sequence[t.Tuple[Json, str, t.Optional[float], t.Optional[float]]]
) -> t.Dict[str, t.Any]:
    """`supplies` with their redundancy group, and the groups. Some services list members without links to them: then only their number is known."""
    redundancy: t.List[Row] = []
    for number, (row, key, needed, _supported) in enumerate(groups, 1):
        mode = _text(row.get("RedundancyType")) or _text(row.get("Mode"))
        enabled = row.get("RedundancyEnabled") is not False and _at(row, "Status", "State") not in ("Disabled", "Absent")
        if mode in ("NotRedundant", "None") or not enabled:
            continue
        name = _text(row.get("Name")) or "redundancy group %d" % number
        if any(one["name"] == name for one in redundancy):
            name = "%s %d" % (name, number)
        links = {_plain(_text(member.get("@odata.id"))) for member in _rows(row.get(key)) if member.get("@odata.id")}
        for link, supply in supplies:
            if link and _plain(link) in links:
                supply["redundancy_group"] = name
        members = sum(supply["redundancy_group"] == name and supply["state"] != "absent" for _link, supply in supplies) or len(_rows(row.get(key)))
        redundancy.append(
            {"name": name, "members": members, "needed": int(needed) if needed else None, "mode": mode, "state": _text(_at(row, "Status", "Health"))}
        )
    return {"supplies": [supply for _link, supply in supplies], "redundancy": redundancy}


def _plain(link: t.Optional[str]) -> str:
    """Links to one element of an array are written with and without the slash of a JSON pointer: …/Power#/PowerSupplies/0."""
    return re.sub(r"#/?", "#/", link or "").rstrip("/")


def _rows(value: t.Any) -> t.List[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _at(value: t.Any, *names: str) -> t.Any:
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: t.Any) -> t.Optional[str]:
    return value.strip()[:200] if isinstance(value, str) and value.strip() else None


def _number(value: t.Any) -> t.Optional[float]:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9 or math.isnan(value):
        return None
    return float(value)
