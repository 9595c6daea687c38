# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a host need another driver, which one, and what does the change take. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.branches import BRANCHES
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import AUTO, Policy


class NoDriverError(Exception):
    """No driver does what facts and policy ask for; carries the blockers."""

    def __init__(self, *blockers: str):
        super().__init__(blockers)
        self.blockers = list(blockers)


def plan(facts: t.Any, policy: Policy) -> t.Dict[str, t.Any]:
    """The driver plan for a host.

    Keys: `action` (none, install, upgrade, downgrade, reload, reboot, impossible), `reasons`, `steps`, `blockers` (lists of lines), `branch`,
    `flavor` and `version` (pinned version or None) of the driver that the host is to have, `current_version`, and `activation`: how a
    changed driver comes to life (none, load, reload, reboot).
    """
    result: t.Dict[str, t.Any] = {
        "action": "impossible", "reasons": [], "steps": [], "blockers": [], "branch": None, "flavor": None, "version": policy.version_text,
        "current_version": known.loaded(facts) or known.on_disk(facts), "activation": "none",
    }
    try:
        Planner(facts, policy, result).decide()
    except NoDriverError as refusal:
        result.update(action="impossible", branch=None, flavor=None, activation="none", steps=[], blockers=refusal.blockers)
    return result


def summary(decided: t.Dict[str, t.Any]) -> str:
    """A plan in one line."""
    aim = decided["action"]
    if aim in ("install", "upgrade", "downgrade"):
        aim += " %s (%s kernel modules)" % (decided["version"] or "R%s" % decided["branch"], decided["flavor"])
    return "%s: %s" % (aim, "; ".join(decided["blockers"] or decided["reasons"]))


def check(decided: t.Dict[str, t.Any]) -> Check:
    """`driver.plan`: whether the host has the driver that it is to have."""
    wanted = "the driver that facts and policy ask for"
    impossible = decided["action"] == "impossible"
    seen = [evidence("facts: driver", decided["current_version"] or (None if impossible else "no driver"))]
    if impossible:
        remedy = "Change what is asked of the driver (branch, version, flavour, package source), or take the card out that no common driver supports."
        return Check("driver.plan", known.HOST, FAIL, "no driver can be chosen: %s" % "; ".join(decided["blockers"]), wanted, seen, remedy)
    if decided["action"] != "none":
        remedy = "Run the driver stage of gpuops.fleet.site, which carries this out: %s." % "; ".join(decided["steps"])
        return Check("driver.plan", known.HOST, WARN, summary(decided), wanted, seen, remedy)
    return Check("driver.plan", known.HOST, SKIPPED if decided["branch"] is None else PASS, "; ".join(decided["reasons"]), wanted, seen)


class Planner:
    """One decision. `result` is filled as it goes."""

    def __init__(self, facts: t.Any, policy: Policy, result: t.Dict[str, t.Any]):
        self.facts, self.policy, self.result = facts, policy, result
        self.reasons: t.List[str] = result["reasons"]
        self.loaded, self.disk, self.library = known.loaded(facts), known.on_disk(facts), known.library(facts)
        self.kernel = known.text(known.get(facts, "host", "kernel_release"))
        found = known.text(known.get(facts, "driver", "flavor"))
        self.installed_flavor = found if found in (branches.OPEN, branches.PROPRIETARY) else None
        self.devices = known.devices(facts)
        self.cards = [branches.card(device) for device in self.devices]

    def decide(self) -> None:
        """Fill the result or raise NoDriverError."""
        count = known.count(self.facts)
        if count is None:
            raise NoDriverError("the GPUs of the host are not known: gather facts with gpuops.fleet.gpu_facts on the host and pass all of them")
        if count == 0:
            self.reasons.append("no NVIDIA GPU on the PCI bus: no driver is needed")
            self.result["action"] = "none"
            return
        if self.loaded is None and not known.not_loaded(self.facts):
            raise NoDriverError("the version of the loaded driver is not known: gather facts with gpuops.fleet.gpu_facts on the host and pass all of them")
        if self.policy.cuda_major is not None:
            from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import cuda  # most plans need no CUDA catalogue

            refused = cuda.refusals(self.devices, self.policy.cuda_major)
            if refused:
                raise NoDriverError(*refused)
        for device in self.devices:
            if device.get("state") == "lost":
                self.reasons.append("%s is lost: no driver change brings it back" % known.subject(device))
        if self.loaded is not None:
            self._loaded(self.loaded)
        else:
            self._not_loaded()

    def _loaded(self, loaded: str) -> None:
        if self.disk is not None and self.disk != loaded and not self._complaints(self.disk, None) and self.library == self.disk:
            self._pending("%s is loaded, %s is installed" % (loaded, self.disk), self.disk)
            return
        complaints = self._complaints(loaded, self.installed_flavor)
        if complaints:
            self._change(complaints, None)
        elif self.disk is None and isinstance(known.get(self.facts, "driver", "module_versions"), dict):
            self._change(["no kernel module on disk for the running kernel %s: the driver is gone after the next boot" % self.kernel], loaded)
        elif self.disk is not None and self.disk != loaded:
            self._change(["half installed: %s loaded, %s on disk, library %s" % (loaded, self.disk, self.library or "missing")], self.disk)
        elif self.library is None:
            self._change(["the driver library libnvidia-ml.so.1 is missing or not readable"], loaded)
        elif self.library != loaded:
            self._change(["half installed: %s loaded and on disk, library %s" % (loaded, self.library)], self.library)
        else:
            self._keep(loaded)

    def _not_loaded(self) -> None:
        if self.disk is not None:
            complaints = self._complaints(self.disk, self.installed_flavor)
            if complaints:
                self._change(complaints, None)
            elif self.library is None or self.library != self.disk:
                self._change(["half installed: %s on disk, library %s" % (self.disk, self.library or "missing")], self.library)
            else:
                self._pending("%s is installed and not loaded" % self.disk, self.disk)
            return
        versions = known.get(self.facts, "driver", "module_versions")
        others = {kernel: known.version(value) for kernel, value in versions.items() if known.version(value)} if isinstance(versions, dict) else {}
        if others:
            newest = max(others, key=lambda kernel: (others[kernel] or (), str(kernel)))
            reason = "no kernel module for the running kernel %s, only for %s" % (self.kernel, ", ".join(sorted(map(str, others))))
            self._change([reason], known.text(versions[newest]))
        else:
            self._change(["no NVIDIA driver is installed"], None)

    def _complaints(self, version: str, flavor: t.Optional[str]) -> t.List[str]:
        """Why `version` in `flavor` (None: not known) is not what facts and policy ask for."""
        number = t.cast("t.Tuple[int, ...]", known.version(version))
        policy, found = self.policy, []
        if number < policy.floor:
            found.append("%s is older than %s" % (version, policy.floor_text))
        if policy.version is not None and number != policy.version:
            found.append("%s is not the pinned version %s" % (version, policy.version_text))
        elif policy.branch is not None and number[0] != policy.branch:
            found.append("%s is not of the pinned branch R%d" % (version, policy.branch))
        found.extend(branches.refusals(self.cards, number[0], flavor))
        if flavor is not None and policy.flavor not in (AUTO, flavor):
            found.append("the %s kernel modules are installed, the %s ones are asked for" % (flavor, policy.flavor))
        return found

    def _keep(self, version: str) -> None:
        branch = _branch_of(version)
        self.reasons.append("%s meets %s and supports every GPU" % (version, self.policy.floor_text))
        if self.disk is None:
            self.reasons.append("which version is on disk is not known")
        if not branches.maintained(branch, self.policy.date):
            self.reasons.append(branches.maintenance(branch, self.policy.date))
        for device, card in zip(self.devices, self.cards):
            if device.get("state") == "not_visible":
                self.reasons.append("the driver does not see %s, and its version is not why" % card.name)
        self.result.update(action="none", branch=branch, flavor=self.installed_flavor)

    def _pending(self, reason: str, version: str) -> None:
        self.reasons.append(reason)
        activation = self._activation()
        self.result.update(
            action="reboot" if activation == "reboot" else "reload", activation=activation, branch=_branch_of(version), flavor=self.installed_flavor,
            steps=self._nouveau_steps() + self._final_steps(activation),
        )

    def _change(self, why: t.List[str], keep: t.Optional[str]) -> None:
        """Install a driver because of `why`; of the branch of the version `keep` when that one does, else of the best branch."""
        self.reasons.extend(why)
        branch, flavor = self._target(keep)
        activation = self._activation()
        current = known.version(self.result["current_version"])
        aim = self.policy.version or (branch,)
        if current is None or (keep is not None and branch == _branch_of(keep)):
            action = "install"
        elif aim != current[: len(aim)]:
            action = "upgrade" if aim > current[: len(aim)] else "downgrade"
        else:
            # Within a branch: another flavour is installed anew, the same flavour can only be too old.
            action = "install" if self.installed_flavor not in (None, flavor) else "upgrade"
        if known.get(self.facts, "host", "secure_boot") is True:
            self.reasons.append("Secure Boot is on: only a kernel module signed with an enrolled key loads; the distribution's prebuilt module is signed")
        what = "driver %s with the %s kernel modules for kernel %s" % (self.policy.version_text or "R%d" % branch, flavor, self.kernel or "(running)")
        install = "install %s" % what if self.result["current_version"] is None else "replace %s by %s" % (self.result["current_version"], what)
        self.result.update(
            action=action, branch=branch, flavor=flavor, activation=activation,
            steps=self._nouveau_steps() + [install] + self._final_steps(activation),
        )

    def _target(self, keep: t.Optional[str]) -> t.Tuple[int, str]:
        if keep is not None and not self._complaints(keep, None):
            branch = _branch_of(keep)
            options = self._options(branch)
            if options and (self.policy.available is None or branch in self.policy.available):
                return branch, self._flavor(options)
        unknown = [card.name for card in self.cards if card.flavors is None]
        if unknown and self.policy.branch is None:
            raise NoDriverError("which drivers support %s is not known: set branch and flavor" % ", ".join(unknown))
        branch = self._branch()
        options = self._options(branch)
        if unknown and self.policy.flavor == AUTO and self.installed_flavor not in options:
            raise NoDriverError("which kernel modules drive %s is not known: set flavor" % ", ".join(unknown))
        if unknown:
            self.reasons.append("whether R%d supports %s is not known: taken because it is pinned" % (branch, ", ".join(unknown)))
        return branch, self._flavor(options)

    def _options(self, branch: int) -> t.List[str]:
        return [flavor for flavor in branches.flavors(self.cards, branch) if self.policy.flavor in (AUTO, flavor)]

    def _flavor(self, options: t.List[str]) -> str:
        # Both flavours work: changing a running one would be a risk without a gain.
        return self.installed_flavor if self.installed_flavor in options else options[0]  # type: ignore[return-value]

    def _branch(self) -> int:
        """The best branch that drives every card: the newest maintained one, else the newest."""
        policy, pinned = self.policy, self.policy.branch
        offered = sorted(BRANCHES) if policy.available is None else policy.available
        if policy.available is not None and pinned is not None and pinned not in offered:
            raise NoDriverError("R%d is not available from the package source, which has %s" % (pinned, _listed(offered)))
        if not offered:
            raise NoDriverError("the package source has no driver branch")
        candidates = [pinned] if pinned is not None else [branch for branch in offered if branch >= policy.floor[0]]
        viable = [branch for branch in candidates if self._options(branch)]
        if not viable:
            raise NoDriverError(*self._why_none(candidates, offered))
        good = [branch for branch in viable if branches.maintained(branch, policy.date)]
        chosen = max(good or viable)
        self.reasons.append("R%d is %s" % (chosen, "pinned" if pinned else "the newest %sbranch that supports every GPU" % ("maintained " if good else "")))
        self.reasons.append(branches.maintenance(chosen, policy.date))
        return chosen

    def _why_none(self, candidates: t.List[int], offered: t.List[int]) -> t.List[str]:
        """Blockers: what keeps each candidate from driving every card, narrowed to what a reader can act on."""
        flavor = None if self.policy.flavor == AUTO else self.policy.flavor
        if not candidates:
            return ["no branch from %s on is available, only %s" % (self.policy.floor_text, _listed(offered))]
        if self.policy.branch is not None:
            found = branches.refusals(self.cards, candidates[0], flavor)
            return found or [self._no_common_flavor()]
        oldest = [card for card in self.cards if card.last_branch is not None]
        last = min((card.last_branch or 0 for card in oldest), default=None)
        first = max((card.first_branch or 0 for card in self.cards), default=0)
        if last is not None and first > last:
            pair = [card.name for card in self.cards if card.last_branch == last or card.first_branch == first]
            return ["no driver branch supports %s together: one ends with R%d, another begins with R%d" % (" and ".join(pair), last, first)]
        if not any(all(card.flavors is None or one in card.flavors for card in self.cards) for one in (branches.OPEN, branches.PROPRIETARY)):
            return [self._no_common_flavor()]
        return _unique(line for branch in candidates for line in (branches.refusals(self.cards, branch, flavor) or [self._no_common_flavor()]))

    def _no_common_flavor(self) -> str:
        needs = ", ".join("%s needs the %s ones" % (card.name, " or ".join(card.flavors)) for card in self.cards if card.flavors)
        return "one driver has one flavour of kernel modules, and no flavour drives every GPU: %s" % needs

    def _activation(self) -> str:
        if known.get(self.facts, "driver", "nouveau_loaded") is True:
            return "reboot"
        if self.loaded is None:
            return "load"
        users = [(device, device["processes"]) for device in self.devices if isinstance(device.get("processes"), list) and device["processes"]]
        for device, processes in users:
            names = ", ".join(sorted({str(known.get(process, "name") or known.get(process, "pid") or "a process") for process in processes}))
            self.reasons.append("%s is in use by %s: the loaded module cannot be replaced without a reboot" % (known.subject(device), names))
        return "reboot" if users else "reload"

    def _nouveau_steps(self) -> t.List[str]:
        if known.get(self.facts, "driver", "nouveau_loaded") is not True:
            return []
        self.reasons.append("nouveau is loaded and holds the GPUs")
        return ["blacklist nouveau", "rebuild the initramfs"]

    def _final_steps(self, activation: str) -> t.List[str]:
        words = {"load": "load the kernel modules", "reload": "unload and load the kernel modules", "reboot": "reboot"}
        return [words[activation], "prove that loaded, library and on-disk version are equal and that the driver sees %s" % known.gpus(len(self.devices))]


def _branch_of(version: str) -> int:
    return t.cast("t.Tuple[int, ...]", known.version(version))[0]


def _listed(numbers: t.Sequence[int]) -> str:
    return ", ".join("R%d" % number for number in numbers) or "none"


def _unique(lines: t.Iterable[str]) -> t.List[str]:
    return list(dict.fromkeys(lines))
