# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host around the GPUs. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import docker_socket
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.packages import DOCKER, upstream

Run = t.Callable[..., t.Tuple[int, str, str]]

EFI = "/sys/firmware/efi"
# EFI global variable namespace, UEFI specification 3.3; the file holds 4 bytes of attributes, then the value.
SECURE_BOOT = EFI + "/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
DMI = "/sys/class/dmi/id"
IOMMU_GROUPS = "/sys/kernel/iommu_groups"
ASPM_POLICY = "/sys/module/pcie_aspm/parameters/policy"
UNITS = ("/sys/fs/cgroup/system.slice", "/sys/fs/cgroup/systemd/system.slice")
FABRIC_MANAGER = ("nvidia-fabricmanager", "nvidia-fabric-manager")
FABRIC_MANAGER_UNIT = "nvidia-fabricmanager.service"
# First match wins; names as systemd-detect-virt prints them (systemd, src/basic/virt.c).
DMI_VENDORS = (("KVM", "kvm"), ("OpenStack", "kvm"), ("Amazon EC2", "amazon"), ("QEMU", "qemu"), ("VMware", "vmware"), ("VMW", "vmware"),
               ("innotek GmbH", "oracle"), ("VirtualBox", "oracle"), ("Xen", "xen"), ("Bochs", "bochs"), ("Parallels", "parallels"), ("BHYVE", "bhyve"),
               ("Hyper-V", "microsoft"), ("Virtual Machine", "microsoft"), ("Google Compute Engine", "google"), ("Apple Virtualization", "apple"))  # fmt: skip


def read(
    run: Run, root: str = "", timeout_seconds: float = 20, installed: t.Optional[t.Dict[str, str]] = None, nvswitches: t.Sequence[str] = ()
) -> t.Dict[str, t.Any]:
    """`host` of the facts but for what only its own subset reads. `installed`: what `packages.read` found; `nvswitches`: from `pci.scan`."""
    installed = installed or {}
    unavailable: t.Dict[str, str] = {}
    sources = {"kernel_release": "uname", "kernel_command_line": "/proc/cmdline"}
    command_line, why = read_text(root + "/proc/cmdline")
    _note(unavailable, "kernel_command_line", command_line, why, root)
    virtual, why = virtualization(root)
    _note(unavailable, "virtualization", virtual, why, root)
    secure, why = secure_boot(root)
    _note(unavailable, "secure_boot", secure, why, root)
    vendor, why = read_text("%s%s/sys_vendor" % (root, DMI))
    _note(unavailable, "system_vendor", vendor, why, root)
    policy, why = aspm_policy(root)
    _note(unavailable, "aspm_policy", policy, why, root)
    manager, reasons = fabric_manager(root, installed)
    for field, why in reasons.items():
        _note(unavailable, "fabric_manager." + field, None, why, root)
    docker, why = docker_socket.version(root, timeout_seconds)
    if docker is not None:
        sources["docker"] = docker_socket.SOCKET
    else:
        name = next((name for name in DOCKER if name in installed), None)
        docker = installed.get(name) if name else None
        if name:
            sources["docker"] = "package " + name
    docker = upstream(docker)
    _note(unavailable, "docker.version", docker, why, root)
    toolkit, source, why = container_toolkit(run, root, timeout_seconds, installed)
    if toolkit:
        sources["container_toolkit"] = source
    _note(unavailable, "container_toolkit.version", toolkit, why, root)
    return {
        "kernel_release": os.uname().release,
        "kernel_command_line": command_line,
        "virtualization": virtual,
        "secure_boot": secure,
        "system_vendor": vendor,
        "iommu_group_count": len(names(root + IOMMU_GROUPS)),
        "aspm_policy": policy,
        "nvswitches": list(nvswitches),
        "fabric_manager": manager,
        "docker": {"version": docker},
        "container_toolkit": {"version": toolkit},
        "unavailable": unavailable,
        "sources": sources,
    }


def _note(unavailable: t.Dict[str, str], field: str, value: t.Any, why: str, root: str) -> None:
    if value is None:
        unavailable[field] = why.replace(root, "", 1) if root else why


def virtualization(root: str = "") -> t.Tuple[t.Optional[str], str]:
    """`(name, reason)`: `none` on bare metal, else the hypervisor as systemd-detect-virt names it, `vm-other` for one that firmware does not name."""
    cpu, why = read_text(root + "/proc/cpuinfo", 64 * 1024)
    if cpu is None:
        return None, why
    flags = re.search(r"^flags\s*:(.*)$", cpu, re.MULTILINE)
    if flags and " hypervisor" not in flags.group(1):
        return "none", ""
    texts = [read_text("%s%s/%s" % (root, DMI, name))[0] or "" for name in ("product_name", "sys_vendor", "board_vendor", "bios_vendor")]
    for text in texts:
        for start, name in DMI_VENDORS:
            if text.startswith(start) and not text.endswith(".metal"):
                return name, ""
    if flags:
        return "vm-other", ""
    return ("none", "") if any(texts) else (None, "the processor has no hypervisor flag, and the firmware no DMI tables")


def secure_boot(root: str = "") -> t.Tuple[t.Optional[bool], str]:
    """`(state, reason)`: whether the firmware checks what it boots. A machine that was not booted by UEFI has no Secure Boot: false."""
    if not os.path.isdir(root + EFI):
        if any(os.path.isdir("%s/sys/firmware/%s" % (root, name)) for name in ("acpi", "dmi")):
            return False, ""
        return None, "/sys/firmware shows neither UEFI nor BIOS"
    data, why = read_bytes(root + SECURE_BOOT, 16)
    if data is None:
        return None, why
    return (data[4] == 1, "") if len(data) == 5 else (None, "%s: %d bytes instead of 5" % (SECURE_BOOT, len(data)))


def aspm_policy(root: str = "") -> t.Tuple[t.Optional[str], str]:
    """`(policy, reason)`: the one in brackets of `[default] performance powersave powersupersave`."""
    text, why = read_text(root + ASPM_POLICY)
    match = re.search(r"\[(\w+)\]", text or "")
    return (match.group(1), "") if match else (None, why or "%s marks no policy" % ASPM_POLICY)


def fabric_manager(root: str = "", installed: t.Optional[t.Dict[str, str]] = None) -> t.Tuple[t.Dict[str, t.Any], t.Dict[str, str]]:
    """`({version, active}, {field: reason})` of NVIDIA's fabric manager: its package, and whether systemd has a process of its unit."""
    name = next((name for name in sorted(installed or {}) if name.startswith(FABRIC_MANAGER)), None)
    version = upstream((installed or {}).get(name)) if name else None
    reasons = {} if version else {"version": "the fabric manager is not installed"}
    # systemd removes a unit's control group when its last process has ended.
    base = next((root + path for path in UNITS if os.path.isdir(root + path)), None)
    active = None if base is None else bool(read_text("%s/%s/cgroup.procs" % (base, FABRIC_MANAGER_UNIT))[0])
    if active is None:
        reasons["active"] = "no control groups of systemd below /sys/fs/cgroup"
    return {"version": version, "active": active}, reasons


def container_toolkit(run: Run, root: str, timeout_seconds: float, installed: t.Dict[str, str]) -> t.Tuple[t.Optional[str], str, str]:
    """`(version, source, reason)` of NVIDIA's container toolkit: its package, else `nvidia-ctk --version`."""
    for name in ("nvidia-container-toolkit", "nvidia-container-toolkit-base"):
        if name in installed:
            return upstream(installed[name]), "package " + name, ""
    if not os.path.exists(root + "/usr/bin/nvidia-ctk"):
        return None, "", "nvidia-ctk is not installed"
    rc, out, err = run(["nvidia-ctk", "--version"], timeout_seconds=timeout_seconds)
    match = re.search(r"version v?(\d+(?:\.\d+)+)", out)
    if rc == 0 and match:
        return match.group(1), "nvidia-ctk --version", ""
    return None, "", "nvidia-ctk --version: rc %d %s" % (rc, (err or out).strip()[:200])
