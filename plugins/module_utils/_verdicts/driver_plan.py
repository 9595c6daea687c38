# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a host need another driver, which one, and what does the change take. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import AUTO, Policy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import NoDriverError, State

CHANGES = ("install", "upgrade", "downgrade", "reinstall")


def plan(facts: t.Any, policy: Policy) -> t.Dict[str, t.Any]:
    """The driver plan for a host, with the keys that docs/architecture.md names under "Plan"."""
    state = State(facts)
    result: t.Dict[str, t.Any] = {
        "action": "impossible", "reasons": [], "steps": [], "blockers": [], "warnings": [], "branch": None, "flavor": None, "version": policy.version_text,
        "current_version": state.current, "activation": "none", "needs_reboot": False, "packages": [], "headers": [], "remove": [], "source": None,
        "module_source": None, "stream": None, "kernels": state.kernels, "features": [],
    }  # fmt: skip
    try:
        Planner(state, policy, result).decide()
    except NoDriverError as refusal:
        result.update(action="impossible", branch=None, flavor=None, activation="none", steps=[], blockers=refusal.blockers)
        result.update(packages=[], headers=[], remove=[], source=None, module_source=None, stream=None)
    result["needs_reboot"] = result["activation"] == "reboot"
    if known.count(facts):
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_warnings import warnings

        result["warnings"].extend(warnings(state, result["branch"], policy.date, result["action"] in CHANGES))
    return result


def summary(decided: t.Dict[str, t.Any]) -> str:
    """A plan in one line."""
    aim = decided["action"]
    if aim in CHANGES:
        aim += " %s (%s kernel modules)" % (decided["version"] or "R%s" % decided["branch"], decided["flavor"])
    return "%s: %s" % (aim, "; ".join(decided["blockers"] or decided["reasons"]))


def check(decided: t.Dict[str, t.Any]) -> Check:
    """`driver.plan`: whether the host has the driver that it is to have."""
    wanted = "the driver that facts and policy ask for"
    impossible = decided["action"] == "impossible"
    seen = [evidence("facts: driver", decided["current_version"] or (None if impossible else "no driver"))]
    seen.extend(evidence("warning", line) for line in decided["warnings"])
    if impossible:
        remedy = "Change what is asked of the driver (branch, version, flavour, features, package source), or the hardware that no such driver supports."
        return Check("driver.plan", known.HOST, FAIL, "no driver can be chosen: %s" % "; ".join(decided["blockers"]), wanted, seen, remedy)
    if decided["action"] != "none":
        remedy = "Run the driver stage of gpuops.fleet.site, which carries this out: %s." % "; ".join(decided["steps"])
        return Check("driver.plan", known.HOST, WARN, summary(decided), wanted, seen, remedy)
    return Check("driver.plan", known.HOST, SKIPPED if decided["branch"] is None else PASS, "; ".join(decided["reasons"]), wanted, seen)


class Planner:
    """One decision. `result` is filled as it goes."""

    def __init__(self, state: State, policy: Policy, result: t.Dict[str, t.Any]):
        self.state, self.policy, self.result = state, policy, result
        self.reasons: t.List[str] = result["reasons"]
        self.devices = known.devices(state.facts)
        self.floor, self.floor_text = policy.floor, policy.floor_text
        self.cards: t.List[branches.Card] = []

    def decide(self) -> None:
        """Fill the result or raise NoDriverError."""
        state, count = self.state, known.count(self.state.facts)
        if count is None:
            raise NoDriverError("the GPUs of the host are not known: gather facts with gpuops.fleet.gpu_facts on the host and pass all of them")
        if count == 0:
            self.reasons.append("no NVIDIA GPU on the PCI bus: no driver is needed")
            self.result["action"] = "none"
            return
        self._demands()
        if state.loaded is None and not known.not_loaded(state.facts):
            raise NoDriverError("the version of the loaded driver is not known: gather facts with gpuops.fleet.gpu_facts on the host and pass all of them")
        limits = self._limits()
        self.cards = [branches.card(device, limits) for device in self.devices]
        for device in self.devices:
            if device.get("state") == "lost":
                self.reasons.append("%s is lost: no driver change brings it back" % known.subject(device))
        if state.loaded is not None:
            self._loaded(state.loaded)
        else:
            self._not_loaded()

    def _limits(self) -> t.Optional[t.Any]:
        """What the user or the driver's own list says of the boards, where there is any of it."""
        found = known.get(self.state.facts, "driver", "supported_gpus")
        if self.policy.limits is not None or not isinstance(known.get(found, "chips"), list):
            return self.policy.limits
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.board_limits import Limits

        return Limits({}, found)

    def _demands(self) -> None:
        """Raise the floor to what wanted CUDA version and features need, or refuse what this hardware cannot have."""
        if self.policy.features:
            from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_features import judge

            self.result["features"], (floor, text), refused = judge(self.policy, self.devices, self.state.current)
            if refused:
                raise NoDriverError(*refused)
            if floor > self.floor:
                self.floor, self.floor_text = floor, text

    def _loaded(self, loaded: str) -> None:
        state = self.state
        disk, library = state.disk, state.library
        if disk is not None and disk != loaded and library == disk and not self._complaints(disk, state.flavor_on_disk(state.kernel)):
            reason = "%s is loaded, %s is installed" % (loaded, disk)
            missing = state.next_boot(disk, self.cards)
            if missing is None:
                self._pending(reason, disk)
            else:
                self._change([reason, missing], disk)
            return
        complaints = self._complaints(loaded, state.flavor)
        if complaints:
            self._change(complaints, None)
        elif disk is None and state.modules_known:
            self._change(
                ["no kernel module on disk for the running kernel %s: the driver is gone after the next boot" % state.kernel] + state.build(state.kernel),
                loaded,
            )
        elif disk is not None and disk != loaded:
            self._change(["half installed: %s loaded, %s on disk, library %s" % (loaded, disk, library or "missing")], disk)
        elif library is None:
            self._change(["the driver library libnvidia-ml.so.1 is missing or not readable"], loaded)
        elif library != loaded:
            self._change(["half installed: %s loaded and on disk, library %s" % (loaded, library)], library)
        else:
            self._whole(loaded)

    def _not_loaded(self) -> None:
        state = self.state
        disk = state.disk
        if disk is not None:
            complaints = self._complaints(disk, state.flavor)
            unusable = state.unusable(state.kernel)
            if complaints:
                self._change(complaints, None)
            elif state.library is None or state.library != disk:
                self._change(["half installed: %s on disk, library %s" % (disk, state.library or "missing")], state.library)
            elif unusable:
                self._change([unusable], disk)
            else:
                reason = "%s is installed and not loaded" % disk
                missing = state.next_boot(disk, self.cards)
                if missing is None:
                    self._pending(reason, disk)
                else:
                    self._change([reason, missing], disk)
            return
        if state.modules:
            newest = max(state.modules, key=lambda kernel: (known.version(state.modules[kernel]) or (), kernel))
            reason = "no kernel module for the running kernel %s, only for %s" % (state.kernel, ", ".join(sorted(state.modules)))
            self._change([reason] + state.build(state.kernel), known.text(state.modules[newest]))
        elif state.library and state.build(state.kernel):
            self._change(["the driver's kernel module was never built"] + state.build(state.kernel), state.library)
        else:
            self._change(["no NVIDIA driver is installed"], None)

    def _complaints(self, version: str, flavor: t.Optional[str]) -> t.List[str]:
        """Why `version` in `flavor` (None: not known) is not what facts and policy ask for."""
        number = t.cast("t.Tuple[int, ...]", known.version(version))
        policy, found = self.policy, []
        if number < self.floor:
            found.append("%s is older than %s" % (version, self.floor_text))
        if policy.version is not None and number != policy.version:
            found.append("%s is not the pinned version %s" % (version, policy.version_text))
        elif policy.branch is not None and number[0] != policy.branch:
            found.append("%s is not of the pinned branch R%d" % (version, policy.branch))
        found.extend(branches.refusals(self.cards, number[0], flavor))
        if flavor is not None and policy.flavor not in (AUTO, flavor):
            found.append("the %s kernel modules are installed, the %s ones are asked for" % (flavor, policy.flavor))
        return found

    def _whole(self, version: str) -> None:
        """What is loaded does and is whole: look at the next boot, and for something newer where that is asked for."""
        branch = _branch_of(version)
        missing = self.state.next_boot(version, self.cards)
        if missing is not None:
            self._change([missing], version)
            return
        if self.policy.latest_supported:
            best = self._target(None)
            number = t.cast("t.Tuple[int, ...]", known.version(version))
            if best.branch > branch or (known.version(best.version) or ()) > number:
                self._change(["%s is not the latest driver that supports every GPU: that is %s" % (version, best.version or "R%d" % best.branch)], None)
                return
        self.reasons.append("%s meets %s and supports every GPU" % (version, self.floor_text))
        if self.state.disk is None:
            self.reasons.append("which version is on disk is not known")
        if not branches.maintained(branch, self.policy.date):
            self.reasons.append(branches.maintenance(branch, self.policy.date))
        for device, card in zip(self.devices, self.cards):
            if device.get("state") == "not_visible":
                self.reasons.append("the driver does not see %s, and its version is not why" % card.name)
        self.result.update(action="none", branch=branch, flavor=self.state.flavor)

    def _pending(self, reason: str, version: str) -> None:
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_steps import activation, steps

        how, users = activation(self.state)
        self.reasons.extend([reason] + users)
        self.result.update(action="reboot" if how == "reboot" else "reload", activation=how, branch=_branch_of(version), steps=steps(self.state, how))
        self.result["flavor"] = self.state.flavor_on_disk(self.state.kernel) or self.state.flavor

    def _change(self, why: t.List[str], keep: t.Optional[str]) -> None:
        """Install a driver because of `why`; the version `keep` again when that one does, else the best branch."""
        # Most hosts need no change and do not pay for compiling how one is chosen.
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_change import change

        self.reasons.extend(why)
        found = change(self.state, self.policy, self._target(keep), keep, why)
        found["reasons"] = self.reasons[: -len(why)] + found["reasons"]
        self.result.update(found)

    def _target(self, keep: t.Optional[str]) -> t.Any:
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_target import Chooser

        return Chooser(self.state, self.cards, self.policy, self.floor, self.floor_text).choose(keep)


def _branch_of(version: str) -> int:
    return t.cast("t.Tuple[int, ...]", known.version(version))[0]
