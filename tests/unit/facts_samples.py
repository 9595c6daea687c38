"""Facts as gpu_facts returns them, for tables of tests. Values of the P40 are those of docs/architecture.md, read from a real card."""

from __future__ import annotations

import copy

KERNEL = "6.8.0-60-generic"

# Model → what differs: PCI device id, subsystem, name, architecture, compute capability, power limit, BAR1 (source: board catalogue).
MODELS = {
    "k80": ("102d", "106c", "Tesla K80", "kepler", "3.7", 150.0, 16384),
    "p40": ("1b38", "11d9", "Tesla P40", "pascal", "6.1", 250.0, 32768),
    "v100": ("1db4", "1214", "Tesla V100-PCIE-16GB", "volta", "7.0", 250.0, 16384),
    "t4": ("1eb8", "12a2", "Tesla T4", "turing", "7.5", 70.0, 256),
    "a100": ("20f1", "145f", "NVIDIA A100-PCIE-40GB", "ampere", "8.0", 250.0, 65536),
    "l40s": ("26b9", "1851", "NVIDIA L40S", "ada", "8.9", 350.0, 65536),
    "h100": ("2330", "16c1", "NVIDIA H100 80GB HBM3", "hopper", "9.0", 700.0, 131072),
    "gh200": ("2342", "16eb", "NVIDIA GH200 480GB", "hopper", "9.0", 900.0, 131072),
    "b200": ("2901", "1999", "NVIDIA B200", "blackwell", "10.0", 1000.0, 262144),
    "b300": ("3182", "20e6", "NVIDIA B300 SXM6 AC", "blackwell", "10.3", 1100.0, 262144),
    "odd": ("ffff", "0001", None, None, None, None, 256),
}


# Links of a healthy board.
NVLINKS = {"a100": 12, "h100": 18, "b200": 18, "b300": 18}


def health(architecture, driven, model):
    """The part of a device that tells how it is: an idle card without a fault, or nothing without a driver."""
    if not driven:
        return {"virtualization_mode": None, "persistence_mode": None, "event_reasons": None, "nvlinks": None, "inforom_valid": None}
    old = architecture in ("kepler", "maxwell", "pascal", "volta", "turing")
    counts = dict.fromkeys(("volatile_corrected", "volatile_uncorrected", "aggregate_corrected", "aggregate_uncorrected"), 0)
    return {
        "virtualization_mode": "none",
        "inforom_version": "G610.0200.00.03",
        "inforom_valid": True,
        "persistence_mode": True,
        "compute_mode": "default",
        "mig_mode": {"current": None, "pending": None},
        "memory": {"total_mib": 23040, "reserved_mib": 0, "used_mib": 0},
        "temperature": {"gpu_celsius": 28, "slowdown_celsius": 92, "shutdown_celsius": 95, "gpu_max_celsius": None, "memory_celsius": None},
        "clocks": {"graphics_mhz": 544, "sm_mhz": 544, "memory_mhz": 405, "max_graphics_mhz": 1531, "max_memory_mhz": 3615},
        "utilization": {"gpu_percent": 0, "memory_percent": 0},
        "event_reasons": ["gpu_idle"],
        "ecc": {"mode_current": True, "mode_pending": True, **counts},
        "retired_pages": {"single_bit": 0, "double_bit": 0, "pending": False} if old else dict.fromkeys(("single_bit", "double_bit", "pending")),
        "remapped_rows": dict.fromkeys(("correctable", "uncorrectable", "pending", "failure"))
        if old
        else {"correctable": 0, "uncorrectable": 0, "pending": False, "failure": False},
        "nvlinks": [{"link": link, "active": True} for link in range(NVLINKS.get(model, 0))],
    }


def device(model="p40", number=0, state="ok", **change):
    """One device of the facts. Keyword arguments with dots as double underscores: `bar1__address=None`."""
    device_id, subsystem, name, architecture, capability, watts, bar1_mib = MODELS[model]
    driven = state == "ok"
    bus_address = "0000:%02x:00.0" % (0x3B + number)
    bar1 = 0x39F000000000 + number * 0x1000000000
    found = {
        "index": number if driven else None,
        "uuid": "GPU-00000000-0000-0000-0000-%012d" % number if driven else None,
        "name": name,
        "bus_address": bus_address,
        "state": state,
        "pci": {
            "vendor_id": "10de", "device_id": device_id, "subsystem_vendor_id": "10de", "subsystem_device_id": subsystem,
            "class_code": "030200", "kernel_driver": "nvidia" if state != "no_driver" else None, "numa_node": 0, "cpu_affinity": "0-15",
            "iommu_group": None, "iommu_group_peers": [], "aer": {"correctable": 0, "nonfatal": 0, "fatal": 0},
            "sriov": {"total_vfs": None, "num_vfs": None}, "resizable_bar_sizes_mib": [],
        },
        "architecture": architecture,
        "compute_capability": capability,
        "vbios_version": "86.02.23.00.01" if driven else None,
        "bar1": {"address": "0x%x" % bar1, "size_mib": bar1_mib, "total_mib": bar1_mib if driven else None, "used_mib": 2},
        "power": dict.fromkeys(("enforced_limit_watts", "default_limit_watts", "max_limit_watts"), watts if driven else None),
        "processes": [] if driven else None,
        "pcie": {
            "generation_current": 3, "generation_max": 3, "generation_gpu_max": 3 if driven else None, "width_current": 16, "width_max": 16,
            "replay_count": 0 if driven else None, "aspm": "disabled",
            "upstream": {
                "bus_address": "0000:%02x:00.0" % (0x3A - number), "generation_current": 3, "generation_max": 3, "width_current": 16, "width_max": 16,
                "aspm": "disabled", "acs_source_validation": False,
                "prefetchable_window": {"start": "0x%x" % bar1, "end": "0x%x" % (bar1 + 0xFFFFFFFFF)},
            },
        },
        **health(architecture, driven, model),
        "unavailable": {"nvlinks": "not supported"} if driven and model not in NVLINKS else {},
        "sources": {"pci": "sysfs:/sys/bus/pci/devices/" + bus_address, **({"nvml": "pynvml"} if driven else {})},
    }  # fmt: skip
    for key, value in change.items():
        owner = found
        *above, last = key.split("__")
        for name in above:
            owner = owner[name]
        owner[last] = value
    return found


def facts(*devices, loaded="580.95.05", library="same", disk="same", flavor="proprietary", kernel=KERNEL, **host):
    """Facts with `devices` (model names or dicts). `library` and `disk` "same": as loaded; `disk` a dict: module_versions itself."""
    state = "ok" if loaded else "no_driver"
    listed = [copy.deepcopy(one) if isinstance(one, dict) else device(one, number, state) for number, one in enumerate(devices)]
    library = loaded if library == "same" else library
    disk = loaded if disk == "same" else disk
    modules = disk if isinstance(disk, dict) or disk is None and loaded else {kernel: disk} if disk else {}
    return {
        "count": len(listed),
        "devices": listed,
        "driver": {
            "loaded_version": loaded, "library_version": library, "flavor": flavor if loaded or disk else None, "module_versions": modules,
            "module_flavors": dict.fromkeys(modules or (), flavor), "module_signers": dict.fromkeys(modules or ()), "dkms": [],
            "nouveau_loaded": host.pop("nouveau", False), "packages": {}, "package_sources": {}, "held_packages": [],
            "unmanaged": [], "supported_gpus": None, "reader": "pynvml" if loaded else None,
            "unavailable": {} if loaded else {"loaded_version": "the nvidia kernel module is not loaded"}, "sources": {},
        },
        "host": {
            "kernel_release": kernel, "kernel_command_line": "BOOT_IMAGE=/vmlinuz root=/dev/sda2 ro", "boot_kernel_release": kernel,
            "virtualization": "none", "secure_boot": False, "kernel_flavour": "generic", "kernel_headers": [kernel],
            "module_keys": {"certificate": None, "subject": None, "enrolled": None, "names": None},
            "unattended_upgrades": {"enabled": False, "would_touch": []}, "system_vendor": "Dell Inc.", "iommu_group_count": 0, "aspm_policy": "default",
            "topology": {}, "nvswitches": [], "fabric_manager": {"version": None, "active": False}, "kernel_events": [],
            "power": None, "power_sources": [], "processor_limit_watts": None, "unavailable": {}, "sources": {}, **host,
        },
    }  # fmt: skip
