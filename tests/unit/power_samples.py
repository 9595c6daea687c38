"""Power sources as the readers return them, for tables of tests."""

from __future__ import annotations


def supply(watts, state="ok", *, volts=None, rated=None, group=None, name=None, **more):
    """One power supply; `rated`: the watts of its label where they are others."""
    return {
        "name": name or "PSU", "watts": None if watts is None else float(watts), "rated_watts": float(rated or watts or 0) or None, "state": state,
        "hot_plug": True, "redundancy_group": group, "line_volts": volts, **more,
    }  # fmt: skip


def source(name, *supplies, redundancy=(), capacity=None):
    """One power source. `redundancy`: (name, members, needed) of each group, with its health as fourth."""
    return {
        "source": name, "where": "where %s was read" % name, "capacity_watts": capacity, "consumed_watts": None, "supplies": list(supplies), "refused": [],
        "redundancy": [{"name": row[0], "members": row[1], "needed": row[2], "state": row[3] if len(row) > 3 else "OK"} for row in redundancy],
    }  # fmt: skip


def smbios(*watts, group="1"):
    """Supplies of SMBIOS, all of one power unit group."""
    redundancy = [(group, len(watts), len(watts), None)] if group and len(watts) > 1 else []
    return source("smbios", *[supply(one, group=group) for one in watts], redundancy=redundancy)
