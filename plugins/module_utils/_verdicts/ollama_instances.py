# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which containers the instances that somebody asked for come to. Private to gpuops.fleet: the names may change in any release.

An instance is what clients talk to: an address with models. `spread` makes it one server over all its GPUs, `replicas` one server a group of GPUs,
all with the same models, `pinned` one server a model on GPUs of its own. With more than one server a balancer has the instance's address, and the
servers listen on the loopback ports after it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import gpu_selection, ollama_fit, ollama_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import full_name, manifest

Json = t.Dict[str, t.Any]
SPREAD, REPLICAS, PINNED = "spread", "replicas", "pinned"
LOOPBACK = "127.0.0.1"
ANY_ADDRESS = ("0.0.0.0", "::")
# Docker's rule for names of containers.
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+$")


def resolve(instances: t.Sequence[Json], defaults: Json, devices: t.Sequence[Json]) -> Json:
    """The containers for `instances`; what an instance does not name is taken from `defaults`. `devices`: as in the facts.

    Returns `servers`, `balancers`, `notices` and `problems` (lists; with problems the rest is not to be used). A server has the keys of its instance and
    `instance`, `name` (of the container), `devices` (its GPUs, of the facts), `uuids` (None as long as a GPU has none), `environment`, `models`,
    `address`, `port`, `url`, `balanced`, `questions` (as in `ollama_fit`), `plan`, `proof` and `pulls` (as `_asked`). A balancer has `instance`, `name`,
    `address`, `port`, `url`, `by_model`, and `servers`: `[{name, port, models}]`.
    """
    result: Json = {"servers": [], "balancers": [], "notices": [], "problems": []}
    for given in instances:
        instance = dict(defaults, **{key: value for key, value in given.items() if value is not None})
        instance.setdefault("name", "ollama")
        try:
            _Instance(instance, devices, result).take()
        except PolicyError as error:
            result["problems"].append("instance %s: %s" % (instance["name"], error.message))
    result["problems"].extend(_collisions(result))
    return result


class _Instance:
    """One instance with all its settings. `result` as `resolve` returns it."""

    def __init__(self, instance: Json, devices: t.Sequence[Json], result: Json):
        self.instance, self.devices, self.result = instance, devices, result
        self.name = str(instance["name"])
        self.models: t.List[Json] = [dict(model) for model in instance.get("models") or []]

    def take(self) -> None:
        if not NAME.match(self.name):
            raise PolicyError("the name may hold letters, digits, dots, dashes and underscores, two at least")
        if not 1 <= int(self.instance["port"]) <= 65535:
            raise PolicyError("port %s is no port" % self.instance["port"])
        settings = ollama_settings.translate(self.instance.get("environment") or {}, ollama_settings.version(self.instance.get("image")))
        self.result["notices"].extend("%s: %s" % (self.name, line) for line in settings["notices"])
        if settings["problems"]:
            raise PolicyError("; ".join(settings["problems"]))
        for model in self.models:
            if settings["parameters"]:
                model["parameters"] = dict(settings["parameters"], **(model.get("parameters") or {}))
        wish = self.instance.get("gpus")
        if settings["gpus"] is not None:
            if wish:
                raise PolicyError("the GPUs are chosen twice, with gpus and with CUDA_VISIBLE_DEVICES or NVIDIA_VISIBLE_DEVICES")
            wish = settings["gpus"]
        chosen = _choose(self.devices, wish)
        spread = bool(self.instance.get("sched_spread")) or bool(settings["sched_spread"])
        groups = self._groups(chosen)
        for place, (group, models) in enumerate(groups):
            self._server(place, len(groups) > 1, group, models, dict(settings["environment"], OLLAMA_SCHED_SPREAD="1" if spread else "0"))
        if len(groups) > 1:
            self._balancer(len(groups))

    def _groups(self, chosen: t.List[Json]) -> t.List[t.Tuple[t.List[Json], t.List[Json]]]:
        """(GPUs, models) of each server."""
        topology = self.instance.get("topology") or SPREAD
        if topology == SPREAD:
            return [(chosen, self.models)]
        if topology == REPLICAS:
            size = int(self.instance.get("gpus_per_replica") or 1)
            if size < 1 or len(chosen) % size:
                raise PolicyError("%d GPU(s) cannot be shared out in groups of %d (gpus_per_replica)" % (len(chosen), size))
            return [(chosen[start : start + size], self.models) for start in range(0, len(chosen), size)]
        if topology == PINNED:
            return self._pinned(chosen)
        raise PolicyError("topology %s is not known: use spread, replicas or pinned" % topology)

    def _pinned(self, chosen: t.List[Json]) -> t.List[t.Tuple[t.List[Json], t.List[Json]]]:
        """One server for each set of GPUs that models name with `gpus`, in the order of the models."""
        groups: t.List[t.Tuple[t.List[Json], t.List[Json]]] = []
        if not self.models:
            raise PolicyError("topology pinned needs models, each with gpus")
        for model in self.models:
            if not model.get("gpus"):
                raise PolicyError("topology pinned: model %s does not say which of the GPUs it gets (gpus)" % model["name"])
            wanted = _choose(chosen, model["gpus"], self.devices)
            known = next((models for group, models in groups if [gpu["bus_address"] for gpu in group] == [gpu["bus_address"] for gpu in wanted]), None)
            if known is not None:
                known.append(model)
                continue
            shared = {gpu["bus_address"] for group, _models in groups for gpu in group} & {gpu["bus_address"] for gpu in wanted}
            if shared:
                which = (model["name"], ", ".join(sorted(shared)))
                raise PolicyError("topology pinned: model %s gets only a part of the GPUs of another model's server (%s)" % which)
            groups.append((wanted, [model]))
        return groups

    def _server(self, place: int, balanced: bool, group: t.List[Json], models: t.List[Json], environment: t.Dict[str, str]) -> None:
        address = LOOPBACK if balanced else str(self.instance["bind_address"])
        port = int(self.instance["port"]) + (1 + place if balanced else 0)
        uuids = [str(gpu["uuid"]) for gpu in group if gpu.get("uuid")]
        server = dict(
            {key: value for key, value in self.instance.items() if key not in ("gpus", "environment", "port", "bind_address")},
            instance=self.name, name="%s-%d" % (self.name, place) if balanced else self.name, devices=group,
            uuids=sorted(uuids) if len(uuids) == len(group) else None,
            environment=environment, models=models, address=address, port=port, url=_url(address, port), balanced=balanced,
        )
        self.result["servers"].append(dict(server, questions=ollama_fit.questions(server), **_asked(server)))

    def _balancer(self, count: int) -> None:
        servers = self.result["servers"][-count:]
        names = [sorted({alias for model in server["models"] for alias in _aliases(model["name"])}) for server in servers]
        address, port = str(self.instance["bind_address"]), int(self.instance["port"])
        self.result["balancers"].append({
            "instance": self.name, "name": "%s-balancer" % self.name, "address": address, "port": port, "url": _url(address, port),
            "by_model": any(one != names[0] for one in names),
            "servers": [{"name": server["name"], "port": server["port"], "models": models} for server, models in zip(servers, names)],
        })


def _asked(server: Json) -> Json:
    """The server as modules want it: `plan` for ollama_model_plan, `proof` (only models that are to be in memory) for ollama_placement_check.

    And `pulls`: [{name, manifest (address), stored (path in the store), insecure}] of the models that come from a registry.
    """
    plan, proof, pulls = [], [], []
    for model in server["models"]:
        wish = {key: model[key] for key in ("name", "file", "source", "parameters", "template") if model.get(key) is not None}
        loaded = model.get("loaded", True) is not False
        plan.append(dict(wish, loaded=loaded))
        if not model.get("file") and not model.get("upload"):
            insecure = bool(model.get("insecure"))
            place = manifest(str(model.get("source") or model["name"]), insecure)
            pulls.append({"name": model["name"], "manifest": place["url"], "stored": place["stored"], "insecure": insecure})
        if loaded:
            context = (model.get("parameters") or {}).get("num_ctx")
            proof.append(dict({"name": model["name"]}, **({} if context is None else {"num_ctx": context})))
    return {
        "pulls": pulls,
        "plan": {"name": server["name"], "base_url": server["url"], "models": plan},
        "proof": {
            "container": server["name"], "base_url": server["url"], "expected_uuids": server["uuids"],
            "require_gpu": bool(server.get("require_gpu", True)), "models": proof,
        },
    }  # fmt: skip


def _choose(devices: t.Sequence[Json], wish: t.Any, among: t.Optional[t.Sequence[Json]] = None) -> t.List[Json]:
    """The GPUs of `devices` that `wish` means. `among`: all GPUs of the host, for indices count over these.

    Before there is a driver GPUs have no UUID: they are then chosen by their place on the bus, and a UUID that is asked for is believed.
    """
    everything = among or devices
    marks = {_mark(gpu): gpu for gpu in everything if not gpu.get("uuid")}
    marked = [gpu if gpu.get("uuid") else dict(gpu, uuid=_mark(gpu)) for gpu in everything]
    by_uuid = dict({str(gpu["uuid"]): gpu for gpu in marked}, **marks)
    words = wish.get("uuids", []) if isinstance(wish, dict) else wish if isinstance(wish, (list, tuple)) else []
    strangers = [str(word) for word in words if gpu_selection.UUID.match(str(word)) and str(word) not in by_uuid] if marks else []
    if strangers:
        return [{"uuid": uuid, "bus_address": uuid} for uuid in gpu_selection.select(everything, wish, before_driver=True)]
    chosen = [by_uuid[uuid] for uuid in gpu_selection.select(marked, wish, before_driver=bool(marks))]
    outside = [gpu["bus_address"] for gpu in chosen if gpu not in devices]
    if outside:
        raise PolicyError("GPU %s is none of the instance's" % ", ".join(outside))
    return sorted(chosen, key=lambda gpu: str(gpu["bus_address"]))


def _mark(gpu: Json) -> str:
    """What stands for the UUID that a GPU has not told yet: its bus address in the form of one."""
    return "GPU-00000000-0000-0000-0000-" + re.sub("[^0-9a-f]", "", str(gpu.get("bus_address"))).rjust(12, "0")


def _aliases(name: str) -> t.List[str]:
    """Every way to write a model's name: `tiny` and `tiny:latest` are one."""
    full = full_name(name)
    return [full, full[: -len(":latest")]] if full.endswith(":latest") else [full]


def _url(address: str, port: int) -> str:
    """Where the host itself reaches a listener."""
    return "http://%s:%d" % (LOOPBACK if address in ANY_ADDRESS else "[%s]" % address if ":" in address else address, port)


def _collisions(result: Json) -> t.List[str]:
    """What two containers cannot have both: a name, a port, and a GPU unless both leave `exclusive` off."""
    problems = []
    names: t.Dict[str, str] = {}
    ports: t.Dict[int, str] = {}
    gpus: t.Dict[str, Json] = {}
    for one in result["servers"] + result["balancers"]:
        for kept, key, what in ((names, one["name"], "the name %s"), (ports, one["port"], "port %s")):
            if key in kept:
                problems.append("instances %s and %s both want %s" % (kept[key], one["instance"], what % key))
            kept[key] = one["instance"]
        for gpu in one.get("devices", ()):
            other = gpus.setdefault(gpu["bus_address"], one)
            if other is not one and (other.get("exclusive", True) or one.get("exclusive", True)):
                problems.append("%s and %s both want GPU %s; take one away, or set exclusive: false on both" % (
                    other["name"], one["name"], gpu.get("uuid") or gpu["bus_address"]))
    return problems
