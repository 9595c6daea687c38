# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel log says of GPUs: Xids and GPUs that fell off the bus. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits

Event = t.Dict[str, t.Any]

LOG = "kernel log of this boot"
READ_LOG = "Read the kernel log as root (journalctl -k -b), and gather facts again."
# Text of evidence: the driver's lines can be long.
SHOWN = 160
FELL_OFF = 79


def events(facts: t.Any, window_seconds: int) -> t.Optional[t.List[Event]]:
    """The events of the kernel log that are not older than `window_seconds`; None when the log was not read. An event without a time counts."""
    listed = known.get(facts, "host", "kernel_events")
    if not isinstance(listed, list):
        return None
    return [one for one in listed if isinstance(one, dict) and (known.number(one.get("seconds_ago")) or 0) <= window_seconds]


def of_gpu(found: t.Sequence[Event], kind: str, subject: str) -> t.List[Event]:
    """The events of one kind about the GPU `subject`; Xid lines name it without its function."""
    return [one for one in found if one.get("kind") == kind and _slot(one.get("bus_address")) == _slot(subject)]


def strangers(facts: t.Any, found: t.Sequence[Event], kind: str) -> t.List[str]:
    """Bus addresses (`host` for none) that events of `kind` name and no listed GPU has, such as one that has left the bus."""
    listed = {_slot(known.subject(device)) for device in known.devices(facts)}
    named = [one.get("bus_address") for one in found if one.get("kind") == kind]
    return sorted({known.text(address) or known.HOST for address in named if _slot(address) not in listed})


def lost_check(device: t.Dict[str, t.Any], found: t.Optional[t.Sequence[Event]]) -> Check:
    """`gpu.lost`: the GPU has not fallen off the bus, by NVML's word and by the kernel log's, which may name no Xid."""
    name, who, wanted = "gpu.lost", known.subject(device), "the GPU stays on the bus"
    where, state = known.source(device, "nvml", "NVML"), device.get("state")
    told = of_gpu(found or [], "lost", who)
    numbers = [one for one in of_gpu(found or [], "xid", who) if code_of(one) == FELL_OFF]
    logged = [evidence(LOG, shown(one)) for one in (numbers or told)[:2]]
    if state == "lost" or (state in ("not_visible", "unknown") and (told or numbers)):
        seen = ([evidence(where, "GPU is lost")] if state == "lost" else []) + logged
        return Check(name, who, FAIL, "GPU is lost: %s has fallen off the bus" % known.model(device), wanted, seen, _lost_remedy())
    if told and not numbers:
        summary = "the GPU has fallen off the bus%s%s" % (when(told[-1]), " and answers again" if state == "ok" else "")
        return Check(name, who, FAIL, summary, wanted, logged, _lost_remedy())
    if state == "no_driver":
        return Check(name, who, SKIPPED, "no driver loaded", wanted)
    uuid = known.text(device.get("uuid"))
    if state == "ok" and uuid:
        return Check(name, who, PASS, "%s answers" % known.model(device), wanted, [evidence(where, uuid)])
    return Check(name, who, SKIPPED, "the driver does not answer for this GPU: gpu.visible tells more", wanted)


def lost_strangers(facts: t.Any, found: t.Sequence[Event]) -> t.List[Check]:
    """`gpu.lost` for addresses that are not on the bus any more. One that the log names with an Xid 79 too is that Xid's (`gpu.xid`)."""
    checks = []
    for who in strangers(facts, found, "lost"):
        if any(code_of(one) == FELL_OFF for one in of_gpu(found, "xid", who)):
            continue
        logged = [one for one in found if one.get("kind") == "lost" and (known.text(one.get("bus_address")) or known.HOST) == who]
        seen = [evidence(LOG, shown(one)) for one in logged[:2]]
        checks.append(Check("gpu.lost", who, FAIL, "a GPU has fallen off the bus%s" % when(logged[-1]), "the GPU stays on the bus", seen, _lost_remedy()))
    return checks


def xid_check(facts: t.Any, who: str, found: t.Optional[t.Sequence[Event]], limits: Limits, failed: t.Collection[str]) -> Check:
    """`gpu.xid` of the GPU at `who`: what the driver reported about it. `failed`: ids of the checks that fail for this GPU."""
    name, wanted = "gpu.xid", "no Xid within %d s that asks for an action" % limits.xid_window_seconds
    if found is None:
        if known.not_loaded(facts):
            return Check(name, who, SKIPPED, "no driver loaded", wanted)
        why = known.text(known.get(facts, "host", "unavailable", "kernel_events"))
        return Check(name, who, UNKNOWN, "the kernel log was not read%s" % (": " + why if why else ""), wanted, [evidence(LOG, None)], READ_LOG)
    reported = [one for one in of_gpu(found, "xid", who) if code_of(one) not in limits.ignored_xids]
    if not reported:
        return Check(name, who, PASS, "no Xid within %d s" % limits.xid_window_seconds, wanted, [evidence(LOG, "no Xid of this GPU")])
    # Imported here: most hosts have no Xid, and are not to compile what it could mean.
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_xids import judge

    return judge(name, who, wanted, reported, failed)


def code_of(event: Event) -> int:
    """The number of an Xid; -1 when the event has none."""
    code = event.get("code")
    if isinstance(code, str) and code.isdigit() and len(code) < 6:
        return int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and code >= 0 else -1


def _slot(address: t.Any) -> str:
    return (known.text(address) or "").lower().partition(".")[0]


def shown(event: Event) -> str:
    """The event as evidence: its line in the log."""
    return (known.text(event.get("text")) or "%s %s" % (event.get("kind"), event.get("code")))[:SHOWN]


def when(event: Event) -> str:
    """`, 5 min ago`, or nothing when the time is not known."""
    seconds = known.number(event.get("seconds_ago"))
    if seconds is None:
        return ""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return ", %d %s ago" % (seconds // size, unit)
    return ", %d s ago" % seconds


def _lost_remedy() -> str:
    return (
        "Read what came before it in the kernel log (journalctl -k -b | grep -e Xid -e NVRM), then power the server off and on; "
        "if it comes back, reseat the card, check its auxiliary power and cooling, and replace it when the fault follows the card."
    )
