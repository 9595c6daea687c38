# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the installed driver packages come from, which are held, and what no package owns. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver, rpm_packages
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_text
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.packages import DPKG_STATUS, STATUS_BYTES

Run = t.Callable[..., t.Tuple[int, str, str]]

LISTS = "/var/lib/dpkg/info"
VERSIONLOCK = "/etc/dnf/plugins/versionlock.list"
# What NVIDIA's .run installer leaves beside the driver itself; no package of a distribution or of NVIDIA has them.
INSTALLER = ("/usr/bin/nvidia-uninstall", "/usr/bin/nvidia-installer")
# dpkg: who maintains a package tells who built it (packages.ubuntu.com, Debian's and NVIDIA's control files).
MAINTAINERS = ((re.compile(r"nvidia\.com|NVIDIA C", re.IGNORECASE), "cuda_repository"), (re.compile(r"ubuntu", re.IGNORECASE), "ubuntu_archive"),
               (re.compile(r"debian", re.IGNORECASE), "debian_archive"))  # fmt: skip
STANZA = re.compile(r"^Package: (\S+)\n(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^(Status|Maintainer): (.*)$", re.MULTILINE)
LOCKED = re.compile(r"^([^!#\s]\S*?)-(?:\d+:)?[^-\s]+-[^-\s]+$", re.MULTILINE)
KERNEL_IMAGE = re.compile(r"^Package: linux-image-([a-z]\S*)\nStatus: (?:install|hold) ok installed$", re.MULTILINE)


def read(run: Run, installed: t.Sequence[str], root: str = "", timeout_seconds: float = 20) -> t.Dict[str, t.Any]:
    """`package_sources`, `held_packages` and `unmanaged` of the facts, and `unavailable`. `installed`: names of the driver's packages."""
    text, _why = read_text(root + DPKG_STATUS, STATUS_BYTES)
    unavailable: t.Dict[str, str] = {}
    sources: t.Optional[t.Dict[str, str]]
    sources, held = dpkg(text or "", installed)
    # A host can have both databases; that of the other family has no driver.
    of_dpkg = bool(sources) or not rpm_packages.exists(root)
    if not of_dpkg:
        sources, held, why = _rpm(run, installed, root, timeout_seconds)
        if sources is None:
            unavailable["package_sources"] = why
    found, why = unmanaged(run, installed, root, timeout_seconds, of_dpkg)
    if found is None:
        unavailable["unmanaged"] = why
    return {"package_sources": sources, "held_packages": held, "unmanaged": found, "unavailable": unavailable}


def dpkg(text: str, installed: t.Iterable[str]) -> t.Tuple[t.Dict[str, str], t.List[str]]:
    """`({package: source}, held packages)` of the packages `installed`, from dpkg's status file."""
    wanted, sources, held = set(installed), {}, []
    for match in STANZA.finditer(text):
        name = match.group(1)
        if name in wanted:
            fields = dict(FIELD.findall(match.group(2)))
            maintainer = fields.get("Maintainer", "")
            sources[name] = next((source for pattern, source in MAINTAINERS if pattern.search(maintainer)), "other")
            if fields.get("Status", "").startswith("hold "):
                held.append(name)
    return sources, sorted(held)


def locked(text: str, installed: t.Iterable[str]) -> t.List[str]:
    """Those of `installed` that dnf's versionlock.list keeps at their version; lines that begin with `!` exclude."""
    patterns = {match.group(1) for match in LOCKED.finditer(text)}
    return sorted(name for name in installed if name in patterns)


def kernel_flavour(release: str, root: str = "") -> t.Tuple[t.Optional[str], str]:
    """`(flavour, reason)` of the kernel's packages: `generic-hwe-24.04` where linux-image-generic-hwe-24.04 is installed, else what the release ends with.

    linux-image-generic-hwe-24.04 follows other kernels than linux-image-generic; the longer name is the one that was installed on purpose.
    """
    ending = re.search(r"-([a-z][a-z0-9-]*)\Z", release)
    guess = ending.group(1) if ending else "generic"
    text, why = read_text(root + DPKG_STATUS, STATUS_BYTES)
    if text is None:
        return None, why.replace(root, "", 1) if root else why
    found = [name for name in KERNEL_IMAGE.findall(text) if name == guess or name.startswith(guess + "-hwe-")]
    return max(found, default=guess), ""


def _rpm(run: Run, installed: t.Sequence[str], root: str, timeout_seconds: float) -> t.Tuple[t.Optional[t.Dict[str, str]], t.List[str], str]:
    held = locked(read_text(root + VERSIONLOCK)[0] or "", installed)
    if not installed:
        return {}, held, ""
    rc, out, err = run(["rpm", "-q", "--qf", "%{NAME}\t%{VENDOR}\t%{PACKAGER}\n"] + sorted(installed), timeout_seconds=timeout_seconds)
    if rc not in (0, 1) or "\t" not in out:
        return None, held, "rpm -q: rc %d %s" % (rc, err.strip()[:200])
    lines = [line.split("\t", 1) for line in out.splitlines() if "\t" in line]
    return {name: "cuda_repository" if "nvidia" in who.lower() else "other" for name, who in lines}, held, ""


def unmanaged(run: Run, installed: t.Sequence[str], root: str, timeout_seconds: float, is_dpkg: bool) -> t.Tuple[t.Optional[t.List[str]], str]:
    """`(paths, reason)` of files of a driver that no package owns: the .run installer's programs, and the NVML library."""
    candidates = [path for path in INSTALLER if os.path.exists(root + path)]
    _version, library, _why = driver.library(root)
    if library:
        candidates.append(os.path.realpath(root + library)[len(root) :])
    if not candidates:
        return [], ""
    if is_dpkg:
        owned = _dpkg_files(installed, root)
        return [path for path in candidates if _alias(path) not in owned], ""
    found = []
    for path in candidates:
        rc, out, err = run(["rpm", "-qf", path], timeout_seconds=timeout_seconds)
        if rc == 1 and "not owned" in out + err:
            found.append(path)
        elif rc != 0:
            return None, "rpm -qf: rc %d %s" % (rc, (err or out).strip()[:200])
    return found, ""


def _dpkg_files(installed: t.Sequence[str], root: str) -> t.Set[str]:
    wanted = set(installed)
    files: t.Set[str] = set()
    for name in names(root + LISTS):
        package, dot, kind = name.rpartition(".")
        if kind == "list" and dot and package.partition(":")[0] in wanted:
            files.update(_alias(line) for line in (read_text("%s%s/%s" % (root, LISTS, name))[0] or "").splitlines())
    return files


def _alias(path: str) -> str:
    """A path in one of its two spellings where /lib is /usr/lib."""
    return path[len("/usr") :] if path.startswith("/usr/lib") else path
