# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do the power supplies carry the GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, PolicyError, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board

# What a server takes that is not a GPU (processors, memory, disks, fans), and the reserve on top: policy, not a standard.
PLATFORM_WATTS = 350.0
HEADROOM_PERCENT = 15.0


class Policy:
    """What the user says about the power supplies. Watts; raises PolicyError for values that make no sense."""

    def __init__(
        self,
        supply_watts: t.Optional[float] = None,
        supply_count: int = 1,
        redundant_supplies: int = 0,
        platform_watts: float = PLATFORM_WATTS,
        headroom_percent: float = HEADROOM_PERCENT,
    ):
        _require(supply_watts is None or (math.isfinite(supply_watts) and supply_watts > 0), "supply_watts", supply_watts, "greater than 0")
        _require(supply_count >= 1, "supply_count", supply_count, "1 or more")
        _require(0 <= redundant_supplies < supply_count, "redundant_supplies", redundant_supplies, "0 or more and less than supply_count (%s)" % supply_count)
        _require(math.isfinite(platform_watts) and platform_watts >= 0, "platform_watts", platform_watts, "0 or more")
        _require(0 <= headroom_percent < 100, "headroom_percent", headroom_percent, "0 or more and less than 100")
        self.supply_watts = supply_watts
        self.supply_count = supply_count
        self.redundant_supplies = redundant_supplies
        self.platform_watts = platform_watts
        self.headroom_percent = headroom_percent

    @property
    def usable_watts(self) -> t.Optional[float]:
        """Capacity that is left when the redundant supplies have failed, or None without a capacity."""
        return None if self.supply_watts is None else self.supply_watts * (self.supply_count - self.redundant_supplies)


def _require(holds: bool, option: str, value: t.Any, wanted: str) -> None:
    if not holds:
        raise PolicyError("%s is %s: it must be %s" % (option, value, wanted), option=option)


def budget(facts: t.Any, policy: Policy) -> t.Dict[str, t.Any]:
    """The figures, in watts; a figure is None when a part of it is not known.

    `gpu_watts` is the sum of the enforced power limits (board power of the catalogue where a limit is not readable);
    `reset_watts` is what is required once limits are back at their default, because limits do not survive a reboot;
    `known_gpu_watts` is the part of `gpu_watts` that is known.
    """
    rows = [_limit(device) for device in known.devices(facts)]
    counted = known.count(facts)
    complete = counted is not None and counted == len(rows) and all(row["watts"] is not None for row in rows)
    known_gpus = sum(row["watts"] for row in rows if row["watts"] is not None)
    reset = sum(max(row["watts"] or 0, row["default_watts"] or 0) for row in rows)
    required = known_gpus + policy.platform_watts if complete else None
    return {
        "gpus": rows,
        "known_gpu_watts": known_gpus,
        "gpu_watts": known_gpus if complete else None,
        "platform_watts": policy.platform_watts,
        "required_watts": required,
        # Multiplied before divided: 850 W and 15 % are to give 1000 W, not 999.9999.
        "recommended_watts": None if required is None else required * 100.0 / (100.0 - policy.headroom_percent),
        "reset_watts": reset + policy.platform_watts if complete else None,
        "usable_watts": policy.usable_watts,
    }


def _limit(device: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    enforced = known.number(known.get(device, "power", "enforced_limit_watts")) or None
    default = known.number(known.get(device, "power", "default_limit_watts")) or None
    where = "%s enforced power limit" % known.source(device, "nvml", "NVML")
    if enforced is None:
        pci = device.get("pci")
        found = board(pci) if isinstance(pci, dict) else None
        if found and known.number(found["board_power_watts"]):
            enforced, where = float(found["board_power_watts"]), "board catalogue, power of %s" % found["name"]
    return {"bus_address": known.subject(device), "watts": enforced, "default_watts": default, "source": where}


def check(facts: t.Any, policy: Policy) -> t.List[Check]:
    """`power.budget`: what GPUs and platform need against what the supplies give without the redundant ones."""
    figures = budget(facts, policy)
    seen = _evidence(figures, policy)
    usable, required, recommended, reset = (figures[key] for key in ("usable_watts", "required_watts", "recommended_watts", "reset_watts"))
    if known.count(facts) == 0:
        return [Check("power.budget", known.HOST, SKIPPED, "no GPU: nothing to add up", "", seen)]
    if required is None:
        return [_incomplete(figures, policy, seen)]
    needs = "%s required, %s recommended (%g %% headroom)" % (_watts(required), _watts(recommended), policy.headroom_percent)
    wanted = "at least %s, better %s" % (_watts(required), _watts(recommended))
    if usable is None:
        status, summary = UNKNOWN, "%s; the capacity of the power supplies is not known" % needs
        remedy = "Read the capacity from the label of the supplies and set supply_watts, supply_count and redundant_supplies."
    elif usable < required:
        status, summary = FAIL, "%s, %s usable" % (needs, _watts(usable))
        remedy = "Fit larger or more supplies, take out a GPU, or lower the GPUs' power limits by %s in total." % _watts(required - usable)
    elif usable < reset:
        status, summary = WARN, "%s, %s usable: enough only while the GPUs' limits stay lowered" % (needs, _watts(usable))
        remedy = "Make the lowered power limits last over a reboot, or fit larger supplies: with default limits the host needs %s." % _watts(reset)
    elif usable < recommended:
        status, summary = WARN, "%s, %s usable" % (needs, _watts(usable))
        remedy = "Fit supplies with %s in total, or accept the smaller reserve with headroom_percent." % _watts(recommended)
    else:
        status, summary, remedy = PASS, "%s, %s usable" % (needs, _watts(usable)), ""
    return [Check("power.budget", known.HOST, status, summary, wanted, seen, remedy)]


def _evidence(figures: t.Dict[str, t.Any], policy: Policy) -> t.List[t.Dict[str, t.Any]]:
    seen = [evidence("%s of %s" % (row["source"], row["bus_address"]), None if row["watts"] is None else _watts(row["watts"])) for row in figures["gpus"]]
    seen.append(evidence("platform_watts", _watts(policy.platform_watts)))
    supplies = None
    if policy.supply_watts is not None:
        spare = " (%d redundant)" % policy.redundant_supplies if policy.redundant_supplies else ""
        supplies = "%d x %s%s = %s usable" % (policy.supply_count, _watts(policy.supply_watts), spare, _watts(figures["usable_watts"]))
    seen.append(evidence("supply_watts", supplies))
    return seen


def _incomplete(figures: t.Dict[str, t.Any], policy: Policy, seen: t.List[t.Dict[str, t.Any]]) -> Check:
    least = figures["known_gpu_watts"] + policy.platform_watts
    wanted = "at least what all GPUs and the platform need"
    missing = [row["bus_address"] for row in figures["gpus"] if row["watts"] is None]
    who = "of %s" % ", ".join(missing) if missing else "of the host's GPUs"
    if figures["usable_watts"] is not None and figures["usable_watts"] < least:
        remedy = "Fit larger or more supplies, or take out a GPU."
        summary = "%s required even without counting the power %s, %s usable" % (_watts(least), who, _watts(figures["usable_watts"]))
        return Check("power.budget", known.HOST, FAIL, summary, wanted, seen, remedy)
    remedy = "Load the driver so that it tells the power limits, then gather facts and check again."
    return Check("power.budget", known.HOST, UNKNOWN, "the power limit %s is not known" % who, wanted, seen, remedy)


def _watts(value: float) -> str:
    return "%s W" % ("%.1f" % value).replace(".0", "")
