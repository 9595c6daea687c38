# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which settings of which GPUs have to change. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError, PolicyError

Gpu = t.Dict[str, t.Any]
Wishes = t.Dict[str, t.Any]
Change = t.Dict[str, t.Any]

# In the order in which they are set: without persistence mode the others do not last.
SETTINGS = ("persistence_mode", "ecc_mode", "compute_mode", "power_limit_watts", "application_clocks")
# Setting → the key of a GPU's settings that must hold it. ECC mode is what a reset would bring.
HELD_IN = {"ecc_mode": "ecc_mode_pending"}
SAME_WATTS = 0.01
# Setting → option of nvidia-smi.
OPTIONS = {"persistence_mode": "-pm", "power_limit_watts": "-pl", "compute_mode": "-c", "ecc_mode": "-e", "application_clocks": "-ac"}


def who(gpu: Gpu) -> str:
    """A GPU as a message names it."""
    return "GPU %s (%s at %s)" % (gpu["index"], gpu.get("name") or "unknown model", gpu.get("bus_address") or gpu.get("uuid") or "an unknown address")


def wishes(params: t.Dict[str, t.Any]) -> Wishes:
    """The settings among a task's parameters, checked."""
    found = {name: params[name] for name in SETTINGS if params.get(name) is not None}
    watts = found.get("power_limit_watts")
    if watts is not None and watts <= 0:
        raise PolicyError("power_limit_watts is %g: it must be more than 0" % watts, option="power_limit_watts")
    for name, value in (found.get("application_clocks") or {}).items():
        if value <= 0:
            raise PolicyError("application_clocks.%s is %d: it must be more than 0" % (name, value), option="application_clocks")
    return found


def select(gpus: t.Sequence[Gpu], selectors: t.Optional[t.Sequence[str]]) -> t.List[Gpu]:
    """The GPUs that any of `selectors` (UUID, index, bus address or model) names; all without selectors. One that names none is an error."""
    if selectors is None:
        return list(gpus)
    chosen: t.List[Gpu] = []
    for selector in selectors:
        named = [gpu for gpu in gpus if _names(str(selector).strip(), gpu)]
        if not named:
            there = "; ".join("%s, %s" % (who(gpu), gpu.get("uuid")) for gpu in gpus)
            raise PolicyError("gpus: %s is no UUID, index, bus address or model of a GPU of this host: %s" % (selector, there), option="gpus")
        chosen.extend(gpu for gpu in named if gpu not in chosen)
    return sorted(chosen, key=lambda gpu: gpu["index"])


def _names(selector: str, gpu: Gpu) -> bool:
    address = re.match(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}:[0-9a-f]{2}\.[0-7])\Z", selector.lower())
    if address:
        return gpu.get("bus_address") == "%04x:%s" % (int(address.group(1) or "0", 16), address.group(2))
    if selector.isdigit():
        return gpu["index"] == int(selector)
    return selector == gpu.get("uuid") or selector.lower() == str(gpu.get("name")).lower()


def changes(gpus: t.Sequence[Gpu], wished: Wishes) -> t.List[Change]:
    """What has to be set: dicts with `uuid`, `index`, `bus_address`, `who`, `setting`, `before`, `after`, and
    `option` and `word` of nvidia-smi, GPU by GPU.

    Raises PolicyError for a value that a GPU does not take, before anything is set, and EvidenceError for a GPU whose settings are not known.
    """
    needed = []
    for gpu in gpus:
        if gpu.get("lost"):
            raise EvidenceError("%s is lost: its settings can be neither read nor set" % who(gpu), gpu=gpu.get("uuid"))
        if not gpu.get("uuid"):
            raise EvidenceError("%s does not answer: %s" % (who(gpu), "; ".join(sorted(set(gpu["unavailable"].values())))), gpu=gpu.get("uuid"))
        for setting in SETTINGS:
            if setting in wished:
                before = present(gpu, setting)
                allowed(gpu, setting, wished[setting], before)
                if not same(setting, before, wished[setting]):
                    needed.append(
                        {"uuid": gpu["uuid"], "index": gpu["index"], "bus_address": gpu["bus_address"], "who": who(gpu), "setting": setting,
                         "before": before, "after": wished[setting], "option": OPTIONS[setting], "word": word(setting, wished[setting])}
                    )  # fmt: skip
    return needed


def present(gpu: Gpu, setting: str) -> t.Any:
    """The present value of `setting`, None when it is not known."""
    if setting == "application_clocks":
        clocks = {"memory_mhz": gpu.get("memory_clock_mhz"), "graphics_mhz": gpu.get("graphics_clock_mhz")}
        return None if None in clocks.values() else clocks
    return gpu.get(HELD_IN.get(setting, setting))


def allowed(gpu: Gpu, setting: str, value: t.Any, before: t.Any) -> None:
    """Raise PolicyError for a value outside the GPU's range or a setting that it does not have, EvidenceError when neither is known."""
    if setting == "power_limit_watts":
        low, high = gpu.get("min_power_limit_watts"), gpu.get("max_power_limit_watts")
        if low is not None and high is not None and not low <= value <= high:
            raise PolicyError(
                "power_limit_watts is %g: %s takes %g to %g W" % (value, who(gpu), low, high), option=setting, gpu=gpu["uuid"], minimum=low, maximum=high
            )
    if setting == "application_clocks":
        if value != before:
            _supported(gpu, value)
        for name in ("memory", "graphics"):
            high, asked = gpu.get("max_%s_clock_mhz" % name), value["%s_mhz" % name]
            if high is not None and asked > high:
                raise PolicyError("application_clocks.%s_mhz is %d: %s takes up to %d MHz" % (name, asked, who(gpu), high), option=setting, gpu=gpu["uuid"])
    if before is None:
        keys = ("memory_clock_mhz", "graphics_clock_mhz") if setting == "application_clocks" else (HELD_IN.get(setting, setting),)
        reason = next((gpu["unavailable"][key] for key in keys if key in gpu["unavailable"]), "not reported")
        if reason == "not supported":
            raise PolicyError("%s: %s does not have this setting" % (setting, who(gpu)), option=setting, gpu=gpu["uuid"])
        raise EvidenceError("%s of %s cannot be read: %s" % (setting, who(gpu), reason), gpu=gpu["uuid"])


def _supported(gpu: Gpu, clocks: t.Dict[str, int]) -> None:
    """Raise PolicyError for a pair that is not among the GPU's supported clocks, where these are known."""
    listed = {memory: sorted(graphics) for memory, graphics in gpu.get("supported_clocks") or ()}
    memory, graphics = clocks["memory_mhz"], clocks["graphics_mhz"]
    name, more = "memory", "supports %s MHz" % " and ".join("%d" % one for one in sorted(listed, reverse=True))
    if memory in listed:
        own = listed[memory]
        if graphics in own:
            return
        beside = [max((one for one in own if one < graphics), default=0), min((one for one in own if one > graphics), default=0)]
        name, more = "graphics", "with memory at %d MHz supports %d clocks from %d to %d MHz, next to it %s" % (
            memory, len(own), own[0], own[-1], " and ".join("%d" % one for one in beside if one),
        )  # fmt: skip
    if listed:
        line = "application_clocks.%s_mhz is %d: %s %s" % (name, clocks[name + "_mhz"], who(gpu), more)
        raise PolicyError(line, option="application_clocks", gpu=gpu["uuid"])


def same(setting: str, before: t.Any, after: t.Any) -> bool:
    """Whether two values of `setting` are the same; NVML keeps milliwatts, nvidia-smi shows hundredths of a watt."""
    return abs(before - after) < SAME_WATTS if setting == "power_limit_watts" else before == after


def word(setting: str, value: t.Any) -> str:
    """`value` of `setting` as nvidia-smi takes it."""
    if setting == "compute_mode":
        return value.upper()
    if setting == "application_clocks":
        return "%d,%d" % (value["memory_mhz"], value["graphics_mhz"])
    return "%g" % value if setting == "power_limit_watts" else "%d" % value


def waiting(gpus: t.Sequence[Gpu], wished: Wishes) -> t.List[str]:
    """Bus addresses of the GPUs whose ECC mode changes with the next reset or reboot, once `wished` is set."""
    modes = [(gpu, gpu.get("ecc_mode"), wished.get("ecc_mode", gpu.get("ecc_mode_pending"))) for gpu in gpus]
    return [gpu["bus_address"] for gpu, current, pending in modes if current is not None and pending is not None and current != pending]
