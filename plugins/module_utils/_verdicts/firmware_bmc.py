# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.bmc_setting`: what the management controller says is set, against what is seen. Private to gpuops.fleet: the names may change."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_above_4g import proof
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import DISABLED, PASSTHROUGH, Policy, remedy

NAME = "firmware.bmc_setting"
ON = re.compile(r"(enabled?|on|true|yes|1|l0s.*|l1.*|aspml1enabled)\Z", re.IGNORECASE)
OFF = re.compile(r"(disabled?|off|false|no|none|0)\Z", re.IGNORECASE)
CHECKS = {"above_4g": "firmware.above_4g", "aspm": "firmware.aspm", "sriov": "firmware.sriov", "resizable_bar": "firmware.resizable_bar"}
READ = "Read the BIOS attributes of the server's BMC (Redfish Systems, Bios) and pass what it names."


def check(facts: t.Any, policy: Policy, checks: t.Sequence[Check]) -> t.List[Check]:
    """One answer for each setting that concerns GPUs. `checks`: the other firmware checks, which are the evidence. No BMC asked: none."""
    if policy.bmc_settings is None:
        return []
    known_ones = {str(name): one for name, one in policy.bmc_settings.items() if one.get("canonical") in CHECKS}
    if not known_ones:
        summary = "the BMC names no setting that concerns GPUs"
        return [Check(NAME, known.HOST, UNKNOWN, summary, "", [evidence("BMC", "%d attributes" % len(policy.bmc_settings))], READ)]
    return [_setting(name, known_ones[name], facts, policy, checks) for name in sorted(known_ones)]


def _setting(name: str, setting: t.Dict[str, t.Any], facts: t.Any, policy: Policy, checks: t.Sequence[Check]) -> Check:
    about = setting["canonical"]
    wanted = _wanted(about, policy, checks)
    expected = "" if wanted is None else "%s %s" % (name, "on" if wanted else "off")
    value, pending = setting.get("value"), setting.get("pending")
    seen = [evidence("BMC attribute %s" % name, None if value is None else str(value))]
    if pending is not None and str(pending) != str(value):
        seen.append(evidence("BMC attribute %s after the next boot" % name, str(pending)))
        good = wanted is None or state(pending) == wanted
        text = "Restart the server, so that it takes effect." if good else "Take the pending change back, or set it as expected."
        return Check(NAME, name, WARN, "%s is %s and becomes %s at the next boot" % (name, value, pending), expected, seen, text)
    if wanted is None:
        return Check(NAME, name, SKIPPED, "%s is %s; nothing here asks for it" % (name, value), "", seen)
    found = _found(about, facts, checks)
    seen.extend(evidence(CHECKS[about], "%s %s: %s" % (one.status, one.subject, one.summary)) for one in checks if one.id == CHECKS[about])
    is_on = state(value)
    if found:
        if is_on is None or is_on == wanted or about == "aspm":
            # ASPM that is allowed is not yet ASPM that is on: a global switch stands beside those of the slots.
            return Check(NAME, name, PASS, "%s is %s, and the hardware shows what is expected" % (name, value), expected, seen)
        return Check(NAME, name, WARN, "%s is %s, but the hardware shows the opposite" % (name, value), expected, seen,
                     "Another setting decides, or the BMC shows an old state: compare with firmware setup.")  # fmt: skip
    if is_on is None:
        return Check(NAME, name, UNKNOWN, "what %s = %s means is not known, and no hardware shows it" % (name, value), expected, seen, READ)
    if is_on != wanted:
        return Check(NAME, name, FAIL, "%s is %s" % (name, value), expected, seen, remedy(facts, about))
    if found is False:
        return Check(NAME, name, WARN, "%s is %s, but the hardware shows the opposite" % (name, value), expected, seen,
                     "Restart the server; when it stays so, another setting decides or the window is too small.")  # fmt: skip
    return Check(NAME, name, PASS, "%s is %s" % (name, value), expected, seen)


def state(value: t.Any) -> t.Optional[bool]:
    """Whether a value of a BIOS attribute means on or off; None for Auto and for what says neither."""
    text = "" if value is None else str(value).strip()
    if ON.match(text):
        return True
    return False if OFF.match(text) else None


def _wanted(about: str, policy: Policy, checks: t.Sequence[Check]) -> t.Optional[bool]:
    if about == "above_4g":
        return True
    if about == "aspm":
        return False if policy.aspm_expected == DISABLED else None
    if about == "sriov":
        return True if policy.platform_role == PASSTHROUGH else None
    return True if any(one.id == CHECKS[about] and one.status != SKIPPED for one in checks) else None


def _found(about: str, facts: t.Any, checks: t.Sequence[Check]) -> t.Optional[bool]:
    """Whether the hardware shows what is wanted: True, False, or None when nothing can be seen."""
    statuses = {one.status for one in checks if one.id == CHECKS[about]}
    if about == "above_4g" and PASS in statuses and not proof(facts):
        statuses.discard(PASS)  # cards that need no high addresses prove nothing
    if statuses & {FAIL, WARN}:
        return False
    return True if statuses and statuses <= {PASS, SKIPPED} and PASS in statuses else None
