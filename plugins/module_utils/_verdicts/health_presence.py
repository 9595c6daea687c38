# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are all GPUs there, does the driver see them, are they alike. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

PCI_SOURCE = "sysfs:/sys/bus/pci/devices"
GATHER = "Gather facts with gpuops.fleet.gpu_facts on the host itself and pass all of them."


def count_check(facts: t.Any, expected: t.Optional[int]) -> Check:
    """`gpu.count`: GPUs on the PCI bus against the expected number."""
    wanted = "at least 1 GPU" if expected is None else known.gpus(expected)
    found = known.count(facts)
    where = known.source(facts, "pci", PCI_SOURCE)
    if found is None:
        return Check(
            "gpu.count",
            known.HOST,
            UNKNOWN,
            "the number of GPUs on the PCI bus is not known",
            wanted,
            [evidence(where, None)],
            "Read the PCI bus as root and outside a container; %s" % GATHER,
        )
    seen = [evidence(where, "%s%s" % (known.gpus(found), "".join(", %s %s" % (known.subject(one), known.model(one)) for one in known.devices(facts))))]
    if found == 0 and expected != 0:
        return Check(
            "gpu.count",
            known.HOST,
            FAIL,
            "no NVIDIA GPU on the PCI bus",
            wanted,
            seen,
            "Check seating, riser and auxiliary power of the card and that its slot is enabled in firmware setup; in a virtual machine, pass the GPU through.",
        )
    if expected is not None and found != expected:
        remedy = (
            "Compare the listed bus addresses with the slots that hold cards; reseat the missing one, check its auxiliary power and its slot in firmware setup."
            if found < expected
            else "Correct the expected number, or take out the card that does not belong there."
        )
        return Check("gpu.count", known.HOST, FAIL, "%s on the PCI bus" % known.gpus(found), wanted, seen, remedy)
    return Check("gpu.count", known.HOST, PASS, "%s on the PCI bus" % known.gpus(found), wanted, seen)


def visible_check(device: t.Dict[str, t.Any], lost: bool = False) -> Check:
    """`gpu.visible`: a GPU on the PCI bus is known to the driver and answers. `lost`: `gpu.lost` fails for it, and names the cause."""
    who, what = known.subject(device), known.model(device)
    wanted = "the driver sees the GPU"
    where = known.source(device, "nvml", "NVML")
    state = device.get("state")
    bound = known.text(known.get(device, "pci", "kernel_driver"))
    if state == "lost" or (lost and state != "ok"):
        return Check("gpu.visible", who, SKIPPED, "the GPU is lost: gpu.lost tells more", wanted)
    if state == "ok":
        uuid = known.text(device.get("uuid"))
        if uuid is None:
            return Check("gpu.visible", who, UNKNOWN, "%s is listed as healthy, but without a UUID" % what, wanted, [evidence(where, None)], GATHER)
        return Check("gpu.visible", who, PASS, "the driver sees %s" % what, wanted, [evidence(where, uuid)])
    if state == "not_visible":
        seen = [evidence(known.source(device, "pci", PCI_SOURCE), "kernel driver %s" % (bound or "none")), evidence(where, "not listed")]
        return Check("gpu.visible", who, FAIL, "%s is on the PCI bus, but the driver does not see it" % what, wanted, seen, _not_visible_remedy(bound))
    if state == "no_driver":
        summary = "no driver loaded" if bound != "nouveau" else "no driver loaded: nouveau is bound to the GPU"
        return Check("gpu.visible", who, SKIPPED, summary, wanted, [evidence(known.source(device, "pci", PCI_SOURCE), "kernel driver %s" % (bound or "none"))])
    return Check("gpu.visible", who, UNKNOWN, "whether the driver sees %s is not known" % what, wanted, [evidence(where, None)], GATHER)


def _not_visible_remedy(bound: t.Optional[str]) -> str:
    if bound == "vfio-pci":
        return "The GPU is reserved for a virtual machine (vfio-pci): take its ids out of the vfio-pci options, or do not count it on this host."
    if bound == "nouveau":
        return "Blacklist nouveau, rebuild the initramfs and reboot."
    return (
        "Read what the driver says about this bus address (journalctl -k -b | grep NVRM): it names an unsupported branch or flavour, "
        "a BAR without an address (Above 4G Decoding) or missing auxiliary power."
    )


def uniform_checks(facts: t.Any) -> t.List[Check]:
    """`gpu.uniform`: all GPUs of one model run the same VBIOS. Different models on one host are named, and are no fault."""
    models: t.Dict[str, t.List[t.Dict[str, t.Any]]] = {}
    for device in known.devices(facts):
        models.setdefault(known.model(device), []).append(device)
    checks = [_uniform_check(name, models[name]) for name in sorted(models)]
    if len(models) > 1:
        listed = ", ".join("%d x %s" % (len(models[name]), name) for name in sorted(models))
        checks.append(Check("gpu.uniform", known.HOST, SKIPPED, "%d models on this host, each compared with its own kind: %s" % (len(models), listed)))
    return checks


def _uniform_check(name: str, group: t.List[t.Dict[str, t.Any]]) -> Check:
    wanted = "one VBIOS version on all GPUs of a model"
    versions = [known.text(device.get("vbios_version")) for device in group]
    seen = [
        evidence("%s of %s" % (known.source(device, "nvml", "NVML vbios_version"), known.subject(device)), version) for device, version in zip(group, versions)
    ]
    found = sorted({version for version in versions if version is not None})
    if len(group) == 1:
        return Check("gpu.uniform", name, SKIPPED, "the only GPU of its model", wanted, seen)
    if len(found) > 1:
        return Check(
            "gpu.uniform",
            name,
            WARN,
            "VBIOS differs: %s" % ", ".join(found),
            wanted,
            seen,
            "Bring the cards to one VBIOS with the server vendor's firmware package, or replace the odd one; never flash another vendor's image.",
        )
    if not found and all(device.get("state") == "no_driver" for device in group):
        return Check("gpu.uniform", name, SKIPPED, "no driver loaded: the VBIOS version cannot be read yet", wanted, seen)
    if None in versions:
        return Check(
            "gpu.uniform",
            name,
            UNKNOWN,
            "the VBIOS version of %d of %s is not known" % (versions.count(None), known.gpus(len(group))),
            wanted,
            seen,
            "Bring all GPUs of this model under the driver, then check again.",
        )
    return Check("gpu.uniform", name, PASS, "%s with VBIOS %s" % (known.gpus(len(group)), found[0]), wanted, seen)
