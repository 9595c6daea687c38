# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NVIDIA driver as the kernel and the file system show it, without asking it. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text

Run = t.Callable[..., t.Tuple[int, str, str]]

PROC = "/proc/driver/nvidia"
SYS_MODULE = "/sys/module/nvidia"
NVRM_VERSION = re.compile(r"^NVRM version:.*?\s(\d{3,}\.\d+(?:\.\d+)?)\s", re.MULTILINE)
OPEN_MODULE = "Open Kernel Module"
OPEN_LICENSE = "Dual MIT/GPL"

LIBRARY = "libnvidia-ml.so.1"
LIBRARY_CACHE = "/etc/ld.so.cache"
IN_LIBRARY_CACHE = re.compile(rb"(/[^\0]{1,4000}/libnvidia-ml\.so\.1)\0")
LIBRARY_FOLDERS = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib", "/usr/lib/*/nvidia/current", "/usr/lib64/nvidia",
                   "/usr/local/nvidia/lib64", "/run/nvidia/driver/usr/lib/*")  # fmt: skip
LIBRARY_VERSION = re.compile(r"\.so\.(\d{3,}\.\d+(?:\.\d+)?)$")


def loaded(root: str = "") -> t.Dict[str, t.Any]:
    """The loaded kernel module: `loaded` (bool), `version`, `flavor` (open or proprietary), `source`, `reason` for what is None."""
    text, _why = read_text(root + PROC + "/version")
    version, source = None, None
    match = NVRM_VERSION.search((text or "") + "\n")
    if match:
        version, source = match.group(1), PROC + "/version"
    from_sysfs, _why = read_text(root + SYS_MODULE + "/version")
    if from_sysfs:
        version, source = from_sysfs, SYS_MODULE + "/version"
    is_loaded = text is not None or os.path.isdir(root + SYS_MODULE)
    flavor = None if not match else "open" if OPEN_MODULE in (text or "") else "proprietary"
    reason = "" if version else "the loaded module names no version" if is_loaded else "the nvidia kernel module is not loaded"
    return {"loaded": is_loaded, "version": version, "flavor": flavor, "source": source, "reason": reason}


def library(root: str = "") -> t.Tuple[t.Optional[str], t.Optional[str], str]:
    """`(version, path, reason)` of the NVML library that the dynamic linker would take: the suffix of the file that libnvidia-ml.so.1 leads to."""
    for path in _libraries(root):
        if os.path.exists(path):
            real = os.path.realpath(path)
            match = LIBRARY_VERSION.search(real)
            shown = path[len(root) :]
            return (match.group(1), shown, "") if match else (None, shown, "%s leads to %s, whose name has no version" % (shown, os.path.basename(real)))
    return None, None, "%s is not installed" % LIBRARY


def _libraries(root: str) -> t.Iterator[str]:
    data, _why = read_bytes(root + LIBRARY_CACHE)
    for match in IN_LIBRARY_CACHE.findall(data or b""):
        yield root + match.decode("utf-8", "replace")
    import glob  # only hosts without the library in the linker's cache come here

    for folder in LIBRARY_FOLDERS:
        yield from sorted(glob.glob("%s%s/%s" % (glob.escape(root), folder, LIBRARY)))


def information(root: str = "") -> t.Dict[str, t.Dict[str, str]]:
    """`{bus address: {Model, GPU UUID, Video BIOS, …}}` from /proc/driver/nvidia/gpus/*/information: answers without touching the GPU."""
    found = {}
    base = root + PROC + "/gpus"
    for name in names(base):
        text, _why = read_text("%s/%s/information" % (base, name))
        if text is not None:
            pairs = (line.partition(":") for line in text.splitlines())
            found[name.lower()] = {key.strip(): value.strip() for key, colon, value in pairs if colon}
    return found


def read(run: Run, root: str = "", timeout_seconds: float = 20, kernel: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    """`driver` of the facts but for `packages`, `dkms`, `cuda_version` and `reader`. `kernel`: release of the running kernel."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_modules

    unavailable: t.Dict[str, str] = {}
    sources: t.Dict[str, str] = {}
    now = loaded(root)
    if now["version"] is None:
        unavailable["loaded_version"] = now["reason"]
    else:
        sources["loaded_version"] = now["source"]
    library_version, path, reason = library(root)
    if path:
        sources["library_version"] = path
    if library_version is None:
        unavailable["library_version"] = reason
    modules, unreadable = kernel_modules.versions(run, root, timeout_seconds)
    for release, why in unreadable.items():
        unavailable["module_versions." + release] = why.replace(root, "", 1) if root else why
    sources["module_versions"] = "/lib/modules/*/modules.dep, .modinfo"
    flavor = now["flavor"]
    if flavor is not None:
        sources["flavor"] = PROC + "/version"
    else:
        # Not loaded: what the running kernel would load.
        on_disk = modules.get(kernel or os.uname().release)
        if on_disk and on_disk["license"]:
            flavor = _flavor(on_disk["license"])
            sources["flavor"] = "license of %s" % on_disk["path"][len(root) :]
        else:
            unavailable["flavor"] = "no module is loaded, and none on disk for the running kernel names its licence"
    return {
        "loaded_version": now["version"],
        "library_version": library_version,
        "flavor": flavor,
        "module_versions": {release: module["version"] for release, module in modules.items()},
        "module_flavors": {release: _flavor(module["license"]) for release, module in modules.items()},
        "module_signers": {release: module["signer"] for release, module in modules.items()},
        "nouveau_loaded": os.path.isdir(root + "/sys/module/nouveau"),
        "unavailable": unavailable,
        "sources": sources,
    }


def _flavor(license_text: t.Optional[str]) -> t.Optional[str]:
    return None if not license_text else "open" if license_text == OPEN_LICENSE else "proprietary"
