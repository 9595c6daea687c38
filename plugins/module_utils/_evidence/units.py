# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States of systemd's units. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kept_settings

Unit = t.Dict[str, t.Any]
Units = t.Dict[str, Unit]

PROPERTIES = "Id,LoadState,ActiveState,TriggeredBy,StopWhenUnneeded,ConditionResult"
# States in which a unit works, or systemd is about to make it work (systemctl(1), org.freedesktop.systemd1(5)).
ON = ("active", "activating", "reloading", "refreshing")


def loaded(run: kept_settings.Run, names: t.Sequence[str]) -> Units:
    """Name, and real name, → each of the units that exists and is not masked; none without systemd.

    `id` (real name), `on`, `ending` (systemd stops it now), `state` (active, inactive, failed, …), `triggered_by` (sockets, timers and paths that start
    it), `stops_unneeded` (systemd stops it when nothing needs it), `condition` (False: it was not started for a condition). Raises EvidenceError when
    systemd does not tell them.
    """
    names = sorted(set(names))
    if not names or not kept_settings.systemd():
        return {}
    found = kept_settings.units(run, *names, properties=PROPERTIES)
    if len(found) != len(names):
        raise EvidenceError("systemd does not tell the states of %s" % ", ".join(names))
    there = {name: _unit(properties) for name, properties in found.items() if properties.get("LoadState") == "loaded"}
    there.update({unit["id"]: unit for unit in list(there.values())})
    return there


def _unit(properties: t.Dict[str, str]) -> Unit:
    state = properties.get("ActiveState", "")
    return {
        "id": properties["Id"],
        "on": state in ON,
        "ending": state == "deactivating",
        "state": state,
        "triggered_by": properties.get("TriggeredBy", "").split(),
        "stops_unneeded": properties.get("StopWhenUnneeded") == "yes",
        "condition": properties.get("ConditionResult") != "no",
    }


def with_triggers(run: kept_settings.Run, names: t.Sequence[str]) -> Units:
    """As `loaded`, with the sockets, timers and paths that start them."""
    units = loaded(run, names)
    units.update(loaded(run, [name for unit in units.values() for name in unit["triggered_by"]]))
    return units
