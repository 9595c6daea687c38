# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the power supplies carry the GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power_supplies
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.machine import guest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_events import check as check_events
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_policy import HEADROOM_PERCENT, PLATFORM_WATTS, Policy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_redundancy import agreement, redundancy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_supplies import SOURCES, Capacity, as_watts

__all__ = ["HEADROOM_PERCENT", "PLATFORM_WATTS", "SOURCES", "Policy", "budget", "check", "sources_of"]

Sources = t.Sequence[t.Dict[str, t.Any]]
OF_THE_HOST = ("power.budget", "power.worst_case", "power.redundancy", "power.sources_agree")
GUEST = "virtual machine: the power supplies belong to its host, check them there"
READ_CAPACITY = (
    "Read the capacity from the label of the supplies and set supply_watts, supply_count and redundant_supplies, or let bmc_info ask the BMC and pass "
    "what it returns as bmc."
)


def sources_of(facts: t.Any, bmc: t.Any, policy: Policy, *others: t.Optional[t.Dict[str, t.Any]]) -> t.List[t.Dict[str, t.Any]]:
    """Every power source: of the facts (SMBIOS), of `bmc` (what bmc_info returned), of the variables, and `others` that were read now."""
    found: t.List[t.Dict[str, t.Any]] = []
    for listed in (known.get(bmc, "power_sources"), list(others), known.get(facts, "host", "power_sources"), [policy.source]):
        found.extend(one for one in (listed if isinstance(listed, list) else []) if isinstance(one, dict))
    return found


def budget(facts: t.Any, policy: Policy, sources: t.Optional[Sources] = None) -> t.Dict[str, t.Any]:
    """The figures, in watts; a figure is None when a part of it is not known.

    `gpu_watts` is the sum of the enforced power limits (board power of the catalogue where a limit is not readable);
    `reset_watts` is what is required once limits are back at their default, because limits do not survive a reboot; `worst_watts` what is
    required when every GPU has the greatest limit that it accepts; `known_gpu_watts` is the part of `gpu_watts` that is known.
    `capacity` is the Capacity that counts, `capacities` those of all sources.
    """
    rows = [_limit(device) for device in known.devices(facts)]
    counted = known.count(facts)
    complete = counted is not None and counted == len(rows) and all(row["watts"] is not None for row in rows)
    known_gpus = sum(row["watts"] for row in rows if row["watts"] is not None)
    reset = sum(max(row["watts"] or 0, row["default_watts"] or 0) for row in rows)
    worst = sum(max(row["watts"] or 0, row["default_watts"] or 0, row["max_watts"] or 0) for row in rows)
    required = known_gpus + policy.base_watts if complete else None
    capacities = power_supplies.capacities(sources_of(facts, None, policy) if sources is None else sources, policy.redundant_supplies)
    capacity = power_supplies.chosen(capacities, policy.capacity_source)
    return {
        "gpus": rows,
        "known_gpu_watts": known_gpus,
        "gpu_watts": known_gpus if complete else None,
        "platform_watts": policy.base_watts,
        "required_watts": required,
        # Multiplied before divided: 850 W and 15 % are to give 1000 W, not 999.9999.
        "recommended_watts": None if required is None else required * 100.0 / (100.0 - policy.headroom_percent),
        "reset_watts": reset + policy.base_watts if complete else None,
        "worst_watts": worst + policy.base_watts if complete and all(row["max_watts"] for row in rows) else None,
        "usable_watts": capacity.usable if capacity else None,
        "capacity": capacity,
        "capacities": capacities,
    }


def _limit(device: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    enforced, default, greatest = (known.number(known.get(device, "power", name)) or None for name in LIMITS)
    where = "%s enforced power limit" % known.source(device, "nvml", "NVML")
    if enforced is None:
        # Imported here: where the driver tells its limits, no catalogue is needed.
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board

        pci = device.get("pci")
        found = board(pci) if isinstance(pci, dict) else None
        if found and known.number(found["board_power_watts"]):
            enforced, where = float(found["board_power_watts"]), "board catalogue, power of %s" % found["name"]
    return {"bus_address": known.subject(device), "watts": enforced, "default_watts": default, "max_watts": greatest, "source": where}


LIMITS = ("enforced_limit_watts", "default_limit_watts", "max_limit_watts")


def check(facts: t.Any, policy: Policy, sources: t.Optional[Sources] = None) -> t.List[Check]:
    """`power.budget`, `power.worst_case`, `power.redundancy`, `power.sources_agree` of the host and `power.events` of each GPU.

    `sources`: what `sources_of` returned; those of the facts and of the policy when omitted.
    """
    sources = sources_of(facts, None, policy) if sources is None else [one for one in sources if isinstance(one, dict)]
    figures = budget(facts, policy, sources)
    if guest(facts) and not figures["capacities"]:
        return [*(Check(name, known.HOST, SKIPPED, GUEST) for name in OF_THE_HOST), *check_events(facts)]
    return [
        _budget(facts, figures, policy), _worst_case(facts, figures, policy), redundancy(sources, figures, policy),
        agreement(figures["capacities"], figures["capacity"]), *check_events(facts),
    ]  # fmt: skip


def _budget(facts: t.Any, figures: t.Dict[str, t.Any], policy: Policy) -> Check:
    """What GPUs and platform need against what the supplies give without the redundant ones."""
    seen = _evidence(figures, policy)
    capacity: t.Optional[Capacity] = figures["capacity"]
    usable, required, recommended = (figures[key] for key in ("usable_watts", "required_watts", "recommended_watts"))
    if known.count(facts) == 0:
        return Check("power.budget", known.HOST, SKIPPED, "no GPU: nothing to add up", "", seen)
    if required is None:
        return _incomplete(facts, figures, policy, seen)
    domain = next((one.gpu_domain for one in figures["capacities"] if one.gpu_domain is not None), None)
    gpus = figures["gpu_watts"]
    needs = "%s required, %s recommended (%g %% headroom)" % (as_watts(required), as_watts(recommended), policy.headroom_percent)
    wanted = "at least %s, better %s" % (as_watts(required), as_watts(recommended))
    if usable is None or capacity is None:
        status, summary = UNKNOWN, "%s; the capacity of the power supplies is not known" % needs
        remedy = READ_CAPACITY
    elif usable < required and not capacity.complete:
        status, summary = UNKNOWN, "%s, %s usable without the supplies that do not tell their capacity" % (needs, as_watts(usable))
        remedy = READ_CAPACITY
    elif usable < required:
        status, summary = FAIL, "%s, %s usable" % (needs, as_watts(usable))
        remedy = "Fit larger or more supplies, take out a GPU, or lower the GPUs' power limits by %s in total." % as_watts(required - usable)
    elif domain is not None and domain < gpus:
        status, summary = FAIL, "%s, %s usable, but the supplies for GPUs give %s of the %s that the GPUs may take" % (
            needs, as_watts(usable), as_watts(domain), as_watts(gpus),
        )  # fmt: skip
        remedy = "Fit larger or more supplies in the bays for GPUs, or lower the GPUs' power limits by %s in total." % as_watts(gpus - domain)
    elif usable < recommended:
        status, summary = WARN, "%s, %s usable" % (needs, as_watts(usable))
        remedy = "Fit supplies with %s in total, or accept the smaller reserve with headroom_percent." % as_watts(recommended)
    else:
        doubts = capacity.doubts + _doubts(facts, policy)
        status, summary, remedy = (WARN if doubts else PASS), "; ".join(["%s, %s usable" % (needs, as_watts(usable)), *doubts]), ""
        if doubts:
            remedy = "Confirm what cannot be read: the supplies with supply_watts and supply_count, the processors with processor_watts."
    return Check("power.budget", known.HOST, status, summary, wanted, seen, remedy)


def _doubts(facts: t.Any, policy: Policy) -> t.List[str]:
    """A platform figure that does not even cover the processors, whose limits the kernel knows."""
    limit = known.number(known.get(facts, "host", "processor_limit_watts"))
    if policy.processor_watts is not None or not limit or limit <= policy.platform_watts:
        return []
    return ["the processors alone may take %s of the %s counted for the platform" % (as_watts(limit), as_watts(policy.platform_watts))]


def _worst_case(facts: t.Any, figures: t.Dict[str, t.Any], policy: Policy) -> Check:
    """What is required when no limit is lowered, and when every limit is raised as far as the GPU accepts."""
    usable, reset, worst, required = (figures[key] for key in ("usable_watts", "reset_watts", "worst_watts", "required_watts"))
    limits = [tuple(_shown(row[key]) for key in ("bus_address", "watts", "default_watts", "max_watts")) for row in figures["gpus"]]
    seen = [evidence("power limits of %s" % row[0], "enforced %s, default %s, max %s" % row[1:]) for row in limits] + [_supplies(figures)]
    wanted = "enough for every GPU at the greatest limit that it accepts"
    if known.count(facts) == 0:
        return Check("power.worst_case", known.HOST, SKIPPED, "no GPU: nothing to add up", "", seen)
    if policy.power_limits_persist and required is not None:
        return Check("power.worst_case", known.HOST, SKIPPED, "the power limits are set again at every boot, as power_limits_persist says", "", seen)
    if worst is None and known.not_loaded(facts):
        return Check("power.worst_case", known.HOST, SKIPPED, "no driver is loaded, so no GPU tells the limits that it accepts", wanted, seen)
    if worst is None or usable is None:
        what = "the capacity of the power supplies" if worst is not None else "the greatest power limit of every GPU"
        remedy = READ_CAPACITY if worst is not None else _limits_remedy(facts)
        return Check("power.worst_case", known.HOST, UNKNOWN, "%s is not known" % what, wanted, seen, remedy)
    if usable < reset:
        summary = "%s usable, %s needed as soon as the lowered power limits are gone, as after a reboot" % (as_watts(usable), as_watts(reset))
        remedy = "Make the lowered power limits last over a reboot and set power_limits_persist, or fit larger supplies."
        return Check("power.worst_case", known.HOST, WARN, summary, wanted, seen, remedy)
    if usable < worst:
        summary = "%s usable, %s needed when every power limit is raised to its maximum" % (as_watts(usable), as_watts(worst))
        return Check("power.worst_case", known.HOST, WARN, summary, wanted, seen, "Leave the power limits at or below their defaults, or fit larger supplies.")
    return Check("power.worst_case", known.HOST, PASS, "%s usable, at most %s needed" % (as_watts(usable), as_watts(worst)), wanted, seen)


def _evidence(figures: t.Dict[str, t.Any], policy: Policy) -> t.List[t.Dict[str, t.Any]]:
    seen = [evidence("%s of %s" % (row["source"], row["bus_address"]), None if row["watts"] is None else as_watts(row["watts"])) for row in figures["gpus"]]
    seen.append(evidence("platform_watts", as_watts(policy.platform_watts)))
    if policy.processor_watts is not None:
        seen.append(evidence("processor_watts", as_watts(policy.processor_watts)))
    return seen + [_supplies(figures)]


def _supplies(figures: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    capacity = figures["capacity"]
    return evidence("supply_watts", None) if capacity is None else evidence(capacity.where, capacity.text)


def _incomplete(facts: t.Any, figures: t.Dict[str, t.Any], policy: Policy, seen: t.List[t.Dict[str, t.Any]]) -> Check:
    least = figures["known_gpu_watts"] + policy.base_watts
    wanted = "at least what all GPUs and the platform need"
    missing = [row["bus_address"] for row in figures["gpus"] if row["watts"] is None]
    who = "of %s" % ", ".join(missing) if missing else "of the host's GPUs"
    capacity = figures["capacity"]
    if capacity is not None and capacity.complete and capacity.usable < least:
        remedy = "Fit larger or more supplies, or take out a GPU."
        summary = "%s required even without counting the power %s, %s usable" % (as_watts(least), who, as_watts(capacity.usable))
        return Check("power.budget", known.HOST, FAIL, summary, wanted, seen, remedy)
    return Check("power.budget", known.HOST, UNKNOWN, "the power limit %s is not known" % who, wanted, seen, _limits_remedy(facts))


def _limits_remedy(facts: t.Any) -> str:
    """What makes every GPU tell its power limits."""
    lost = [known.subject(device) for device in known.devices(facts) if device.get("state") == "lost"]
    if lost:
        return "Bring %s back first (gpu.lost tells how), then gather facts and check again." % ", ".join(lost)
    if known.loaded(facts) is not None:
        return "See gpu.visible: a GPU that answers the driver tells its power limits; then gather facts and check again."
    return "Load the driver so that it tells the power limits, then gather facts and check again."


def _shown(value: t.Any) -> str:
    return value if isinstance(value, str) else "unknown" if value is None else as_watts(value)
