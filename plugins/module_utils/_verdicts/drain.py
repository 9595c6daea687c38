# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds the GPUs, who of them may be stopped, and in which order. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, WARN, Check, evidence

Holder = t.Dict[str, t.Any]
Entry = t.Dict[str, t.Any]
Units = t.Dict[str, t.Dict[str, t.Any]]

SWARM_LABEL = "com.docker.swarm.task.id"


class Allowed(t.NamedTuple):
    """What may be stopped. `services`: names of units, in the order of stopping. `labels`: KEY or KEY=VALUE."""

    services: t.Sequence[str]
    containers: t.Sequence[str]
    labels: t.Sequence[str]


def unit_name(name: str) -> str:
    """`name` with the suffix of a service when it has none of a unit."""
    return name if name.rpartition(".")[2] in ("service", "socket", "timer", "path", "target", "scope", "slice", "mount", "device") else name + ".service"


def holders(
    processes: t.Sequence[t.Dict[str, t.Any]], containers: t.Optional[t.Sequence[t.Dict[str, t.Any]]], units: Units, allowed: Allowed
) -> t.List[Holder]:
    """Everything that has GPUs: by container, by service, and processes of neither.

    `kind` (container, service, process), `name`, `id`, `engine`, `pids` ([{pid, command, user}]), `nodes` (device files open or mapped), `gpus` (how a
    container was given GPUs), `may_stop`, and `why_not` ("" when it may). A container that was given GPUs counts although it holds none at the moment:
    the files of the driver that it has mounted are those of the old one after an upgrade. So does a service that is named and runs.
    """
    found: t.Dict[t.Tuple[str, str], Holder] = {}
    for one in containers or []:
        if one["gpus"]:
            found["container", one["id"]] = _container(one, allowed)
    for unit in _named_units(units, allowed):
        if units[unit]["on"]:
            found["service", unit] = _holder("service", unit)
    for process in processes:
        key, holder = _owner(process, containers, units, allowed)
        holder = found.setdefault(key, holder)
        holder["pids"].append({"pid": process["pid"], "command": process["command"], "user": process["user"]})
        holder["nodes"] = sorted(set(holder["nodes"]) | set(process["nodes"]))
    return sorted(found.values(), key=lambda one: (one["kind"], one["name"]))


def _holder(kind: str, name: str, why_not: str = "", **more: t.Any) -> Holder:
    holder: Holder = {"kind": kind, "name": name, "id": None, "engine": None, "unit": None, "gpus": None, "pids": [], "nodes": []}
    holder.update(more, may_stop=not why_not, why_not=why_not)
    return holder


def _named_units(units: Units, allowed: Allowed) -> t.List[str]:
    """The real names of the units that may be stopped, in their order; an alias is the unit that it stands for."""
    real = []
    for name in allowed.services:
        unit = units.get(unit_name(name), {}).get("id") or unit_name(name)
        if unit in units and unit not in real:
            real.append(unit)
    return real


def _owner(
    process: t.Dict[str, t.Any], containers: t.Optional[t.Sequence[t.Dict[str, t.Any]]], units: Units, allowed: Allowed
) -> t.Tuple[t.Tuple[str, str], Holder]:
    identity, engine, unit = process["container"], process["engine"], process["unit"]
    for one in containers or []:
        if one["id"] == identity:
            return ("container", identity), _container(one, allowed)
    if identity:
        why = "only containers of the system's Docker can be stopped"
        if engine == "docker" and containers is None:
            why = "Docker's daemon does not run, so the container cannot be stopped"
        return ("container", identity), _holder("container", identity[:12], why, id=identity, engine=engine)
    if unit and unit.endswith(".service"):
        why = "" if unit in _named_units(units, allowed) else "services does not name it"
        return ("service", unit), _holder("service", unit, why)
    return ("process", str(process["pid"])), _holder("process", str(process["pid"]), "processes are never ended", unit=unit)


def _container(one: t.Dict[str, t.Any], allowed: Allowed) -> Holder:
    labels = one["labels"]
    labelled = any(key in labels and (not equals or labels[key] == value) for key, equals, value in (label.partition("=") for label in allowed.labels))
    why = ""
    if not labelled and one["name"] not in allowed.containers and one["id"] not in allowed.containers:
        why = "neither containers nor container_labels names it"
    elif one["auto_remove"]:
        why = "it is removed when it stops (--rm), so it cannot be started again"
    elif SWARM_LABEL in labels:
        why = "Docker Swarm would start another one: scale its service down"
    elif one["paused"]:
        why = "it is paused"
    return _holder("container", one["name"], why, id=one["id"], engine="docker", gpus=one["gpus"])


def blocking(found: t.Sequence[Holder]) -> t.List[Holder]:
    """Those that may not be stopped."""
    return [one for one in found if not one["may_stop"]]


def holding(found: t.Sequence[Holder]) -> t.List[Holder]:
    """Those that hold or were given a GPU; not services that are only named."""
    return [one for one in found if one["nodes"] or one["gpus"]]


def to_stop(found: t.Sequence[Holder], containers: t.Optional[t.Sequence[t.Dict[str, t.Any]]], units: Units, allowed: Allowed) -> t.List[Entry]:
    """What has to be stopped, in this order: containers, then services, so that a container's services are there again before it.

    A unit that starts a service (a socket, a timer) is stopped after it, for it has to be started before it.
    """
    entries: t.List[Entry] = []
    known = {one["id"]: one for one in containers or []}
    for one in found:
        if one["kind"] == "container" and one["may_stop"]:
            whole = known[one["id"]]
            entries.append({"kind": "container", "name": one["name"], "id": one["id"], "image": whole["image"], "restart_policy": whole["restart_policy"],
                            "restarting": whole["restarting"], "stop_seconds": whole["stop_seconds"]})  # fmt: skip
    for unit in _named_units(units, allowed):
        # One that starts it while it is down, too: it would be back at any time.
        for name in [unit] + units[unit]["triggered_by"]:
            state = units.get(name, {"on": False, "ending": False})
            if (state["on"] or state["ending"]) and name not in [entry["name"] for entry in entries]:
                # Somebody else stops it already: that is waited for, and is not this run's doing.
                entries.append(dict({"kind": "service", "name": name}, **({"ending": True} if state["ending"] else {})))
    return entries


def unexplained(modules: t.Sequence[t.Dict[str, t.Any]]) -> t.List[str]:
    """Loaded modules that have more users than modules that depend on them. With no process left, the user is in the kernel or in another host's view."""
    return ["%s (%d users)" % (one["name"], one["users"] - len(one["used_by"])) for one in modules if (one["users"] or 0) > len(one["used_by"])]


def told(holder: Holder) -> str:
    """A holder in words."""
    who = {"container": "container %s", "service": "service %s", "process": "process %s"}[holder["kind"]] % holder["name"]
    inner = [holder["engine"]] if holder["engine"] not in (None, "docker") else []
    if holder["kind"] == "process":
        inner += [holder["pids"][0]["command"], "user %s" % holder["pids"][0]["user"]] + ([holder["unit"]] if holder["unit"] else [])
    elif holder["pids"]:
        inner.append("process %s" % ", ".join("%d %s" % (one["pid"], one["command"]) for one in holder["pids"][:3]))
        if len(holder["pids"]) > 3:
            inner.append("and %d more" % (len(holder["pids"]) - 3))
    what = "has %s open" % ", ".join(holder["nodes"]) if holder["nodes"] else "was given GPUs by %s" % holder["gpus"] if holder["gpus"] else "runs"
    return "%s%s %s" % (who, " (%s)" % ", ".join(inner) if inner else "", what)


def named(entry: Entry) -> str:
    """An entry of the record in words."""
    return "%s %s" % (entry["kind"], entry["name"])


def check(found: t.Sequence[Holder], modules: t.Sequence[t.Dict[str, t.Any]], docker: bool) -> Check:
    """`gpu.holders`: nothing holds a GPU, so the driver can be exchanged."""
    check_id, wanted = "gpu.holders", "no process and no container with a GPU"
    held = holding(found)
    seen = [evidence("/proc/*/fd, /proc/*/maps", ", ".join(sorted({node for one in found for node in one["nodes"]})) or "no device file of the driver")]
    seen.append(evidence("Docker", ", ".join(one["name"] for one in held if one["gpus"]) or ("no container with GPUs" if docker else "does not run")))
    if blocking(held):
        summary = "; ".join("%s: %s" % (told(one), one["why_not"]) for one in blocking(held))
        return Check(check_id, "host", FAIL, summary, wanted, seen, "end it by hand, wait for it, or name its service or container as one that may be stopped")
    if held:
        return Check(check_id, "host", WARN, "; ".join(told(one) for one in held), wanted, seen, "gpu_drain with policy stop stops and records them")
    users = unexplained(modules)
    if users:
        seen.append(evidence("/sys/module/*/refcnt", ", ".join(users)))
        remedy = "a console or a module of another vendor uses the driver: reboot instead of reloading it"
        return Check(check_id, "host", WARN, "no process holds a GPU, but the kernel counts users of %s" % ", ".join(users), wanted, seen, remedy)
    return Check(check_id, "host", PASS, "nothing holds a GPU", wanted, seen)
