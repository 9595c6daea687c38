# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages of a package source are a driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.driver_packages import OTHER_NAMES, ROWS, WITHOUT_SERVER
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

AUTO = "auto"
MANAGERS = ("apt", "dnf")
MODULE_SOURCES = (AUTO, "prebuilt", "precompiled", "dkms")
# Names of which there is one a driver and whose version is the driver's: they tell what a source has.
USERLAND = re.compile(r"(?:nvidia-utils(?:-\d{3}(?:-server)?)?|libnvidia-compute|nvidia-driver-cuda|nvidia-smi|nvidia-tesla-\d{3}-smi)\Z")
UPSTREAM = re.compile(r"(?:\d+:)?(\d{3}\.\d+(?:\.\d+)?)(?:[-+~].*)?\Z")
DRIVER_OF_MODULE = re.compile(r"nvidia-kernel-common-\S+ \(>= (\d{3}\.\d+(?:\.\d+)?)")
# Of these the plan names the right one itself.
MODULE_PACKAGE = re.compile(r"linux-|kmod-|nvidia-(?:dkms|headless|kernel|open-kernel|tesla)")
# A name and the version that it must have, in one group of alternatives of a Depends field.
DEPENDENCY = re.compile(r"([a-z0-9][a-z0-9+.-]+)(?::\w+)?(?: \(= ([^)]+)\))?(?: \([^=)][^)]*\))?\s*(?:\||\Z)")
BRANCH_IN_NAME = re.compile(r"-(\d{3})(?:-|\Z)")


class NotOfferedError(Exception):
    """The source cannot give this driver; carries one line a way that was tried."""

    def __init__(self, *lines: str):
        super().__init__(lines)
        self.lines = list(dict.fromkeys(lines))


class Wish(t.NamedTuple):
    """A driver to look for. `version` None: the newest of the branch from `floor` on. `refused`: module source → why it cannot be used."""

    branch: int
    flavor: str
    version: t.Optional[str]
    floor: t.Tuple[int, ...]
    kernels: t.Sequence[str]
    nvswitch: bool
    installed: t.Dict[str, str]
    headers: t.Optional[t.Sequence[str]]
    refused: t.Dict[str, str]


class Selection(t.NamedTuple):
    """The packages of a driver, ready for the package manager; `names` are the same without versions."""

    packages: t.List[str]
    names: t.List[str]
    headers: t.List[str]
    version: str
    source: str
    module_source: str
    stream: t.Optional[str]


class PackageSource:
    """What the role read of its package source (docs/architecture.md, "Plan"). Raises PolicyError for what makes no sense."""

    def __init__(self, given: t.Dict[str, t.Any]):
        self.manager = given.get("manager")
        if self.manager not in MANAGERS:
            raise PolicyError("package_source.manager is %s: it must be apt or dnf" % self.manager, option="package_source")
        self.module_source = given.get("module_source") or AUTO
        if self.module_source not in MODULE_SOURCES:
            words = ", ".join(MODULE_SOURCES)
            raise PolicyError("package_source.module_source is %s: it must be one of %s" % (self.module_source, words), option="package_source")
        self.distribution = known.text(given.get("distribution"))
        major = re.match(r"\d+", str(given.get("distribution_version") or ""))
        self.major = int(major.group(0)) if major else None
        self.kernel_flavour = known.text(given.get("kernel_flavour"))
        self.streams = [str(stream) for stream in given.get("streams") or []]
        self.depends: t.Dict[str, t.Dict[str, str]] = given.get("depends") or {}
        self.transitional: t.Dict[str, t.Optional[int]] = dict.fromkeys(given.get("transitional") or ())
        versions = given.get("versions")
        if not isinstance(versions, dict) or not all(isinstance(one, list) for one in versions.values()):
            raise PolicyError("package_source.versions must be a dict of package name to a list of versions", option="package_source")
        self.versions: t.Dict[str, t.List[str]] = {}
        for name, found in versions.items():
            number = BRANCH_IN_NAME.search(name)
            other = next((_branch(one) for one in found if USERLAND.match(name) and number and _branch(one) not in (None, int(number.group(1)))), None)
            if other is not None:
                # The name of a closed branch that only brings the next one: its version tells.
                self.transitional.setdefault(name, other)
            if name not in self.transitional:
                self.versions[name] = [str(one) for one in found]

    def branches(self) -> t.Dict[int, t.List[str]]:
        """`{branch: [driver versions, newest first]}` of what the source has."""
        found: t.Dict[int, t.List[str]] = {}
        for name, versions in self.versions.items():
            for version in versions if USERLAND.match(name) else ():
                branch, text = _branch(version), upstream(version)
                if branch is not None and text is not None and text not in found.setdefault(branch, []):
                    found[branch].append(text)
        return {branch: sorted(found[branch], key=_key, reverse=True) for branch in sorted(found)}

    def offer(self) -> str:
        """In words what the source has."""
        lines = ["R%d (%s)" % (branch, ", ".join(versions)) for branch, versions in self.branches().items()]
        return ", ".join(lines) or "no driver"

    def at(self, name: str, version: str) -> t.Optional[str]:
        """The newest package version of `name` that carries driver `version`."""
        return next((one for one in self.versions.get(name, ()) if upstream(one) == version), None)


def upstream(version: str) -> t.Optional[str]:
    """The driver's version in a package's: `3:580.95.05-1.el9` → 580.95.05; None for a package that has a version of its own."""
    match = UPSTREAM.match(version)
    return match.group(1) if match else None


def choose(source: PackageSource, wish: Wish) -> Selection:
    """The packages for `wish`, the preferred way first; NotOfferedError with a line a way when there is none."""
    rows = [row for row in ROWS if _applies(row, source, wish)]
    if source.module_source != AUTO:
        rows = [row for row in rows if row["module_source"] == source.module_source]
    what = "R%d (%s)" % (wish.branch, wish.flavor)
    if not rows:
        kind = "" if source.module_source == AUTO else " with %s modules" % source.module_source
        raise NotOfferedError("%s%s cannot be had from packages of %s" % (what, kind, source.distribution or source.manager))
    offered = source.branches().get(wish.branch, [])
    if not offered:
        raise NotOfferedError("the package source has no R%d; it has %s" % (wish.branch, source.offer()))
    fitting = [version for version in offered if wish.version in (None, version)]
    if not fitting:
        raise NotOfferedError("%s is asked for, and the package source has %s of R%d" % (wish.version, ", ".join(offered), wish.branch))
    fitting = [version for version in fitting if _key(version) >= wish.floor]
    if not fitting:
        raise NotOfferedError("the package source has only %s of R%d, which is too old" % (", ".join(offered), wish.branch))
    lacking: t.List[str] = []
    # Rows whose names the source does not have at all are those of other sources: of them there is nothing to say.
    own = [row for row in rows if any(_Way.fill(row["required"][0], wish, version) in source.versions for version in fitting)]
    for row in own or rows[:1]:
        if row["module_source"] in wish.refused:
            lacking.append("%s with %s modules: %s" % (what, row["module_source"], wish.refused[row["module_source"]]))
            continue
        for version in fitting:
            found = _Way(source, wish, row, version)
            if not found.missing:
                return found.selection()
            if version == fitting[0]:
                lacking.append("%s cannot be installed with %s modules: the package source lacks %s" % (what, row["module_source"], ", ".join(found.missing)))
    raise NotOfferedError(*lacking)


def _applies(row: t.Dict[str, t.Any], source: PackageSource, wish: Wish) -> bool:
    first, last = row["branches"]
    modular = row["stream"] is not None
    return (
        row["manager"] == source.manager
        and (row["distributions"] is None or source.distribution in row["distributions"])
        and (row["major"] is None or source.major in row["major"])
        and (source.manager != "dnf" or modular == bool(source.streams))
        and (first is None or wish.branch >= first)
        and (last is None or wish.branch <= last)
        and wish.flavor in row["flavors"]
        # Never without being asked: built for the kernels of one distribution, and signed by neither it nor the host.
        and (row["module_source"] != "precompiled" or source.module_source == "precompiled")
    )


class _Way:
    """One row of the catalogue tried with one driver version. `missing`: what the source lacks for it."""

    def __init__(self, source: PackageSource, wish: Wish, row: t.Dict[str, t.Any], version: str):
        self.source, self.wish, self.row, self.version = source, wish, row, version
        self.found: t.Dict[str, t.Optional[str]] = {}
        self.missing: t.List[str] = []
        for name in row["required"] + (row["fabric"] if wish.nvswitch else ()):
            self._take(self._fill(name), required=True)
        for kernel in wish.kernels:
            for pattern in row["per_kernel"]:
                self._module(self._fill(pattern, kernel), required=True)
        if source.kernel_flavour and not self.missing:
            for pattern in row["per_flavor"]:
                self._module(self._fill(pattern, source.kernel_flavour), required=False)
        self.stream = self._fill(row["stream"]) if row["stream"] else None
        if self.stream and self.stream not in source.streams:
            self.missing.append("the module stream nvidia-driver:%s" % self.stream)
        if not self.missing:
            self._companions()

    def _fill(self, pattern: str, kernel: str = "") -> str:
        if self.source.manager == "dnf":
            kernel = re.sub(r"\.(?:x86_64|aarch64)\Z", "", kernel)
        else:
            # deb-control(5): a package's name has lower-case letters, digits and + - . only.
            kernel = re.sub(r"[^a-z0-9+.-]", "-", kernel.lower())
        return self.fill(pattern, self.wish, self.version, kernel)

    @staticmethod
    def fill(pattern: str, wish: Wish, version: str, kernel: str = "") -> str:
        """A name of the catalogue with its words filled in."""
        return pattern.format(B=wish.branch, V=version, O="-open" if wish.flavor == "open" else "", K=kernel, F=kernel)

    def _take(self, name: str, required: bool) -> None:
        version = self.source.at(name, self.version)
        if version is not None:
            self.found[name] = version
        elif required:
            self.missing.append("%s %s" % (name, self.version))

    def _module(self, name: str, required: bool) -> None:
        """A package with the kernel's version: the newest whose module is of this driver, as far as its dependencies tell."""
        needs = self.source.depends.get(name, {})
        for version in self.source.versions.get(name, ()):
            match = DRIVER_OF_MODULE.search(needs.get(version, ""))
            if match is None or match.group(1) == self.version:
                self.found[name] = version
                return
        # Where a name carries both versions (dnf), the kernel's release may end with the distribution's mark.
        near = [one for one in self.source.versions if one.startswith(re.sub(r"\.el\d+(?:_\d+)?\Z", "", name))] if self.source.manager == "dnf" else []
        if near:
            self.found[near[0]] = self.source.versions[near[0]][0]
        elif required:
            self.missing.append(name)

    def _companions(self) -> None:
        wanted = [self._fill(name) for name in self.row["companions"] + (self.row["fabric_also"] if self.wish.nvswitch else ())]
        for name in wanted + self._extras():
            if name not in self.found:
                self._take(name, required=False)
        waiting = list(self.found)
        while waiting:
            name = waiting.pop()
            for group in self.source.depends.get(name, {}).get(self.found[name] or "", "").split(","):
                found = DEPENDENCY.findall(group)
                # Of alternatives the one that is chosen already, else the first with this very version or the driver's.
                for one, exact in found if not any(one in self.found for one, _exact in found) else ():
                    version = exact if exact in self.source.versions.get(one, ()) else self.source.at(one, self.version)
                    if version is not None:
                        self.found[one] = version
                        waiting.append(one)
                        break
        for name in self.row["plain"]:
            if name not in self.found and self.source.versions.get(name):
                self.found[name] = None

    def _extras(self) -> t.List[str]:
        """What the host has beyond a headless driver, under its name in the wanted branch and flavour."""
        open_flavor = self.wish.flavor == "open"
        found = []
        for name in self.wish.installed:
            number = BRANCH_IN_NAME.search(name)
            if MODULE_PACKAGE.match(name) or name == ("cuda-drivers" if open_flavor else "nvidia-open"):
                continue
            renamed = name if number is None else name[: number.start(1)] + str(self.wish.branch) + name[number.end(1) :]
            if number is not None and name.startswith("nvidia-driver-"):
                renamed = re.sub(r"-open\Z", "", renamed) + ("-open" if open_flavor else "")
            names = [renamed] + fabric_names(name, self.wish.branch)
            if not any(one in self.found for one in names):
                found.append(next((one for one in names if self.source.at(one, self.version)), renamed))
        return found

    def selection(self) -> Selection:
        """What was found."""
        joint = "=" if self.source.manager == "apt" else "-"
        headers = []
        if self.row["module_source"] == "dkms":
            headers = [self._fill(self.row["headers"], kernel) for kernel in self.wish.kernels if kernel not in (self.wish.headers or ())]
        return Selection(
            packages=[name if version is None else name + joint + version for name, version in self.found.items()],
            names=list(self.found),
            headers=headers,
            version=self.version,
            source=self.row["source"],
            module_source=self.row["module_source"],
            stream=self.stream,
        )


def fabric_names(name: str, branch: int) -> t.List[str]:
    """Every name that a package of the NVSwitch fabric can have in `branch`, whatever it is called now; nothing for another package.

    `nvidia-fabric-manager` → nvidia-fabric-manager, nvidia-fabric-manager-580, nvidia-fabricmanager, nvidia-fabricmanager-580.
    """
    stem = BRANCH_IN_NAME.sub("", name)
    if stem not in WITHOUT_SERVER and stem not in OTHER_NAMES:
        return []
    return [one + number for one in (stem, OTHER_NAMES.get(stem)) if one for number in ("", "-%d" % branch)]


def _branch(version: str) -> t.Optional[int]:
    text = upstream(str(version))
    return int(text.split(".")[0]) if text else None


def _key(version: str) -> t.Tuple[int, ...]:
    return t.cast("t.Tuple[int, ...]", known.version(version))
