# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the driver that is to run the one that runs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, Check, PolicyError, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

GATHER = "Gather facts with gpuops.fleet.gpu_facts on the host itself and pass all of them."


def check(
    facts: t.Any, expected_version: t.Optional[str] = None, expected_flavor: t.Optional[str] = None, expected_count: t.Optional[int] = None
) -> t.List[Check]:
    """`driver.loaded`, `driver.consistent` and `driver.gpus`. `expected_version` is a whole version or a branch; `expected_count` None: all on the PCI bus."""
    if expected_version is not None and known.version(expected_version) is None:
        raise PolicyError("expected_version is %s: it must be a version or branch such as 580.95.05 or 580" % expected_version, option="expected_version")
    if expected_count is not None and expected_count < 0:
        raise PolicyError("expected_count is %d: it must be 0 or more" % expected_count, option="expected_count")
    return [_loaded(facts, expected_version, expected_flavor), _consistent(facts), _gpus(facts, expected_count)]


def _loaded(facts: t.Any, version: t.Optional[str], flavor: t.Optional[str]) -> Check:
    wanted = "the NVIDIA driver is loaded"
    if version or flavor:
        wanted = " ".join(filter(None, ["driver", version, flavor and "with the %s kernel modules" % flavor, "loaded"]))
    driver = known.get(facts, "driver")
    where = known.source(driver, "loaded_version", "facts: driver.loaded_version")
    found, kind = known.loaded(facts), known.text(known.get(driver, "flavor"))
    if found is None:
        if known.not_loaded(facts):
            return _not_loaded(facts, wanted, where)
        return Check("driver.loaded", known.HOST, UNKNOWN, "the version of the loaded driver is not known", wanted, [evidence(where, None)], GATHER)
    seen = [evidence(where, found), evidence("facts: driver.flavor", kind)]
    got, aim = t.cast("t.Tuple[int, ...]", known.version(found)), known.version(version)
    if aim is not None and got[: len(aim)] != aim:
        remedy = "Reload the kernel modules or reboot when the expected version is installed; otherwise install it."
        return Check("driver.loaded", known.HOST, FAIL, "driver %s is loaded" % found, wanted, seen, remedy)
    if flavor is not None and kind != flavor:
        if kind is None:
            return Check("driver.loaded", known.HOST, UNKNOWN, "driver %s is loaded; its flavour is not known" % found, wanted, seen, GATHER)
        remedy = "Install the %s kernel modules of this branch, then reload them or reboot." % flavor
        return Check("driver.loaded", known.HOST, FAIL, "driver %s is loaded with the %s kernel modules" % (found, kind), wanted, seen, remedy)
    return Check("driver.loaded", known.HOST, PASS, "driver %s is loaded%s" % (found, " (%s kernel modules)" % kind if kind else ""), wanted, seen)


def _not_loaded(facts: t.Any, wanted: str, where: str) -> Check:
    seen = [evidence(where, "not loaded")]
    if known.count(facts) == 0:
        return Check("driver.loaded", known.HOST, SKIPPED, "no GPU: no driver is needed", wanted, seen)
    if known.get(facts, "driver", "nouveau_loaded") is True:
        return Check(
            "driver.loaded", known.HOST, FAIL, "the NVIDIA driver is not loaded: nouveau holds the GPUs", wanted, seen,
            "Install the NVIDIA driver, blacklist nouveau, rebuild the initramfs and reboot.",
        )
    remedy = "Install the driver for the running kernel, or load it (modprobe nvidia) and read the reason when that fails (journalctl -k -b | grep NVRM)."
    if known.get(facts, "host", "secure_boot") is True:
        remedy += " Secure Boot is on: the module must be signed with an enrolled key."
    return Check("driver.loaded", known.HOST, FAIL, "the NVIDIA driver is not loaded", wanted, seen, remedy)


def _consistent(facts: t.Any) -> Check:
    wanted = "loaded kernel module = library = kernel module on disk"
    kernel = known.text(known.get(facts, "host", "kernel_release"))
    driver = known.get(facts, "driver")
    loaded, library, disk = known.loaded(facts), known.library(facts), known.on_disk(facts)
    seen = [
        evidence("loaded", loaded),
        evidence(known.source(driver, "library_version", "libnvidia-ml.so.1"), library),
        evidence("on disk for %s" % (kernel or "the running kernel"), disk),
    ]
    if loaded is None:
        if known.not_loaded(facts):
            return Check("driver.consistent", known.HOST, SKIPPED, "no driver loaded", wanted, seen)
        return Check("driver.consistent", known.HOST, UNKNOWN, "the version of the loaded driver is not known", wanted, seen, GATHER)
    found = {version for version in (loaded, library, disk) if version is not None}
    if len(found) > 1:
        if library == disk:
            remedy = "The new driver waits for the old one to go: reload the kernel modules while no program uses a GPU, or reboot."
        else:
            remedy = "A driver change is half done: finish it with the package manager so that all parts have one version, then reboot."
        return Check("driver.consistent", known.HOST, FAIL, "driver versions differ: %s" % ", ".join(sorted(found)), wanted, seen, remedy)
    versions = known.get(driver, "module_versions")
    if disk is None and kernel is not None and isinstance(versions, dict) and kernel not in versions:
        summary = "no kernel module on disk for the running kernel %s: the driver is gone after the next boot" % kernel
        remedy = "Install the driver's kernel modules for this kernel (prebuilt package or DKMS)."
        return Check("driver.consistent", known.HOST, FAIL, summary, wanted, seen, remedy)
    if library is None or disk is None:
        missing = " and ".join(name for name, value in (("the library", library), ("the module on disk", disk)) if value is None)
        return Check("driver.consistent", known.HOST, UNKNOWN, "the version of %s is not known" % missing, wanted, seen, GATHER)
    return Check("driver.consistent", known.HOST, PASS, "%s loaded, as library and on disk" % loaded, wanted, seen)


def _gpus(facts: t.Any, expected: t.Optional[int]) -> Check:
    on_bus = known.count(facts)
    goal = on_bus if expected is None else expected
    wanted = "all GPUs on the PCI bus answer the driver" if expected is None else "%s answer the driver" % known.gpus(expected)
    where = "facts: driver.reader"
    reader = known.text(known.get(facts, "driver", "reader"))
    if on_bus is None or goal is None:
        return Check("driver.gpus", known.HOST, UNKNOWN, "the GPUs of the host are not known", wanted, [evidence(where, reader)], GATHER)
    seen, answering, unclear = [evidence(where, reader)], 0, []
    for device in known.devices(facts):
        state, uuid = known.text(device.get("state")), known.text(device.get("uuid"))
        good = state == "ok" and uuid is not None
        answering += good
        seen.append(evidence(known.subject(device), uuid if good else state))
        if not good and state not in ("lost", "not_visible", "no_driver"):
            unclear.append(known.subject(device))
    if goal == 0 and on_bus == 0:
        return Check("driver.gpus", known.HOST, SKIPPED, "no GPU on the PCI bus", wanted, seen)
    if unclear:
        return Check("driver.gpus", known.HOST, UNKNOWN, "whether %s answers the driver is not known" % ", ".join(unclear), wanted, seen, GATHER)
    if on_bus and known.not_loaded(facts):
        # One fault, one answer: driver.loaded fails.
        return Check("driver.gpus", known.HOST, SKIPPED, "no driver loaded: no GPU can answer", wanted, seen)
    summary = "%d of %s on the PCI bus answer the driver" % (answering, known.gpus(on_bus))
    if answering != goal or goal == 0:
        if answering < on_bus:
            remedy = "See gpu.visible for each GPU: it names what is wrong."
        else:
            remedy = "Compare the expected number with the cards in the server."
        return Check("driver.gpus", known.HOST, FAIL, summary, wanted, seen, remedy)
    return Check("driver.gpus", known.HOST, PASS, summary, wanted, seen)
