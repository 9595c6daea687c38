# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`pcie.width` and `pcie.speed`: the link is as wide and as fast as both of its ends can. Private to gpuops.fleet: the names may change."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import GATHER, Device, integer, not_here, why

RESEAT = (
    "Reseat the card and its riser, clean the contacts, try another slot; check in firmware setup whether the slot is split (bifurcation) or limited, "
    "and replace the card when the fault follows it."
)
# From here on the GPU works; below this share of its clocks it rests.
BUSY_PERCENT = 20
PERFORMANCE_MEMORY, PERFORMANCE_GRAPHICS = 0.9, 0.7


def width(device: Device, facts: t.Any) -> Check:
    """`pcie.width`: lanes do not change with load, so fewer than both ends have is a fault."""
    name, who = "pcie.width", known.subject(device)
    absent = not_here(name, device, facts, "as many lanes as card and slot have")
    if absent:
        return absent
    current, card, slot = (integer(device, "pcie", *keys) for keys in (("width_current",), ("width_max",), ("upstream", "width_max")))
    seen = _seen(device, "x%d", current, card, slot)
    if not current or not card:
        field = "pcie.width_max" if current else "pcie.width_current"
        return Check(name, who, UNKNOWN, "the width of the link is not known%s" % why(device, field), "as many lanes as card and slot have", seen, GATHER)
    wanted = min(card, slot or card)
    expected = "x%d, what card%s can" % (wanted, " and slot" if slot else "")
    if current >= wanted:
        limit = "" if wanted >= card else ": all that the slot has, the card could use x%d" % card
        return Check(name, who, PASS, "x%d%s" % (current, limit), expected, seen)
    if not slot:
        return Check(name, who, WARN, "x%d instead of x%d; what the slot can is not known" % (current, card), expected, seen, RESEAT)
    return Check(name, who, FAIL, "x%d instead of x%d" % (current, wanted), expected, seen, RESEAT)


def speed(device: Device, facts: t.Any) -> Check:
    """`pcie.speed`: the generation. The link slows down while the GPU rests, so a low one counts only under load."""
    name, who = "pcie.speed", known.subject(device)
    absent = not_here(name, device, facts, "the generation that card and slot have, under load")
    if absent:
        return absent
    keys = (("generation_current",), ("generation_max",), ("upstream", "generation_max"), ("generation_gpu_max",))
    current, most, slot, card = (integer(device, "pcie", *key) for key in keys)
    seen = _seen(device, "generation %d", current, card or most, slot)
    if not current or not most:
        field = "pcie.generation_max" if current else "pcie.generation_current"
        return Check(name, who, UNKNOWN, "the speed of the link is not known%s" % why(device, field), "", seen, GATHER)
    wanted = min(most, slot or most)
    expected = "generation %d under load, what card and slot can" % wanted
    if current >= wanted:
        limit = "" if wanted >= (card or most) else ": all that the slot has, the card could use generation %d" % (card or most)
        return Check(name, who, PASS, "generation %d%s" % (current, limit), expected, seen)
    busy, told = load(device)
    if busy is None:
        return Check(name, who, SKIPPED, "generation %d of %d; whether the GPU rests is not known, and then this is normal" % (current, wanted), expected, seen)
    seen.append(evidence(known.source(device, "nvml", "NVML"), told))
    if not busy:
        return Check(name, who, PASS, "generation %d while the GPU rests, which is normal; card and slot can %d" % (current, wanted), expected, seen)
    return Check(name, who, FAIL, "generation %d instead of %d under load" % (current, wanted), expected, seen, RESEAT)


def load(device: Device) -> t.Tuple[t.Optional[bool], str]:
    """Whether the GPU works: by its utilisation, or by clocks near their highest, which the link follows. None when neither is known."""
    used = known.number(known.get(device, "utilization", "gpu_percent"))
    clocks = [known.number(known.get(device, "clocks", name)) for name in ("memory_mhz", "max_memory_mhz", "graphics_mhz", "max_graphics_mhz")]
    fast = None
    if all(clocks):
        memory, memory_max, graphics, graphics_max = t.cast(t.List[float], clocks)
        fast = memory >= PERFORMANCE_MEMORY * memory_max and graphics >= PERFORMANCE_GRAPHICS * graphics_max
    if used is not None and used >= BUSY_PERCENT:
        return True, "%g %% utilisation" % used
    if fast:
        return True, "clocks at %g and %g MHz" % (clocks[2] or 0, clocks[0] or 0)
    return (None, "") if used is None else (False, "%g %% utilisation" % used)


def _seen(device: Device, form: str, current: t.Optional[int], card: t.Optional[int], slot: t.Optional[int]) -> t.List[t.Dict[str, t.Any]]:
    ends = ", ".join("%s %s" % (name, form % value if value else "not known") for name, value in (("card", card), ("slot", slot)))
    return [evidence("%s link" % known.source(device, "pci", "PCI"), "%s; %s" % (form % current, ends) if current else None)]
