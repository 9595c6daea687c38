# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which branch and flavour a host is to have, and which packages are that. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.branches import BRANCHES
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import AUTO, Policy
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import NoDriverError, State


class Target(t.NamedTuple):
    """A driver that drives every GPU. `version` None: not known; `selection` (driver_packages.Selection) None: no package source was given."""

    branch: int
    flavor: str
    version: t.Optional[str]
    selection: t.Optional[t.Any]
    reasons: t.List[str]


class Chooser:
    """Finds the target. `floor`: oldest version as a tuple, `floor_text`: the same in words."""

    def __init__(self, state: State, cards: t.Sequence[branches.Card], policy: Policy, floor: t.Tuple[int, ...], floor_text: str):
        self.state, self.cards, self.policy, self.floor, self.floor_text = state, cards, policy, floor, floor_text
        self.source = policy.package_source
        self.available = policy.available
        if self.source is not None:
            offered = list(self.source.branches())
            self.available = offered if self.available is None else [branch for branch in self.available if branch in offered]

    def choose(self, keep: t.Optional[str]) -> Target:
        """The version `keep` again where that one does, else its branch, else the best branch there is. Raises NoDriverError."""
        if keep is not None:
            branch = branch_of(keep)
            if self.options(branch) and (self.available is None or branch in self.available):
                for version in (keep, None):
                    found, _why = self._packages(branch, version, [])
                    if found is not None:
                        return found
        unknown = [card.name for card in self.cards if card.flavors is None]
        if unknown and self.policy.branch is None:
            raise NoDriverError("which drivers support %s is not known: set branch and flavor" % ", ".join(unknown))
        return self._best(unknown)

    def options(self, branch: int) -> t.List[str]:
        """The flavours of `branch` that drive every GPU and that the policy allows, the one to take first."""
        found = [flavor for flavor in branches.flavors(self.cards, branch) if self.policy.flavor in (AUTO, flavor)]
        # Both flavours work: changing a running one would be a risk without a gain.
        return sorted(found, key=lambda flavor: flavor != self.state.flavor)

    def _best(self, unknown: t.List[str]) -> Target:
        """The newest maintained branch that drives every GPU and can be had, else the newest one."""
        policy, pinned = self.policy, self.policy.branch
        offered = sorted(BRANCHES) if self.available is None else sorted(self.available)
        if pinned is not None and pinned not in offered and self.available is not None:
            has = self.source.offer() if self.source is not None else _listed(offered)
            raise NoDriverError("%s is not available from the package source, which has %s" % (policy.version_text or "R%d" % pinned, has))
        if not offered:
            raise NoDriverError("the package source has no driver branch")
        candidates = [pinned] if pinned is not None else [branch for branch in offered if branch >= self.floor[0]]
        viable = [branch for branch in candidates if self.options(branch)]
        if not viable:
            raise NoDriverError(*self._why_none(candidates, offered))
        good = [branch for branch in viable if branches.maintained(branch, policy.date)]
        refused: t.List[str] = []
        for chosen in sorted(good or viable, reverse=True):
            options = self.options(chosen)
            if unknown and policy.flavor == AUTO and self.state.flavor not in options:
                raise NoDriverError("which kernel modules drive %s is not known: set flavor" % ", ".join(unknown))
            reasons = ["R%d is %s" % (chosen, "pinned" if pinned else "the newest %sbranch that supports every GPU" % ("maintained " if good else ""))]
            if refused:
                reasons = ["R%d is the newest branch that supports every GPU and can be installed (%s)" % (chosen, "; ".join(refused))]
            if unknown:
                reasons.append("whether R%d supports %s is not known: taken because it is pinned" % (chosen, ", ".join(unknown)))
            reasons.append(branches.maintenance(chosen, policy.date))
            found, why = self._packages(chosen, policy.version_text, reasons)
            if found is not None:
                return found
            refused.extend(why)
        raise NoDriverError(*dict.fromkeys(refused))

    def _packages(self, branch: int, version: t.Optional[str], reasons: t.List[str]) -> t.Tuple[t.Optional[Target], t.List[str]]:
        """The target with its packages, or None and why the package source cannot give it."""
        options = self.options(branch)
        if self.source is None:
            return Target(branch, options[0], version, None, reasons), []
        # Most plans change no package.
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver_blockers, driver_packages

        refused: t.List[str] = []
        for flavor in options:
            wish = driver_packages.Wish(
                branch=branch,
                flavor=flavor,
                version=version,
                floor=self.floor,
                kernels=self.state.kernels,
                nvswitch=bool(known.get(self.state.facts, "host", "nvswitches")),
                installed=self.state.packages,
                headers=known.get(self.state.facts, "host", "kernel_headers"),
                refused=driver_blockers.module_sources(self.state, self.policy.dkms_key_enrolled),
            )
            try:
                selection = driver_packages.choose(self.source, wish)
            except driver_packages.NotOfferedError as error:
                refused.extend(error.lines)
                continue
            return Target(branch, flavor, selection.version, selection, reasons), []
        return None, refused

    def _why_none(self, candidates: t.List[int], offered: t.Sequence[int]) -> t.List[str]:
        """Blockers: what keeps each candidate from driving every card, narrowed to what a reader can act on."""
        flavor = None if self.policy.flavor == AUTO else self.policy.flavor
        if not candidates:
            return ["no branch from %s on is available, only %s" % (self.floor_text, _listed(offered))]
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
        lines = [line for branch in candidates for line in (branches.refusals(self.cards, branch, flavor) or [self._no_common_flavor()])]
        return list(dict.fromkeys(lines))

    def _no_common_flavor(self) -> str:
        needs = ", ".join("%s needs the %s ones" % (card.name, " or ".join(card.flavors)) for card in self.cards if card.flavors)
        return "one driver has one flavour of kernel modules, and no flavour drives every GPU: %s" % needs


def branch_of(version: str) -> int:
    """Branch of a driver version."""
    return t.cast("t.Tuple[int, ...]", known.version(version))[0]


def _listed(numbers: t.Sequence[int]) -> str:
    return ", ".join("R%d" % number for number in numbers) or "none"
