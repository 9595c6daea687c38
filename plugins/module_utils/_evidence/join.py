# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts, joined from what PCI, /proc/driver/nvidia and NVML say of each GPU. No input or output here. Private to gpuops.fleet."""

from __future__ import annotations

import json
import re
import typing as t

Facts = t.Dict[str, t.Any]

# The fields of a device in the order of docs/architecture.md; a dot says that it lies in a group.
LINK = "generation_current generation_max width_current width_max aspm"
UPSTREAM = ("bus_address " + LINK + " acs_source_validation prefetchable_window").split()
DEVICE = (
    "index uuid serial name board_part_number bus_address state"
    " pci.vendor_id pci.device_id pci.subsystem_vendor_id pci.subsystem_device_id pci.class_code pci.kernel_driver pci.numa_node pci.cpu_affinity"
    " pci.iommu_group pci.iommu_group_peers pci.aer.correctable pci.aer.nonfatal pci.aer.fatal pci.sriov.total_vfs pci.sriov.num_vfs"
    " pci.resizable_bar_sizes_mib"
    " architecture compute_capability vbios_version inforom_version inforom_valid virtualization_mode"
    " memory.total_mib memory.reserved_mib memory.used_mib bar1.address bar1.size_mib bar1.total_mib bar1.used_mib"
    " power.draw_watts power.enforced_limit_watts power.default_limit_watts power.min_limit_watts power.max_limit_watts"
    " temperature.gpu_celsius temperature.memory_celsius temperature.gpu_max_celsius temperature.slowdown_celsius temperature.shutdown_celsius"
    " clocks.graphics_mhz clocks.sm_mhz clocks.memory_mhz clocks.max_graphics_mhz clocks.max_memory_mhz"
    " pcie.generation_current pcie.generation_max pcie.generation_gpu_max pcie.width_current pcie.width_max pcie.replay_count pcie.aspm"
).split() + ["pcie.upstream." + name for name in UPSTREAM] + (
    "utilization.gpu_percent utilization.memory_percent persistence_mode compute_mode mig_mode.current mig_mode.pending"
    " ecc.mode_current ecc.mode_pending ecc.volatile_corrected ecc.volatile_uncorrected ecc.aggregate_corrected ecc.aggregate_uncorrected"
    " retired_pages.single_bit retired_pages.double_bit retired_pages.pending"
    " remapped_rows.correctable remapped_rows.uncorrectable remapped_rows.pending remapped_rows.failure nvlinks processes event_reasons"
).split()  # fmt: skip
# Fields that only sysfs has.
FROM_SYSFS = [
    field for field in DEVICE
    if field.startswith(("pci.", "pcie.upstream.")) and not re.match(r"pci\.(sub|vendor|device)", field)
] + ["bar1.address", "bar1.size_mib", "pcie.aspm"]  # fmt: skip
DRIVER = ("loaded_version library_version flavor module_versions module_flavors module_signers dkms packages package_sources held_packages"
          " unmanaged supported_gpus nouveau_loaded cuda_version reader").split()
HOST = (
    "kernel_release kernel_command_line boot_kernel_release virtualization secure_boot module_keys kernel_headers kernel_flavour"
    " unattended_upgrades system_vendor iommu_group_count aspm_policy topology nvswitches"
    " fabric_manager.version fabric_manager.active kernel_events power power_sources processor_limit_watts docker.version container_toolkit.version"
).split()

# /proc/driver/nvidia/gpus/*/information → field. It shows question marks for what the driver has not read yet.
INFORMATION = (("GPU UUID", "uuid"), ("Video BIOS", "vbios_version"), ("Model", "name"))


def facts(
    *,
    on_pci: t.Optional[t.Sequence[Facts]],
    information: t.Dict[str, t.Dict[str, str]],
    loaded: bool,
    answer: Facts,
    driver: t.Optional[Facts],
    host: t.Optional[Facts],
    not_gathered: str = "not gathered",
    without: t.Sequence[str] = (),
) -> Facts:
    """`ansible_facts.gpu`, the same keys whatever is missing.

    `on_pci`: `pci.read`, None when not read; `information`: `driver.information`; `loaded`: whether the kernel module is;
    `answer`: `nvml_answer.answer`; `driver` and `host`: what their readers returned, None when not read;
    `without`: fields of the devices that nobody was asked for.
    """
    devices = None if on_pci is None else _devices(on_pci, information, loaded, answer)
    for one in devices or ():
        if one["state"] == "ok":
            one["unavailable"].update(dict.fromkeys(without, not_gathered))
    return {
        "count": None if devices is None else len(devices),
        "devices": devices or [],
        "driver": _driver(driver, answer, not_gathered),
        "host": _explained(_part(HOST, host), HOST, not_gathered),
    }


def _driver(read: t.Optional[Facts], answer: Facts, not_gathered: str) -> Facts:
    found = _part(DRIVER, read)
    answered = bool(answer["reader"] and (answer["devices"] or not answer["error"]))
    found["reader"] = answer["reader"] if answered else None
    found["cuda_version"] = answer["cuda_version"]
    if found["reader"] is None:
        found["unavailable"]["reader"] = answer["error"]
    elif answer["error"]:
        found["unavailable"]["devices"] = answer["error"]
    if found["cuda_version"] is None:
        found["unavailable"]["cuda_version"] = answer["error"] or "not reported"
    else:
        found["sources"]["cuda_version"] = answer["reader"]
    return _explained(found, DRIVER, not_gathered)


def _part(fields: t.Sequence[str], read: t.Optional[Facts]) -> Facts:
    found = _empty(fields)
    found.update(unavailable={}, sources={})
    found.update(read or {})
    return found


def _explained(found: Facts, fields: t.Sequence[str], not_gathered: str) -> Facts:
    for field in fields:
        if _get(found, field) is None:
            found["unavailable"].setdefault(field, not_gathered)
    return found


def _empty(fields: t.Sequence[str]) -> Facts:
    found: Facts = {}
    for field in fields:
        _set(found, field, None)
    return found


def _devices(on_pci: t.Sequence[Facts], information: t.Dict[str, t.Dict[str, str]], loaded: bool, answer: Facts) -> t.List[Facts]:
    by_address = {one["bus_address"]: one for one in answer["devices"] if one["bus_address"]}
    nameless = [one for one in answer["devices"] if not one["bus_address"]]
    addresses = {one["bus_address"] for one in on_pci}
    missing = [one["bus_address"] for one in on_pci if one["bus_address"] not in by_address]
    # NVML refuses a GPU that is gone before it tells its address. When as many are missing as it refused, they are the same ones.
    if nameless and len(nameless) == len(missing):
        by_address.update(zip(missing, nameless))
    # A GPU that NVML knows and sysfs does not show (a container) is still on the bus.
    everywhere = list(on_pci) + [{"bus_address": address} for address in by_address if address not in addresses]
    everywhere.sort(key=lambda one: [int(part, 16) for part in re.split("[:.]", one["bus_address"])])
    return [_device(one, information.get(one["bus_address"], {}), loaded, answer, by_address.get(one["bus_address"])) for one in everywhere]


def _device(on_pci: Facts, information: t.Dict[str, str], loaded: bool, answer: Facts, asked: t.Optional[Facts]) -> Facts:
    found = _empty(DEVICE)
    reasons: t.Dict[str, str] = {}
    sources: t.Dict[str, str] = {}
    found["bus_address"] = on_pci["bus_address"]
    if "pci" in on_pci:
        for group in ("pci", "bar1", "pcie"):
            found[group].update(json.loads(json.dumps(on_pci[group])))
        reasons.update(on_pci["unavailable"])
        sources["pci"] = on_pci["source"]
    else:
        reasons.update(dict.fromkeys(FROM_SYSFS, "sysfs does not show the device"))
    _from_information(found, sources, information, on_pci["bus_address"])
    if asked is not None:
        _from_nvml(found, reasons, sources, asked, answer["reader"])
    _from_catalogue(found, sources, asked)
    found["state"], why = _state(on_pci, loaded, answer, asked)
    for field in DEVICE:
        if _get(found, field) is None:
            reasons.setdefault(field, why)
        else:
            reasons.pop(field, None)
    found["unavailable"] = {field: reasons[field] for field in sorted(reasons)}
    found["sources"] = sources
    return found


def _state(on_pci: Facts, loaded: bool, answer: Facts, asked: t.Optional[Facts]) -> t.Tuple[str, str]:
    """The device's state, and the reason for every field that has no other."""
    if on_pci.get("lost") or (asked is not None and asked["lost"]):
        return "lost", "GPU is lost"
    if not loaded:
        return "no_driver", answer["error"]
    if asked is not None and (asked["values"] or not asked["reason"]):
        return "ok", asked["reason"] or "not reported"
    if asked is not None:
        return "unknown", asked["reason"]
    if answer["error"] or not answer["reader"]:
        # The driver was not asked, or did not answer: nobody knows whether it sees the device.
        return "unknown", answer["error"] or "NVML was not asked"
    return "not_visible", "the driver does not see the device"


def _from_information(found: Facts, sources: t.Dict[str, str], information: t.Dict[str, str], address: str) -> None:
    for key, field in INFORMATION:
        value = information.get(key, "")
        if value and "?" not in value:
            found[field] = value
            sources.setdefault("proc", "/proc/driver/nvidia/gpus/%s/information" % address)


def _from_nvml(found: Facts, reasons: t.Dict[str, str], sources: t.Dict[str, str], asked: Facts, reader: t.Optional[str]) -> None:
    found["index"] = asked["index"]
    if reader:
        sources["nvml"] = reader
    values = dict(asked["values"])
    major, minor = values.pop("compute_capability.major", None), values.pop("compute_capability.minor", None)
    if major is not None and minor is not None:
        values["compute_capability"] = "%s.%s" % (major, minor)
    for name, value in asked["pci"].items():
        if found["pci"].get(name) is None:
            found["pci"][name] = value
    for field, value in values.items():
        # PCI's own registers come first: they read the same with every driver and every reader.
        if not (field.startswith("pcie.") and _get(found, field) is not None):
            _set(found, field, value)
    reasons.update({field: why for field, why in asked["unavailable"].items() if field.partition(".")[0] != "compute_capability"})


def _from_catalogue(found: Facts, sources: t.Dict[str, str], asked: t.Optional[Facts]) -> None:
    """What the board is, where nobody else said so; the architecture always, because every reader has names of its own for it."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.board import SOURCE, board  # a host without GPUs needs none

    known = board(found["pci"])
    if known:
        found["architecture"] = known["architecture"]
        for field in ("name", "compute_capability"):
            if found[field] is None:
                found[field] = known[field]
        sources["catalogue"] = SOURCE
    elif asked is not None:
        found["architecture"] = asked["architecture"]


def _get(found: Facts, field: str) -> t.Any:
    value: t.Any = found
    for name in field.split("."):
        value = value[name]
    return value


def _set(found: Facts, field: str, value: t.Any) -> None:
    *groups, name = field.split(".")
    for group in groups:
        found = found.setdefault(group, {})
    found[name] = value
