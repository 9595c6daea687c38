# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do all power supplies work, may one fail, and do all sources say the same. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power_supplies
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_policy import Policy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_supplies import BROKEN, VARIABLES, Capacity, as_watts, label

ID = "power.redundancy"
DEGRADED = ("Critical", "Warning")


def redundancy(sources: t.Sequence[t.Dict[str, t.Any]], figures: t.Dict[str, t.Any], policy: Policy) -> Check:
    """`power.redundancy`: no supply that is there has failed, and as many may fail as the user or the BMC says."""
    observed = [one for one in sources if one.get("source") in power_supplies.SOURCES and one.get("source") != VARIABLES and power_supplies.present(one)]
    observed.sort(key=lambda one: power_supplies.SOURCES.index(one["source"]))
    # The most trusted source that tells states; IPMI without a sensor, for example, tells none.
    source = next((one for one in observed if any(supply.get("state") in ("ok", *BROKEN) for supply in power_supplies.present(one))), None)
    declared = policy.redundant_supplies
    if source is None:
        if not declared:
            return Check(ID, known.HOST, SKIPPED, "no source tells the state of power supplies, and no redundant one is declared")
        wanted = "%d power supplies may fail" % declared
        remedy = "Let bmc_info ask the BMC and pass what it returns as bmc, or look at the lights of the supplies."
        return Check(
            ID, known.HOST, UNKNOWN, "no source tells whether the power supplies work", wanted, [evidence("state of the power supplies", None)], remedy
        )
    there = power_supplies.present(source)
    where = known.text(source.get("where")) or power_supplies.NAMES[source["source"]]
    seen = [evidence("%s, %s" % (where, label(one)), one.get("state")) for one in there]
    broken = ["%s (%s)" % (label(one), one.get("state")) for one in there if one.get("state") in BROKEN]
    wanted = "every power supply that is fitted works%s" % (", and %d of them may fail" % declared if declared else "")
    if broken:
        remedy = "Plug in or exchange the supply, and look into the BMC's event log for the cause."
        return Check(ID, known.HOST, FAIL, "%d of %d power supplies do not work: %s" % (len(broken), len(there), ", ".join(broken)), wanted, seen, remedy)
    if declared is not None and declared >= len(there):
        summary = "%d redundant power supplies are declared, %d are fitted" % (declared, len(there))
        return Check(ID, known.HOST, FAIL, summary, wanted, seen, "Fit the missing supplies, or correct redundant_supplies.")
    lost = [row for row in power_supplies.rows(source, "redundancy") if row.get("state") in DEGRADED]
    if lost:
        summary = "the BMC reports %s for %s" % (lost[0].get("state"), known.text(lost[0].get("name")) or "a redundancy group")
        return Check(ID, known.HOST, WARN, summary, wanted, seen, "Look into the BMC's event log, and for supplies of different capacity.")
    unknown = [label(one) for one in there if one.get("state") not in ("ok", *BROKEN)]
    if unknown:
        remedy = "Look at the lights of these supplies, or let bmc_info ask the BMC and pass what it returns as bmc."
        return Check(ID, known.HOST, UNKNOWN, "the state of %s is not known" % ", ".join(unknown), wanted, seen, remedy)
    spare = declared if declared is not None else sum(lost_ones for _name, _members, lost_ones in power_supplies.groups(source))
    if spare or declared is not None or len(there) == 1:
        summary = "%d of %d power supplies work, %s redundant" % (len(there), len(there), spare or "none")
        return Check(ID, known.HOST, PASS, summary, wanted, seen)
    # Several supplies, and nobody says whether one may fail: the figures tell.
    required = figures["required_watts"]
    left = sum(sorted(power_supplies.watts(one) for one in there)[:-1])
    if required is None or left < required:
        need = "" if required is None else ", and without one %s are left of the %s required" % (as_watts(left), as_watts(required))
        remedy = "Set redundant_supplies: 0 when none is meant to be redundant, else the number that may fail."
        return Check(ID, known.HOST, WARN, "nothing says that a power supply may fail%s" % need, wanted, seen, remedy)
    summary = "%d of %d power supplies work, and without one %s are left" % (len(there), len(there), as_watts(left))
    return Check(ID, known.HOST, PASS, summary, wanted, seen)


def agreement(capacities: t.Sequence[Capacity], counted: t.Optional[Capacity]) -> Check:
    """`power.sources_agree`: all sources tell the same usable power, within 5 %."""
    seen = [evidence(one.where, one.text) for one in capacities]
    if len(capacities) < 2 or counted is None:
        what = "only one source tells" if capacities else "no source tells"
        return Check("power.sources_agree", known.HOST, SKIPPED, "%s the capacity of the power supplies: nothing to compare" % what, "", seen)
    wanted = "every source tells the same usable power, within %g %%" % (power_supplies.TOLERANCE * 100)
    odd = [one for one in capacities if not power_supplies.agree(one, counted)]
    if not odd:
        return Check("power.sources_agree", known.HOST, PASS, "%d sources tell %s usable" % (len(capacities), as_watts(counted.usable or 0)), wanted, seen)
    others = ", ".join("%s %s" % (power_supplies.NAMES[one.name], as_watts(one.usable or 0)) for one in odd)
    summary = "%s tells %s usable and is counted with, but %s" % (power_supplies.NAMES[counted.name], as_watts(counted.usable or 0), others)
    remedy = "Read the labels of the supplies, correct supply_watts, supply_count and redundant_supplies, or name the right one in capacity_source."
    return Check("power.sources_agree", known.HOST, WARN, summary, wanted, seen, remedy)
