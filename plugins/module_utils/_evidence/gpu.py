# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that gpu_facts returns, read once. Private to gpuops.fleet: the names may change in any release.

What only some hosts or subsets need is imported where it is needed: a target compiles every import anew at every run.
"""

from __future__ import annotations

import importlib.util
import os
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver, join, pci

Run = t.Callable[..., t.Tuple[int, str, str]]
Emit = t.Callable[[t.Any], None]
Facts = t.Dict[str, t.Any]

READERS = ("auto", "pynvml", "nvidia_smi", "none")
# What is read unless told otherwise, and what costs more: a command, a log, a flash memory, or code that most hosts need not compile.
CHEAP = ("pci", "devices", "driver", "host")
SUBSETS = ("all",) + CHEAP + ("topology", "dkms", "packages", "boot", "kernel_log", "power", "inforom")
NOT_GATHERED = "not gathered"
# nvmlReturn_t after which another way to the same library can still answer: not found, function not found.
TRY_NEXT = (12, 13)
GRACE_SECONDS = 3


def read_gpu(run: Run, reader: str = "auto", timeout_seconds: float = 20, gather_subset: t.Sequence[str] = CHEAP, root: str = "") -> t.Dict[str, t.Any]:
    """`ansible_facts.gpu` as docs/architecture.md has it. Never raises for what a machine lacks.

    `run(args, timeout_seconds=…)` runs a command and returns `(rc, stdout, stderr)`, rc 127 without the program, 124 after the time-out.
    `reader`: one of READERS. `gather_subset`: any of SUBSETS; what is left out is null with the reason `not gathered`.
    `timeout_seconds` is the limit of each read that can block. `root` is put before every path (tests).
    """
    wanted = set(SUBSETS if "all" in gather_subset else gather_subset)
    module = driver.loaded(root)
    # NVML first, in a child process: it takes longest, and the files are read meanwhile.
    asking = _start(run, reader if "devices" in wanted else "none", timeout_seconds, module["loaded"], "inforom" in wanted)
    gpus, nvswitches = pci.scan(root) if wanted & {"pci", "devices", "host", "topology", "packages"} else ([], [])
    devices = pci.read(root, gpus) if wanted & {"pci", "devices", "topology"} else None
    installed, package_source, package_reason = None, "", NOT_GATHERED
    if wanted & {"driver", "host", "packages"}:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import packages

        installed, package_source, package_reason = packages.read(run, root, timeout_seconds)
    host_facts = driver_facts = None
    if "driver" in wanted:
        driver_facts = driver.read(run, root, timeout_seconds, os.uname().release)
        driver_facts["packages"] = None if installed is None else packages.driver_packages(installed)
        if installed is None:
            driver_facts["unavailable"]["packages"] = package_reason
        else:
            driver_facts["sources"]["packages"] = package_source
    if "host" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import host

        host_facts = host.read(run, root, timeout_seconds, installed, nvswitches)
    extra_driver, extra_host = _extras(wanted, run, root, timeout_seconds)
    if "packages" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver_origin

        of_driver, of_host = driver_origin.read(run, (installed, package_reason), gpus, root, timeout_seconds)
        extra_driver, extra_host = _merged(extra_driver, of_driver) or {}, _merged(extra_host, of_host) or {}
    answer = _finish(asking, run, reader, timeout_seconds, "inforom" in wanted)
    if "devices" not in wanted:
        answer["error"] = NOT_GATHERED
    elif not module["loaded"]:
        answer["error"] = module["reason"]
    found = join.facts(
        on_pci=devices,
        information={} if devices is None else driver.information(root),
        loaded=module["loaded"],
        answer=answer,
        driver=_merged(driver_facts, extra_driver),
        host=_merged(host_facts, extra_host),
        not_gathered=NOT_GATHERED,
        without=() if "inforom" in wanted else ("inforom_valid",),
    )
    if "topology" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import topology

        found["host"]["topology"] = topology.matrix(found["devices"], {one["bus_address"]: one["route"] for one in devices or ()}, nvswitches)
        found["host"]["unavailable"].pop("topology", None)
    return found


def _extras(wanted: t.Set[str], run: Run, root: str, timeout_seconds: float) -> t.Tuple[Facts, Facts]:
    """What `driver` and `host` get from subsets of their own."""
    of_driver: Facts = {}
    of_host: Facts = {"unavailable": {}, "sources": {}}
    if "dkms" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import dkms

        of_driver = {"dkms": dkms.read(root), "sources": {"dkms": dkms.TREE}}
    if "boot" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import boot_entry

        _note(of_host, "boot_kernel_release", *boot_entry.read(root))
    if "kernel_log" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_log

        _note(of_host, "kernel_events", *kernel_log.read(run, root, timeout_seconds))
    if "power" in wanted:
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import power

        of_host = _merged(power.read(root), of_host) or of_host
    return of_driver, of_host


def _note(part: Facts, field: str, value: t.Any, source: str, reason: str) -> None:
    part[field] = value
    if value is None:
        part["unavailable"][field] = reason
    else:
        part["sources"][field] = source


def _merged(one: t.Optional[Facts], other: Facts) -> t.Optional[Facts]:
    if one is None:
        return other or None
    found = dict(one, **other)
    for name in ("unavailable", "sources"):
        found[name] = dict(one.get(name, {}), **other.get(name, {}))
    return found


def importable() -> bool:
    """Whether NVML's Python binding is installed for this Python."""
    try:
        return importlib.util.find_spec("pynvml") is not None
    except (ImportError, ValueError):
        return False


class _Asking:
    """NVML asked in a child process, which also compiles the reader: on the way to the answer nothing of both is waited for twice."""

    def __init__(self, reader: str, run: Run, timeout_seconds: float, inforom: bool = False):
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child

        self.reader = reader
        if reader == "pynvml":
            self._child = Child(lambda emit: _pynvml(emit, inforom), timeout_seconds)
        else:
            # The command has its own time-out; the child's is for an nvidia-smi that not even SIGKILL ends.
            self._child = Child(lambda emit: _nvidia_smi(run, timeout_seconds, emit, inforom), timeout_seconds + GRACE_SECONDS)

    def result(self) -> t.Dict[str, t.Any]:
        """As `nvml_answer.answer`."""
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml_answer

        return nvml_answer.whole(self.reader, *self._child.results())


def _pynvml(emit: Emit, inforom: bool) -> None:
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml

    nvml.ask(emit, inforom)


def _nvidia_smi(run: Run, timeout_seconds: float, emit: Emit, inforom: bool) -> None:
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvidia_smi

    nvidia_smi.ask(run, timeout_seconds, emit, inforom)


def _start(run: Run, reader: str, timeout_seconds: float, loaded: bool, inforom: bool) -> t.Optional[_Asking]:
    # Without the kernel module NVML cannot answer; asked by root it would even load the module, and facts change nothing.
    if not loaded or reader == "none":
        return None
    if reader in ("auto", "pynvml") and importable():
        return _Asking("pynvml", run, timeout_seconds, inforom)
    return None if reader == "pynvml" else _Asking("nvidia-smi", run, timeout_seconds, inforom)


def _finish(asking: t.Optional[_Asking], run: Run, reader: str, timeout_seconds: float, inforom: bool) -> t.Dict[str, t.Any]:
    if asking is None:
        reason = "the reader is set to none" if reader == "none" else "pynvml is not installed on the target"
        return {"reader": None, "driver_version": None, "cuda_version": None, "devices": [], "error": reason, "code": None}
    answer = asking.result()
    # A hang, or a module and a library that differ, would meet nvidia-smi as well. A binding that does not work would not.
    if reader == "auto" and answer["reader"] == "pynvml" and not answer["devices"] and (answer["code"] in TRY_NEXT or "imported" in answer["error"]):
        second = _Asking("nvidia-smi", run, timeout_seconds, inforom).result()
        return answer if second["error"] and not second["devices"] else second
    return answer
