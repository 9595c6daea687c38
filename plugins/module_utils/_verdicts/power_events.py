# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a GPU and the kernel log tell of a lack of power. Private to gpuops.fleet: the names may change in any release.

Sources: NVIDIA, Xid catalogue (54: auxiliary power is not connected); NVRM message "does not have the necessary power cables connected";
`nvmlClocksEventReasonHwPowerBrakeSlowdown` (0x80, nvml.h). Software sees no connector: a lead that fits and is the wrong one shows only so.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

ID = "power.events"
POWER_XID = 54
BRAKE = "hw_power_brake_slowdown"
CABLES = (
    "Power off and check the card's auxiliary power leads: of the kind that the board's manual names (a Tesla P40 has a processor's 8-pin EPS-12V "
    "socket, into which a PCIe 8-pin lead must not go), each from a connector of its own, fully seated."
)
SUPPLIES = "Check the power supplies and their event log in the BMC: a failed supply or a power cap of the server makes it slow its GPUs down."
WANTED = "no message of missing power in this boot, no power brake"


def check(facts: t.Any) -> t.List[Check]:
    """`power.events` of each GPU, and of the host for messages that name none of them."""
    listed = known.get(facts, "host", "kernel_events")
    events = [one for one in listed if isinstance(one, dict) and _about_power(one)] if isinstance(listed, list) else None
    devices = known.devices(facts)
    checks = [_device(device, events) for device in devices]
    names = {known.text(device.get("bus_address")) for device in devices} - {None}
    others = [one for one in events or [] if known.text(one.get("bus_address")) not in names]
    if others:
        checks.append(Check(ID, known.HOST, FAIL, _told(others), WANTED, _seen(others), CABLES))
    return checks or [Check(ID, known.HOST, SKIPPED, "no GPU, and no message of missing power", "", _seen(events))]


def _about_power(event: t.Dict[str, t.Any]) -> bool:
    return event.get("kind") == "power_cable" or (event.get("kind") == "xid" and str(event.get("code")) == str(POWER_XID))


def _device(device: t.Dict[str, t.Any], events: t.Optional[t.List[t.Dict[str, t.Any]]]) -> Check:
    address = known.text(device.get("bus_address"))
    mine = None if events is None else [one for one in events if address is not None and known.text(one.get("bus_address")) == address]
    reasons = device.get("event_reasons")
    reasons = [str(one) for one in reasons] if isinstance(reasons, list) else None
    seen = [*_seen(mine), evidence("%s event reasons" % known.source(device, "nvml", "NVML"), None if reasons is None else ", ".join(reasons) or "none")]
    subject = known.subject(device)
    if mine:
        return Check(ID, subject, FAIL, _told(mine), WANTED, seen, CABLES)
    if reasons is not None and BRAKE in reasons:
        return Check(ID, subject, WARN, "the server holds the GPU back with its power brake", WANTED, seen, SUPPLIES)
    if mine is None:
        summary = "the kernel log of this boot could not be read"
        return Check(ID, subject, UNKNOWN, summary, WANTED, seen, "Gather facts as root: the kernel log is closed to other users.")
    if reasons is None and device.get("state") == "ok":
        summary = "the kernel log tells of no missing power, but the GPU does not tell whether the power brake holds it back"
        return Check(ID, subject, UNKNOWN, summary, WANTED, seen, "See gpu.throttling: it names why the GPU does not tell.")
    return Check(ID, subject, PASS, "no sign of missing power", WANTED, seen)


def _told(events: t.Sequence[t.Dict[str, t.Any]]) -> str:
    # Imported here: on a healthy machine there is no event to date.
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_events import when

    first = events[0]
    what = "Xid %d, auxiliary power is not connected" % POWER_XID if first.get("kind") == "xid" else "its power cables are not connected"
    return "the driver reports: %s (%s in this boot%s)" % (what, "once" if len(events) == 1 else "%d times" % len(events), when(first))


def _seen(events: t.Optional[t.Sequence[t.Dict[str, t.Any]]]) -> t.List[t.Dict[str, t.Any]]:
    if events is None:
        return [evidence("kernel log of this boot", None)]
    return [evidence("kernel log of this boot", known.text(one.get("text")) or one.get("kind")) for one in events] or [
        evidence("kernel log of this boot", "no message of missing power")
    ]
