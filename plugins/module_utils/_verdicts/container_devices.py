# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do device nodes, control group and driver libraries in a container fit the driver that runs. Private to gpuops.fleet: names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import container_wish

Facts = t.Dict[str, t.Any]
CONTROL, MEMORY = "/dev/nvidiactl", "/dev/nvidia-uvm"
DENIED = "Operation not permitted"
RESTART = {
    container_wish.DEVICES: "recreate the container: what --device gave it is settled when it is created",
    container_wish.DEVICE_REQUEST: "docker restart %s: devices and libraries are put in when it starts",
    container_wish.RUNTIME: "docker restart %s: devices and libraries are put in when it starts",
    container_wish.CDI: "systemctl restart nvidia-cdi-refresh.service, then docker restart %s: it starts with what the specification says",
}
HOOK = (
    "; to keep them over the next systemctl daemon-reload, give the GPUs by CDI, or by runtime nvidia with container toolkit 1.18 or newer, and recreate "
    "the container"
)


def device_nodes(host: Facts, inside: Facts, container: str, expected_uuids: t.Sequence[str], how: str) -> Check:
    """`container.device_nodes`: the nodes of its GPUs are there, with the device numbers that the driver has now."""
    check_id, wanted = "container.device_nodes", "the nodes of its GPUs, nvidiactl and nvidia-uvm, numbered as on the host"
    if not expected_uuids:
        return Check(check_id, container, SKIPPED, "no GPU is asked for", wanted)
    source = "/proc/PID/root/dev"
    if inside["nodes"] is None:
        return Check(
            check_id, container, UNKNOWN, "the device nodes inside could not be read: %s" % inside["reason"], wanted, [evidence(source, None)],
            "run the task as root (become)",
        )  # fmt: skip
    minors = {gpu["uuid"]: gpu["minor"] for gpu in host["gpus"]}
    unknown = sorted(uuid for uuid in expected_uuids if minors.get(uuid) is None)
    if unknown:
        return Check(
            check_id, container, UNKNOWN, "the driver does not tell the device of %s" % ", ".join(unknown), wanted,
            [evidence("/proc/driver/nvidia/gpus", ", ".join(sorted(str(uuid) for uuid in minors)) or None)], "see that the driver runs: nvidia-smi -L",
        )  # fmt: skip
    needed = ["/dev/nvidia%d" % minors[uuid] for uuid in expected_uuids] + [CONTROL]
    missing = sorted(path for path in needed if path not in inside["nodes"])
    wrong = ["%s is %d:%d, on the host %d:%d" % tuple([path] + inside["nodes"][path] + host["nodes"][path])
             for path in sorted(inside["nodes"]) if path in host["nodes"] and inside["nodes"][path] != host["nodes"][path]]  # fmt: skip
    seen = [evidence(source, ", ".join("%s %d:%d" % tuple([path] + numbers) for path, numbers in sorted(inside["nodes"].items())) or "none")]
    if missing or wrong:
        parts = ["%s %s missing" % (", ".join(missing), "is" if len(missing) == 1 else "are")] if missing else []
        return Check(check_id, container, FAIL, "; ".join(parts + wrong), wanted, seen, _again(how, container))
    if MEMORY not in inside["nodes"]:
        remedy = ("modprobe nvidia-uvm, then " if MEMORY not in host["nodes"] else "") + _again(how, container)
        return Check(check_id, container, WARN, "%s is missing: CUDA cannot compute" % MEMORY, wanted, seen, remedy)
    return Check(check_id, container, PASS, "the nodes of its GPUs are there, numbered as on the host", wanted, seen)


def device_cgroup(opened: t.Optional[t.Dict[str, str]], reason: str, container: str, expected_uuids: t.Sequence[str], how: str) -> Check:
    """`container.device_cgroup`: its control group lets processes open the nodes that are there. Proven by opening them."""
    check_id, wanted = "container.device_cgroup", "the control group allows every NVIDIA device node inside"
    source = "docker exec %s sh: open for reading and writing" % container
    if not expected_uuids:
        return Check(check_id, container, SKIPPED, "no GPU is asked for", wanted)
    if opened is None:
        return Check(
            check_id, container, UNKNOWN, "no device node could be opened to try: %s" % reason, wanted, [evidence(source, None)],
            "the image has no shell: run a program of your own in the container, or compare with container.gpus",
        )  # fmt: skip
    if not opened:
        return Check(check_id, container, SKIPPED, "there is no device node inside (see container.device_nodes)", wanted)
    seen = [evidence(source, "; ".join("%s: %s" % (path, error or "opens") for path, error in sorted(opened.items())))]
    denied = sorted(path for path, error in opened.items() if error == DENIED)
    if denied:
        summary = "the control group forbids %s: systemd took the devices away from the running container (systemctl daemon-reload does it)" % ", ".join(denied)
        hook = HOOK if how in (container_wish.DEVICE_REQUEST, container_wish.RUNTIME) else ""
        return Check(check_id, container, FAIL, summary, wanted, seen, _again(how, container) + hook)
    return Check(check_id, container, PASS, "the control group allows the %d device nodes inside" % len(opened), wanted, seen)


def driver_libraries(host: Facts, inside: Facts, container: str, expected_uuids: t.Sequence[str], how: str) -> Check:
    """`container.driver_libraries`: the libraries that were mounted belong to the driver that is loaded."""
    check_id, loaded = "container.driver_libraries", host["loaded_version"]
    wanted = "libnvidia-ml and libcuda of driver %s" % (loaded or "(none is loaded)")
    if not expected_uuids:
        return Check(check_id, container, SKIPPED, "no GPU is asked for", wanted)
    source = "/proc/PID/mountinfo"
    if inside["libraries"] is None or loaded is None:
        why = "no driver is loaded" if loaded is None else "what is mounted could not be read: %s" % inside["reason"]
        remedy = "load the driver: modprobe nvidia" if loaded is None else "run the task as root (become)"
        return Check(check_id, container, UNKNOWN, why, wanted, [evidence(source, None)], remedy)
    found = inside["libraries"]
    seen = [evidence(source, ", ".join("%s.so.%s" % (name, version) for name in sorted(found) for version in found[name]) or "none"),
            evidence("/sys/module/nvidia/version", loaded)]  # fmt: skip
    old = sorted({version for versions in found.values() for version in versions if version != loaded})
    if old:
        summary = "it was started before the driver was exchanged: its libraries are of %s, and %s is loaded" % (", ".join(old), loaded)
        return Check(check_id, container, FAIL, summary, wanted, seen, _again(how, container))
    if not found:
        return Check(check_id, container, FAIL, "no library of the driver is mounted", wanted, seen, _again(how, container))
    if "libcuda" not in found:
        remedy = "set NVIDIA_DRIVER_CAPABILITIES=compute,utility and recreate the container"
        return Check(check_id, container, WARN, "libcuda is not mounted: programs in it compute on the processor", wanted, seen, remedy)
    return Check(check_id, container, PASS, "its libraries belong to the loaded driver", wanted, seen)


def cdi_spec(host: Facts, specs: t.Sequence[Facts], container: str, expected_uuids: t.Sequence[str], how: str) -> Check:
    """`container.cdi_spec`: the CDI specification that the next start of the container uses fits the driver that runs."""
    check_id, wanted = "container.cdi_spec", "one specification, of the loaded driver, with every GPU and the device numbers of the host"
    if how != container_wish.CDI:
        return Check(check_id, container, SKIPPED, "the container does not get its GPUs by CDI names", wanted)
    remedy = "systemctl restart nvidia-cdi-refresh.service (or nvidia-ctk cdi generate --output=/var/run/cdi/nvidia.yaml), then docker restart %s" % container
    if not specs:
        return Check(
            check_id, container, FAIL, "there is no CDI specification: the container will not start again", wanted,
            [evidence("/etc/cdi, /var/run/cdi", "none")], remedy,
        )  # fmt: skip
    seen = [evidence(spec["path"], "driver %s; %s" % (", ".join(spec["driver_versions"]) or "unknown", ", ".join(spec["devices"]))) for spec in specs]
    if host["loaded_version"] is None:
        return Check(check_id, container, UNKNOWN, "no driver is loaded to compare with", wanted, seen, "load the driver: modprobe nvidia")
    problems = [problem for spec in specs for problem in _of_spec(spec, host)]
    twice = sorted({name for index, spec in enumerate(specs) for other in specs[:index] for name in set(spec["devices"]) & set(other["devices"])})
    if twice:
        problems.append("%s name the same devices, so Docker resolves none of them" % " and ".join(spec["path"] for spec in specs))
        remedy = "remove %s, and keep the file that nvidia-cdi-refresh.service writes" % ", ".join(
            spec["path"] for spec in specs if not spec["path"].startswith("/var/run/")
        )
    known = {name for spec in specs for name in spec["devices"]}
    lacking = sorted(uuid for uuid in expected_uuids if uuid not in known)
    if lacking and not twice:
        problems.append("it lacks %s" % ", ".join(lacking))
    if problems:
        return Check(check_id, container, FAIL, "the CDI specification is stale: %s" % "; ".join(problems), wanted, seen, remedy)
    return Check(check_id, container, PASS, "the CDI specification fits the loaded driver", wanted, seen)


def _of_spec(spec: Facts, host: Facts) -> t.List[str]:
    others = [version for version in spec["driver_versions"] if version != host["loaded_version"]]
    problems = ["%s mounts libraries of %s, and %s is loaded" % (spec["path"], ", ".join(others), host["loaded_version"])] if others else []
    for path, numbers in sorted(spec["nodes"].items()):
        if path not in host["nodes"]:
            problems.append("%s names %s, which the host does not have" % (spec["path"], path))
        elif numbers != host["nodes"][path]:
            problems.append("%s has %s as %d:%d, the host as %d:%d" % tuple([spec["path"], path] + numbers + host["nodes"][path]))
    return problems


def _again(how: str, container: str) -> str:
    words = RESTART.get(how, "give it GPUs by CDI or runtime nvidia and recreate the container")
    return words % container if "%s" in words else words
