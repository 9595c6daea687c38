# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a GPU runs: throttling, temperature, persistence mode, InfoROM. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits, flag, gap, read, reason

COOL = "Check fans, shroud, dust and the temperature of the inlet air; a passive card needs the server's fans at the speed that its vendor set for it."
# Reason of nvmlDeviceGetCurrentClocksEventReasons (nvml.h) → what it means, what to do.
EVENTS = {
    "hw_slowdown": ("the hardware halves the clocks or more (0x8)", "Read the other reasons: it is temperature, the power brake or too high a draw."),
    "hw_thermal_slowdown": ("the hardware slows down because it is too hot (0x40)", COOL),
    "hw_power_brake_slowdown": ("the power brake of the server is pulled (0x80)", "Check the power supplies and the auxiliary power of the card."),
    "sw_thermal_slowdown": ("the driver slows down because it is too hot (0x20)", COOL),
    "sw_power_cap": ("the power limit is reached (0x4)", "Raise the power limit where supply and cooling allow it; at full load this is normal."),
    "applications_clocks_setting": ("application clocks are set (0x2)", "Reset them (nvidia-smi -rac) unless they are wanted."),
    "sync_boost": ("the clocks follow those of a sync boost group (0x10)", "Take the GPU out of its sync boost group unless it is wanted."),
    "display_clocks_setting": ("the clocks follow the display's (0x100)", "Take the display off this GPU."),
}
BRAKE = "hw_power_brake_slowdown"
THERMAL = ("hw_thermal_slowdown", "sw_thermal_slowdown")


def throttling(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.throttling`: none of the reasons that mean a fault around the GPU holds the clocks down."""
    name, who = "gpu.throttling", known.subject(device)
    reasons = _reasons(device)
    if reasons is None:
        return gap(name, device, wanted, "why the clocks are held down", "event_reasons")
    seen = [evidence("%s event_reasons" % known.source(device, "nvml", "NVML"), ", ".join(reasons) or "none")]
    active = [one for one in reasons if one in limits.throttle_reasons]
    if BRAKE in reasons and BRAKE not in active and not set(active) - {"hw_slowdown"}:
        # 0x8 is set beside 0x80 (nvml.h names the brake as one of its causes), and power.events judges that.
        return Check(name, who, PASS, "no fault of the GPU holds the clocks down, but the power brake of the server does: see power.events", wanted, seen)
    if active:
        remedy = " ".join(sorted({EVENTS[one][1] for one in active}, key=lambda text: text != COOL))
        return Check(name, who, WARN, "; ".join(EVENTS[one][0] for one in active), wanted, seen, remedy)
    return Check(name, who, PASS, "the clocks are not held down by a fault", wanted, seen)


def temperature(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.temperature`: below the temperatures at which the GPU slows down and shuts down, or the user's own limit.

    Boards that give their limits only as a distance (T.Limit, Ada and later) have no slowdown temperature; there the GPU's own
    word holds: no thermal reason in `event_reasons`.
    """
    name, who = "gpu.temperature", known.subject(device)
    now = known.number(known.get(device, "temperature", "gpu_celsius"))
    if now is None:
        return gap(name, device, wanted, "the temperature", "temperature.gpu_celsius")
    slowdown, shutdown, working = (known.number(known.get(device, "temperature", key)) for key in ("slowdown_celsius", "shutdown_celsius", "gpu_max_celsius"))
    fields = ["temperature." + key for key in ("gpu_celsius", "slowdown_celsius", "shutdown_celsius", "gpu_max_celsius")]
    seen = [item for item in read(device, *fields) if item["value"] is not None]
    hot = min((one for one in (slowdown, shutdown) if one is not None), default=None)
    if hot is not None and now >= hot:
        return Check(name, who, FAIL, "%g C: the GPU %s from %g C" % (now, "slows down" if hot == slowdown else "shuts down", hot), wanted, seen, COOL)
    own = limits.max_temperature_celsius
    if own is not None:
        seen.append(evidence("max_temperature_celsius", own))
        if now >= own:
            return Check(name, who, FAIL, "%g C: the limit set is %d C" % (now, own), wanted, seen, COOL)
    near = hot - limits.temperature_margin_celsius if hot is not None else None
    if near is not None and now >= near:
        return Check(name, who, WARN, "%g C: within %d C of slowing down" % (now, limits.temperature_margin_celsius), wanted, seen, COOL)
    if working is not None and now > working:
        return Check(name, who, WARN, "%g C: above the highest working temperature of %g C" % (now, working), wanted, seen, COOL)
    if hot is None and own is None and working is None:
        return _by_its_own_word(name, device, wanted, now)
    return Check(name, who, PASS, "%g C" % now, wanted, seen)


def _by_its_own_word(name: str, device: t.Dict[str, t.Any], wanted: str, now: float) -> Check:
    reasons = _reasons(device)
    seen = read(device, "temperature.gpu_celsius")
    if reasons is None:
        return gap(name, device, wanted, "a limit for the %g C measured" % now, "temperature.slowdown_celsius", "event_reasons")
    seen.append(evidence("%s event_reasons" % known.source(device, "nvml", "NVML"), ", ".join(reasons) or "none"))
    if any(one in THERMAL for one in reasons):
        return Check(name, known.subject(device), WARN, "%g C, and the GPU slows down because it is too hot" % now, wanted, seen, COOL)
    return Check(name, known.subject(device), PASS, "%g C, which does not slow the GPU down" % now, wanted, seen)


def persistence(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.persistence`: persistence mode is on."""
    name, who = "gpu.persistence", known.subject(device)
    mode = flag(device.get("persistence_mode"))
    if mode is None:
        return gap(name, device, wanted, "persistence mode", "persistence_mode")
    seen = read(device, "persistence_mode")
    if mode:
        return Check(name, who, PASS, "persistence mode is on", wanted, seen)
    return Check(
        name, who, WARN, "persistence mode is off: without a client the driver lets the GPU go, and power limit and compute mode with it", wanted, seen,
        "Set it with gpuops.fleet.gpu_settings (persistence_mode: true), which keeps it across reboots.",
    )  # fmt: skip


def inforom(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.inforom`: the checksums of the board's InfoROM hold."""
    name, who = "gpu.inforom", known.subject(device)
    valid, why = flag(device.get("inforom_valid")), reason(device, "inforom_valid") or ""
    if valid is False or (valid is None and "corrupted" in why):
        return Check(
            name, who, FAIL, "the InfoROM is corrupted", wanted, [evidence("%s inforom_valid" % known.source(device, "nvml", "NVML"), why or False)],
            "Update the board's firmware with the server vendor's package; when the InfoROM stays corrupted, exchange the board.",
        )  # fmt: skip
    if valid:
        return Check(name, who, PASS, "the InfoROM is valid", wanted, read(device, "inforom_valid", "inforom_version"))
    return gap(name, device, wanted, "the state of the InfoROM", "inforom_valid")


def _reasons(device: t.Dict[str, t.Any]) -> t.Optional[t.List[str]]:
    listed = device.get("event_reasons")
    return listed if isinstance(listed, list) and all(isinstance(one, str) for one in listed) else None
