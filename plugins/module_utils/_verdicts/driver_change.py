# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan that changes the packages of the driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_blockers import unmanaged
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import Policy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import NoDriverError, State
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_steps import activation, steps
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_target import Target, branch_of


def change(state: State, policy: Policy, target: Target, keep: t.Optional[str], why: t.Sequence[str]) -> t.Dict[str, t.Any]:
    """What the plan says of bringing the host to `target` because of `why`; `keep`: the version that is only to be made whole.

    Raises NoDriverError where no package may be installed, whatever the driver.
    """
    blockers = unmanaged(state.facts)
    if blockers:
        raise NoDriverError(*blockers)
    same = target.version is not None and target.version == state.loaded and state.flavor in (None, target.flavor)
    how, users = ("none", []) if same and not state.nouveau else activation(state)
    reasons = list(why) + target.reasons + users
    if state.secure_boot is True and target.selection is None:
        reasons.append("Secure Boot is on: only a kernel module signed with an enrolled key loads; the distribution's prebuilt module is signed")
    action = _action(state, policy, target, keep)
    what = "driver %s with the %s kernel modules for kernel %s" % (
        target.version or "R%d" % target.branch, target.flavor, " and ".join(state.kernels) or "(running)",
    )  # fmt: skip
    if action == "reinstall":
        step = "install %s again" % what
    else:
        step = "install %s" % what if state.current is None else "replace %s by %s" % (state.current, what)
    found: t.Dict[str, t.Any] = {
        "action": action, "branch": target.branch, "flavor": target.flavor, "activation": how, "reasons": reasons, "steps": steps(state, how, step),
    }  # fmt: skip
    if target.selection is not None:
        found.update(_packages(state, policy, target))
    return found


def _packages(state: State, policy: Policy, target: Target) -> t.Dict[str, t.Any]:
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_leftovers import leftovers

    chosen = t.cast("t.Any", target.selection)
    avoided = sorted(t.cast("t.Any", policy.package_source).transitional)
    shown = ", ".join(avoided[:4]) + (" and %d more" % (len(avoided) - 4) if len(avoided) > 4 else "")
    return {
        "version": target.version, "packages": chosen.packages, "headers": chosen.headers, "source": chosen.source, "module_source": chosen.module_source,
        "stream": chosen.stream, "remove": leftovers(state.packages, chosen, target.branch, target.flavor),
        "warnings": ["not taken, because they bring another branch than their name says: %s" % shown] if avoided else [],
    }  # fmt: skip


def _action(state: State, policy: Policy, target: Target, keep: t.Optional[str]) -> str:
    current = known.version(state.current)
    if keep is not None and (target.version or keep) == keep and target.branch == branch_of(keep):
        return "reinstall"
    if current is None:
        return "install"
    aim = known.version(target.version) or policy.version or (target.branch,)
    if aim != current[: len(aim)]:
        return "upgrade" if aim > current[: len(aim)] else "downgrade"
    # Within a branch: another flavour is installed anew, the same flavour can only be too old.
    return "install" if state.flavor not in (None, target.flavor) else "upgrade"
