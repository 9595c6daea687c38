# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installed rpm packages by name. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import typing as t

Run = t.Callable[..., t.Tuple[int, str, str]]

# Enterprise Linux 8 and 9; Fedora and what follows it.
DATABASES = ("/var/lib/rpm", "/usr/lib/sysimage/rpm")
FORMAT = "%{NAME}\t%{EPOCH}:%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\n"
SOURCE = "rpm -qa"


def exists(root: str = "") -> bool:
    """Say whether the host has a database of rpm packages."""
    return any(os.path.isdir(root + folder) for folder in DATABASES)


def read(run: Run, globs: t.Sequence[str], timeout_seconds: float = 20) -> t.Tuple[t.Optional[t.Dict[str, str]], str]:
    """`({package: [epoch:]version-release}, reason)` of the installed packages that match `globs`; None and the reason when rpm cannot tell."""
    rc, out, err = run(["rpm", "-qa", "--qf", FORMAT] + list(globs), timeout_seconds=timeout_seconds)
    if rc != 0:
        return None, "rpm -qa: rc %d %s" % (rc, err.strip()[:200])
    return parse(out), ""


def parse(text: str) -> t.Dict[str, str]:
    """`{package: [epoch:]version-release}` from lines in FORMAT; rpm prints `(none)` for no epoch.

    Of a package that is there in several versions (kernels, or what an interrupted transaction left) the one that was installed last counts.
    """
    found: t.Dict[str, t.Tuple[int, str]] = {}
    for line in text.splitlines():
        name, _tab, rest = line.partition("\t")
        version, _tab, time = rest.partition("\t")
        installed = int(time) if time.isdecimal() else 0
        version = version[len("(none):") :] if version.startswith("(none):") else version
        if name and version and installed >= found.get(name, (0, ""))[0]:
            found[name] = (installed, version)
    return {name: version for name, (_installed, version) in found.items()}
