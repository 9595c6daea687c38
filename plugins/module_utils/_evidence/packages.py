# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed packages by name. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import rpm_packages
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

Run = t.Callable[..., t.Tuple[int, str, str]]

DPKG_STATUS = "/var/lib/dpkg/status"
STATUS_BYTES = 64 * 1024 * 1024

DRIVER = re.compile(r"^(?:nvidia-|libnvidia-|linux-(?:modules|objects|signatures)-nvidia|xserver-xorg-video-nvidia|cuda-drivers|libnvsdm|kmod-nvidia"
                    r"|dkms-nvidia|akmod-nvidia|nvidia$|xorg-x11-drv-nvidia)")  # fmt: skip
CONTAINER_TOOLKIT = re.compile(r"^(?:nvidia-container-|libnvidia-container|nvidia-docker)")
DOCKER = ("docker-ce", "docker.io", "docker-engine", "moby-engine", "docker")
NAME_GLOBS = ("*nvidia*", "cuda-drivers*", "libnvsdm*", "docker*", "moby-engine")


def read(run: Run, root: str = "", timeout_seconds: float = 20) -> t.Tuple[t.Optional[t.Dict[str, str]], str, str]:
    """`({package: version}, source, reason)` of the installed packages that matter for a GPU server; None and the reason when unreadable.

    dpkg's database is read as text; an rpm database only `rpm` can read. A host can have both: the tool of the other family is a package like any other.
    """
    text, why = read_text(root + DPKG_STATUS, STATUS_BYTES)
    of_dpkg = {} if text is None else dpkg(text)
    if of_dpkg or not rpm_packages.exists(root):
        if text is not None:
            return of_dpkg, DPKG_STATUS, ""
        return None, "", "neither a dpkg nor an rpm database (%s)" % (why.replace(root, "", 1) if root else why)
    found, reason = rpm_packages.read(run, NAME_GLOBS, timeout_seconds)
    if found or text is None:
        return found, "" if found is None else rpm_packages.SOURCE, reason
    return of_dpkg, DPKG_STATUS, ""


STANZA = re.compile(r"^Package: (\S*(?:nvidia|cuda-drivers|libnvsdm|docker|moby-engine)\S*)\n(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^(Status|Version): (.*)$", re.MULTILINE)


def dpkg(text: str) -> t.Dict[str, str]:
    """`{package: version}` of the interesting packages that dpkg's status file `text` calls installed (deb-control(5))."""
    found = {}
    for match in STANZA.finditer(text):
        fields = dict(FIELD.findall(match.group(2)))
        if fields.get("Status", "").split(" ")[-1] == "installed" and fields.get("Version"):
            found[match.group(1)] = fields["Version"]
    return found


def driver_packages(installed: t.Dict[str, str]) -> t.Dict[str, str]:
    """Those of `installed` that belong to the driver."""
    return {name: installed[name] for name in sorted(installed) if DRIVER.match(name) and not CONTAINER_TOOLKIT.match(name)}


def upstream(version: t.Optional[str]) -> t.Optional[str]:
    """The upstream version in a package's or program's version: `5:27.5.1-1~debian` → 27.5.1, `26.1.5+dfsg1` → 26.1.5; None without digits."""
    match = re.match(r"(?:\d+:)?v?(\d+(?:\.\d+)*)", version or "")
    return match.group(1) if match else None
