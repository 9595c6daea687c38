# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which wanted features driver and GPUs can have. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.features import FEATURES, OLLAMA, TOOLKITS
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import row

MET, NEEDS_DRIVER, IMPOSSIBLE = "met", "needs_driver", "impossible"
VERSIONED = re.compile(r"(?P<what>ollama|cuda)-?(?P<version>\d+\.\d+(?:\.\d+)?)\Z")


class Feature(t.NamedTuple):
    """A wanted feature: `rules` as in the catalogue of features."""

    name: str
    title: str
    rules: t.List[t.Any]


class Demand(t.NamedTuple):
    """What a feature asks on a host. `driver` None: no driver does; `lines`: why, or for which GPU which driver."""

    feature: Feature
    driver: t.Optional[str]
    lines: t.List[str]


def parse(names: t.Iterable[str]) -> t.List[Feature]:
    """The features of these names; PolicyError for one that the catalogue does not have."""
    return [_parse(str(name)) for name in names]


def cuda(major: int) -> Feature:
    """The feature that the programs of CUDA `major`.* run; PolicyError for one that the catalogue does not have."""
    if "cuda%d" % major not in FEATURES:
        majors = sorted(name[len("cuda") :] for name in FEATURES if name.startswith("cuda"))
        raise PolicyError("cuda_major is %s: it must be one of %s" % (major, ", ".join(majors)), option="cuda_major")
    return _parse("cuda%d" % major)


def _parse(name: str) -> Feature:
    text = name.strip().lower()
    plain = re.sub(r"[\s_-]", "", text) if text.startswith(("cuda", "dlss")) and "." not in text else text
    if plain in FEATURES:
        return Feature(name, FEATURES[plain]["title"], FEATURES[plain]["rules"])
    match = VERSIONED.match(text)
    version = known.version(match.group("version")) if match else None
    if match and version:
        if match.group("what") == "ollama":
            first = max((release for release in OLLAMA if release <= version + (0,) * (3 - len(version))), default=None)
            if first:
                return Feature(name, "Ollama %s" % match.group("version"), OLLAMA[first])
        elif version[:2] in TOOLKITS:
            lowest = FEATURES["cuda%d" % version[0]]["rules"][0][0]
            return Feature(name, "CUDA %s" % match.group("version"), [(lowest, None, TOOLKITS[version[:2]])])
    words = sorted(FEATURES) + ["cuda-12.8 (any toolkit up to %s)" % ".".join(map(str, max(TOOLKITS))), "ollama-0.30 (any release from 0.24 on)"]
    raise PolicyError("features has %s: it must be one of %s" % (name, ", ".join(words)), option="features")


def demand(feature: Feature, devices: t.Sequence[t.Dict[str, t.Any]]) -> Demand:
    """What `feature` asks of the driver so that every GPU can have it."""
    needs: t.Dict[str, str] = {}
    refused = []
    for device in devices:
        what = "%s at %s" % (known.model(device), known.subject(device))
        capability = capability_of(device)
        version = known.version(capability)
        if version is None:
            refused.append("%s needs compute capability %s, and that of %s is not known" % (feature.title, feature.rules[0][0], what))
            continue
        fitting = [one for one in feature.rules if _holds(one, version)]
        if fitting:
            needs.setdefault(fitting[0][2], what)
        else:
            refused.append(
                "%s is impossible on this hardware: it needs compute capability %s, and %s has %s" % (feature.title, feature.rules[0][0], what, capability)
            )
    if refused or not needs:
        return Demand(feature, None, refused or ["%s needs a GPU" % feature.title])
    oldest = max(needs, key=lambda text: t.cast("t.Tuple[int, ...]", known.version(text)))
    return Demand(feature, oldest, ["%s needs driver %s on %s" % (feature.title, oldest, needs[oldest])])


def judge(policy: t.Any, devices: t.Sequence[t.Dict[str, t.Any]], current: t.Optional[str]) -> t.Tuple[t.List[t.Any], t.Tuple[t.Any, str], t.List[str]]:
    """`(statuses, (floor, its reason), refusals)` of the features of `policy` (driver_policy.Policy) for the driver `current`."""
    statuses, refused = [], []
    floor: t.Tuple[t.Tuple[int, ...], str] = ((), "")
    pinned = policy.version or (() if policy.branch is None else (policy.branch,))
    for feature in policy.features:
        asked = demand(feature, devices)
        statuses.append(status(asked, current))
        if asked.driver is None:
            refused.extend(asked.lines)
            continue
        need = t.cast("t.Tuple[int, ...]", known.version(asked.driver))
        if pinned and pinned < need[: len(pinned)]:
            refused.append("%s is pinned, and %s" % (policy.version_text or "R%s" % policy.branch, asked.lines[0]))
        if need > floor[0]:
            floor = (need, "%s, which %s needs" % (asked.driver, feature.title))
    return statuses, floor, list(dict.fromkeys(refused))


def status(asked: Demand, current: t.Optional[str]) -> t.Dict[str, str]:
    """`{name, status, detail}` for the driver `current` (None: there is none)."""
    if asked.driver is None:
        return {"name": asked.feature.name, "status": IMPOSSIBLE, "detail": "; ".join(asked.lines)}
    have, need = known.version(current), t.cast("t.Tuple[int, ...]", known.version(asked.driver))
    met = have is not None and have >= need
    return {"name": asked.feature.name, "status": MET if met else NEEDS_DRIVER, "detail": asked.lines[0]}


def capability_of(device: t.Dict[str, t.Any]) -> t.Optional[str]:
    """Compute capability of a device of the facts: as NVML said, else the board catalogue's."""
    stated = known.text(device.get("compute_capability"))
    found = row(device.get("pci")) if stated is None else None
    return found["compute_capability"] if found else stated


def _holds(rule: t.Any, capability: t.Tuple[int, ...]) -> bool:
    lowest, end, _driver = rule
    return t.cast("t.Tuple[int, ...]", known.version(lowest)) <= capability and (end is None or capability < t.cast("t.Tuple[int, ...]", known.version(end)))
