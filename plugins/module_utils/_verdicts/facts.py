# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading facts that may be incomplete. Private to gpuops.fleet: the names may change in any release.

Facts can come from a fact cache, from an older release or from a user's own file: a key that is missing and a value of another type
both mean "not known" here, so that no verdict raises and none takes a gap for an answer.
"""

from __future__ import annotations

import math
import re
import typing as t

HOST = "host"
GIB = 1 << 30


def get(mapping: t.Any, *keys: str) -> t.Any:
    """The value below `keys`, or None when any of them is missing."""
    for key in keys:
        if not isinstance(mapping, dict):
            return None
        mapping = mapping.get(key)
    return mapping


def text(value: t.Any) -> t.Optional[str]:
    """`value` when it is a string that says something, else None."""
    return value.strip() if isinstance(value, str) and value.strip() else None


def number(value: t.Any) -> t.Optional[float]:
    """`value` as a finite float of at least 0, or None; True and False are not numbers."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def count(facts: t.Any) -> t.Optional[int]:
    """GPUs on the PCI bus, or None when not known or when the list of devices says otherwise."""
    value = get(facts, "count")
    listed = get(facts, "devices")
    if isinstance(value, bool) or not isinstance(value, int) or not isinstance(listed, list) or len(listed) != value:
        return None
    return value


def devices(facts: t.Any) -> t.List[t.Dict[str, t.Any]]:
    """The GPUs that the facts list."""
    listed = get(facts, "devices")
    return [device for device in listed if isinstance(device, dict)] if isinstance(listed, list) else []


def subject(device: t.Dict[str, t.Any]) -> str:
    """How a check names a GPU: the bus address, else the UUID."""
    return text(device.get("bus_address")) or text(device.get("uuid")) or "unidentified GPU"


def model(device: t.Dict[str, t.Any]) -> str:
    """How a check names a GPU's model: the product name, else its PCI ids."""
    return text(device.get("name")) or "PCI device %s:%s" % (text(get(device, "pci", "vendor_id")) or "?", text(get(device, "pci", "device_id")) or "?")


def source(owner: t.Any, group: str, default: str) -> str:
    """Where the values of `group` were read (`sources` of a device, the driver or the host), or `default`."""
    return text(get(owner, "sources", group)) or default


def version(value: t.Any) -> t.Optional[t.Tuple[int, ...]]:
    """A driver version such as 580.95.05 as a tuple that compares, or None."""
    found = text(value)
    if found is None or not re.match(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}\Z", found):
        return None
    return tuple(int(part) for part in found.split("."))


def loaded(facts: t.Any) -> t.Optional[str]:
    """Version of the loaded kernel module, or None when none is loaded or the value makes no sense."""
    found = text(get(facts, "driver", "loaded_version"))
    return found if version(found) else None


def not_loaded(facts: t.Any) -> bool:
    """True when it is known that no NVIDIA kernel module is loaded; a version that could only not be read is something else."""
    driver = get(facts, "driver")
    if not isinstance(driver, dict) or driver.get("loaded_version", "") is not None:
        return False
    reason = text(get(driver, "unavailable", "loaded_version"))
    return reason is None or "not loaded" in reason


def virtual(facts: t.Any) -> bool:
    """True in a virtual machine."""
    return text(get(facts, "host", "virtualization")) not in (None, "none")


def on_disk(facts: t.Any) -> t.Optional[str]:
    """Version of the kernel module on disk for the running kernel, or None."""
    found = text(get(facts, "driver", "module_versions", str(get(facts, "host", "kernel_release"))))
    return found if version(found) else None


def library(facts: t.Any) -> t.Optional[str]:
    """Version of the installed NVML library, or None."""
    found = text(get(facts, "driver", "library_version"))
    return found if version(found) else None


def gpus(number: int) -> str:
    """`1 GPU`, `2 GPUs`."""
    return "1 GPU" if number == 1 else "%d GPUs" % number
