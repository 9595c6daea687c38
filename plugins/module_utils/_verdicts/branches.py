# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which driver branch and flavour can drive which GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.branches import BRANCHES, OPEN_DEFAULT_SINCE, OPEN_SINCE, PROPRIETARY_UNTIL
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board

OPEN = "open"
PROPRIETARY = "proprietary"


class Card(t.NamedTuple):
    """What a GPU asks of the driver. `flavors` None: neither the board nor its architecture is known."""

    name: str
    architecture: t.Optional[str]
    first_branch: t.Optional[int]
    last_branch: t.Optional[int]
    flavors: t.Optional[t.Tuple[str, ...]]


def card(device: t.Dict[str, t.Any], limits: t.Optional[t.Any] = None) -> Card:
    """The demands of a device of the facts: from the board catalogue, else from its architecture. `limits` (board_limits.Limits) may correct them."""
    name = "%s at %s" % (known.model(device), known.subject(device))
    pci = device.get("pci")
    found = board(pci) if isinstance(pci, dict) else None
    if found:
        known_card = Card(name, found["architecture"], found["first_branch"], found["last_branch"], tuple(found["flavors"]))
    else:
        from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.architectures import ARCHITECTURES

        architecture = known.text(device.get("architecture"))
        row = ARCHITECTURES.get((architecture or "").lower())
        if row is None:
            known_card = Card(name, architecture, None, None, None)
        else:
            first = row["first_branches"].get(known.text(device.get("compute_capability")), row["first_branch"])
            known_card = Card(name, architecture, first, row["last_branch"], tuple(row["flavors"]))
    return known_card if limits is None else limits.correct(known_card, pci)


def refusals(cards: t.Iterable[Card], branch: int, flavor: t.Optional[str] = None) -> t.List[str]:
    """Why `branch` (in `flavor`, None: in any) does not drive every card: one line a card that it would lose; empty when it drives all."""
    found = []
    for one in cards:
        what = "%s (%s)" % (one.name, one.architecture or "architecture not known")
        if one.last_branch is not None and branch > one.last_branch:
            found.append("R%d does not support %s: its last branch is R%d" % (branch, what, one.last_branch))
        elif one.first_branch is not None and branch < one.first_branch:
            found.append("R%d does not support %s: its first branch is R%d" % (branch, what, one.first_branch))
        elif flavor is not None and one.flavors is not None and flavor not in one.flavors:
            found.append("%s needs the %s kernel modules, not the %s ones" % (what, one.flavors[0], flavor))
    if flavor == OPEN and branch < OPEN_SINCE:
        found.append("R%d has no open kernel modules: they begin with R%d" % (branch, OPEN_SINCE))
    if flavor == PROPRIETARY and branch > PROPRIETARY_UNTIL:
        found.append("R%d has no proprietary kernel modules: they end with R%d" % (branch, PROPRIETARY_UNTIL))
    return found


def flavors(cards: t.Iterable[Card], branch: int) -> t.List[str]:
    """The flavours of `branch` that drive every card, the preferred one first (open from R560 on where the GPU can run both)."""
    order = [OPEN, PROPRIETARY] if branch >= OPEN_DEFAULT_SINCE else [PROPRIETARY, OPEN]
    cards = list(cards)
    return [flavor for flavor in order if not refusals(cards, branch, flavor)]


def flavor_of(value: t.Any) -> t.Optional[str]:
    """`value` when it names a flavour of kernel modules, else None."""
    return value if value in (OPEN, PROPRIETARY) else None


def maintained(branch: int, date: str) -> bool:
    """True when NVIDIA has committed itself to maintain `branch` on `date` (YYYY-MM-DD)."""
    until = BRANCHES.get(branch, {}).get("supported_until")
    return until is not None and date <= until


def maintenance(branch: int, date: str) -> str:
    """In words how long `branch` is maintained."""
    row = BRANCHES.get(branch)
    if row is None:
        return "R%d is not in the catalogue of branches" % branch
    if row["supported_until"] is None:
        return "R%d (%s) carries no maintenance commitment" % (branch, row["kind"])
    return "R%d (%s) %s maintained until %s" % (branch, row["kind"], "is" if maintained(branch, date) else "was", row["supported_until"])
