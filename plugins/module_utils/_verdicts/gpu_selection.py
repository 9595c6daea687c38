# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which GPUs a container gets. Private to gpuops.fleet: the names may change in any release.

Settled before a container is touched: a wish that this host cannot meet is one line that names the GPU and the reason.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError

Device = t.Dict[str, t.Any]
KEYS = ("all", "uuids", "indices", "model", "count")
UUID = re.compile(r"GPU-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
STATES = {
    "lost": "is lost",
    "not_visible": "is on the PCI bus, but the driver does not show it",
    "no_driver": "has no driver yet",
    "unknown": "does not answer",
}


def select(devices: t.Sequence[Device], wish: t.Any, held: t.Optional[t.Mapping[str, str]] = None, before_driver: bool = False) -> t.List[str]:
    """Sorted UUIDs of the GPUs of `devices` (as in the facts) that `wish` means.

    wish: None, "all", an empty list or `{}`: every GPU. A list: UUIDs and NVML indices. A dict of `all: true`, `uuids`, `indices`, `model` (regular
    expression that is found in the product name, whatever its case), `count`, or `model` and `count` together. A count passes GPUs over that are
    held or do not work; every other wish is refused when one of its GPUs is.
    held: UUID to the name of the container that has this GPU for itself.
    before_driver: GPUs that wait for their driver count as working ones. They have no UUID yet, so they are missing in the answer, and a UUID that
    nobody can know yet is taken as it is.

    Raises PolicyError with the one line to show.
    """
    wanted = _understood(wish)
    numbered = _numbered(devices, before_driver)
    if not numbered:
        raise PolicyError("this host has no GPU")
    refuse = _Refusal(dict(held or {}), before_driver)
    known = _known(numbered, wanted["uuids"], before_driver)
    if "count" in wanted:
        chosen = _counted(numbered, wanted["model"], wanted["count"], refuse)
    else:
        chosen = _named(numbered, wanted, known)
        reasons = [refuse(gpu, number) for number, gpu in chosen]
        if any(reasons):
            raise PolicyError("; ".join(reason for reason in reasons if reason))
    # A UUID of a GPU without a driver is believed: the proof at the end of a run finds a wrong one.
    believed = [uuid for uuid in wanted["uuids"] if uuid not in known]
    return sorted({gpu["uuid"] for _number, gpu in chosen if gpu.get("uuid")} | set(believed))


class _Refusal:
    """Why a GPU cannot be given away; "" when it can."""

    def __init__(self, held: t.Dict[str, str], before_driver: bool):
        self.held = held
        self.allowed = {"ok", "no_driver"} if before_driver else {"ok"}

    def __call__(self, gpu: Device, number: t.Optional[int]) -> str:
        state = gpu.get("state")
        if state not in self.allowed or (state == "ok" and not gpu.get("uuid")):
            return "%s %s" % (_who(gpu, number), STATES.get(str(state), "has no UUID"))
        holder = self.held.get(gpu.get("uuid") or "")
        return "%s is held by container %s" % (_who(gpu, number), holder) if holder else ""


def _understood(wish: t.Any) -> t.Dict[str, t.Any]:
    """The wish in one form: `uuids`, `indices`, `model`, and `count` where one is wanted. All empty: every GPU."""
    form: t.Dict[str, t.Any] = {"uuids": [], "indices": [], "model": None}
    if wish is None or wish in ("all", [], {}):
        return form
    if isinstance(wish, (list, tuple)):
        words = [str(word).strip() for word in wish]
        wrong = sorted(word for word in words if not word.isdigit() and not UUID.match(word))
        if wrong:
            raise PolicyError("%s is neither an index nor the UUID of a GPU" % ", ".join(wrong))
        return dict(form, uuids=[word for word in words if not word.isdigit()], indices=[int(word) for word in words if word.isdigit()])
    if not isinstance(wish, t.Mapping):
        raise PolicyError("a choice of GPUs is all, a list of indices and UUIDs, or a dictionary of %s, not %r" % (", ".join(KEYS), wish))
    return _from_mapping(form, {key: value for key, value in wish.items() if value is not None and value != []})


def _from_mapping(form: t.Dict[str, t.Any], wish: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    unknown = sorted(str(key) for key in wish if key not in KEYS)
    if unknown:
        raise PolicyError("a choice of GPUs has no %s: it has %s" % (", ".join(unknown), ", ".join(KEYS)))
    if len(wish) > 1 and set(wish) not in ({"model", "count"}, {"uuids", "indices"}):
        raise PolicyError("a choice of GPUs names one of %s, or model and count together, not %s" % (", ".join(KEYS), ", ".join(sorted(wish))))
    if "all" in wish and wish["all"] is not True:
        raise PolicyError("a choice of GPUs: all is true or left out, not %r" % (wish["all"],))
    for key in ("uuids", "indices"):
        if not isinstance(wish.get(key, []), (list, tuple)):
            raise PolicyError("a choice of GPUs: %s is a list, not %r" % (key, wish[key]))
    indices, uuids = [str(value).strip() for value in wish.get("indices", [])], [str(value).strip() for value in wish.get("uuids", [])]
    for word in indices:
        if not word.isdigit():
            raise PolicyError("%s is no index of a GPU" % word)
    for word in uuids:
        if not UUID.match(word):
            raise PolicyError("%s is no UUID of a GPU" % word)
    form = dict(form, uuids=uuids, indices=[int(word) for word in indices], model=wish.get("model"))
    if form["model"] is not None:
        try:
            re.compile(str(form["model"]))
        except re.error as error:
            raise PolicyError("model %s is no regular expression: %s" % (form["model"], error)) from error
    if "count" in wish:
        word = str(wish["count"]).strip()
        if isinstance(wish["count"], bool) or not word.isdigit() or int(word) < 1:
            raise PolicyError("count is %s: it must be a number from 1 on" % wish["count"])
        form["count"] = int(word)
    return form


def _numbered(devices: t.Sequence[Device], before_driver: bool) -> t.List[t.Tuple[t.Optional[int], Device]]:
    """GPUs with their NVML index, in its order. Without a driver the order of the bus addresses, which is the one that NVML will number them in."""
    ordered = sorted(devices, key=lambda gpu: str(gpu.get("bus_address")))
    if before_driver and all(gpu.get("index") is None for gpu in ordered):
        return list(enumerate(ordered))
    return [(gpu.get("index"), gpu) for gpu in sorted(ordered, key=lambda gpu: (gpu.get("index") is None, gpu.get("index") or 0))]


def _known(numbered: t.List[t.Tuple[t.Optional[int], Device]], uuids: t.Sequence[str], before_driver: bool) -> t.Set[str]:
    """UUIDs of this host; an error when one that was asked for is not among them, unless there are GPUs that have not told theirs."""
    known = {gpu["uuid"] for _number, gpu in numbered if gpu.get("uuid")}
    strange = [uuid for uuid in uuids if uuid not in known]
    untold = sum(1 for _number, gpu in numbered if not gpu.get("uuid"))
    if strange and not (before_driver and len(strange) <= untold):
        raise PolicyError("%s is no GPU of this host: %s" % (", ".join(strange), _list(numbered)))
    return known


def _named(numbered: t.List[t.Tuple[t.Optional[int], Device]], wanted: t.Dict[str, t.Any], known: t.Set[str]) -> t.List[t.Tuple[t.Optional[int], Device]]:
    """GPUs that the wish names one by one, or all of a model, or all."""
    numbers = {number for number, _gpu in numbered}
    missing = [str(index) for index in wanted["indices"] if index not in numbers]
    if missing:
        raise PolicyError("there is no GPU %s on this host: %s" % (", ".join(missing), _list(numbered)))
    if wanted["model"] is not None:
        return _of_model(numbered, wanted["model"])
    if not wanted["indices"] and not wanted["uuids"]:
        return numbered
    return [(number, gpu) for number, gpu in numbered if number in wanted["indices"] or (gpu.get("uuid") in wanted["uuids"] and gpu["uuid"] in known)]


def _counted(
    numbered: t.List[t.Tuple[t.Optional[int], Device]], model: t.Optional[str], count: int, refuse: _Refusal
) -> t.List[t.Tuple[t.Optional[int], Device]]:
    """The first `count` free GPUs."""
    there = numbered if model is None else _of_model(numbered, model)
    reasons = [refuse(gpu, number) for number, gpu in there]
    free = [entry for entry, reason in zip(there, reasons) if not reason]
    if len(free) < count:
        of_model = " of model %s" % model if model is not None else ""
        why = "; ".join(reason for reason in reasons if reason) or "there are no more"
        raise PolicyError("of %d GPU(s)%s wanted, %d can be had: %s" % (count, of_model, len(free), why))
    return free[:count]


def _of_model(numbered: t.List[t.Tuple[t.Optional[int], Device]], model: str) -> t.List[t.Tuple[t.Optional[int], Device]]:
    found = [(number, gpu) for number, gpu in numbered if re.search(str(model), str(gpu.get("name") or ""), re.I)]
    if not found:
        raise PolicyError("no GPU of this host is a %s: %s" % (model, _list(numbered)))
    return found


def _list(numbered: t.List[t.Tuple[t.Optional[int], Device]]) -> str:
    return "it has " + ", ".join(" ".join(part for part in (_who(gpu, number), gpu.get("uuid")) if part) for number, gpu in numbered)


def _who(gpu: Device, number: t.Optional[int]) -> str:
    return "GPU%s (%s at %s)" % ("" if number is None else " %d" % number, gpu.get("name") or "unknown model", gpu.get("bus_address"))
