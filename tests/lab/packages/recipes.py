"""Archives of simulated drivers as data: one YAML file an archive, its words, and the branches and versions that it has."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
PROPRIETARY = "proprietary"
OPEN = "open"
GROUPS = ("once", "pinning", "userland", "flavored", "prebuilt", "signatures", "kernel", "transitional")


def fill(value: Any, words: dict[str, str]) -> Any:
    """Replace every `@WORD@` in strings, also inside lists and mappings; an unknown word is a KeyError."""
    if isinstance(value, str):
        return re.sub(r"@([A-Z]+)@", lambda match: words[match.group(1)], value)
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    if isinstance(value, dict):
        return {fill(key, words): fill(item, words) for key, item in value.items()}
    return value


def running_release() -> str:
    """The release of the kernel that runs on this machine, and so on every node until it boots another entry."""
    return os.uname().release


def next_release(release: str | None = None) -> str:
    """The release of the kernel's next update: the last number of its version is one higher, as 6.18.45-x after 6.18.44-x."""
    release = release or running_release()
    version = re.match(r"\d+(?:\.\d+)*", release)
    if not version:
        return f"{release}.1"
    first, _, last = version.group().rpartition(".")
    return f"{first}.{int(last) + 1}{release[version.end() :]}" if first else f"{int(last) + 1}{release[version.end() :]}"


def package_release(release: str | None = None) -> str:
    """A kernel's release as it may stand in a package name (deb-control(5): lower case, digits, `+-.`)."""
    return re.sub(r"[^a-z0-9+.-]", "-", (release or running_release()).lower())


def flavours() -> list[str]:
    """Flavours of the kernel's packages: what the running kernel's release ends with, as in 6.8.0-88-aws, and `generic`."""
    ending = re.search(r"(?<=-)[a-z][a-z0-9-]*$", package_release())
    return list(dict.fromkeys([ending.group() if ending else "generic", "generic"]))


def kernel_words(release: str | None = None, generation: int = 0) -> dict[str, str]:
    """Kernel release and the version of its packages; a later generation brings newer driver modules for the same kernel."""
    release = release or running_release()
    match = re.match(r"\d+(\.\d+)*", release)
    version = f"{match.group() if match else '0'}-1.1"
    return {"REL": package_release(release), "KVER": release, "KV": f"{version}+{generation}" if generation else version}


@dataclass(frozen=True)
class Driver:
    """One version of one branch. `entry` is the branch's entry in the archive's file."""

    branch: str
    version: str
    generation: int
    flavors: tuple[str, ...]
    package_version: str
    release: str
    defect: str = ""
    entry: dict[str, Any] = field(default_factory=dict, compare=False)

    def words(self, flavor: str = PROPRIETARY) -> dict[str, str]:
        """What the recipe's words stand for."""
        suffix = "-open" if flavor == OPEN else ""
        server = "srv" if self.branch.endswith("-server") else ""
        words = {
            "B": self.branch,
            "BF": self.branch + suffix,
            "MAJOR": self.branch.partition("-")[0],
            "OPEN": suffix,
            "META": "nvidia-open" if suffix else "cuda-drivers",
            "VERSION": self.version,
            "DEB": self.package_version,
            "SRV": f"nvidia-{self.branch.partition('-')[0]}{server}{suffix}",
            "SOURCE": "nvidia-srv" if server else "nvidia",
            **kernel_words(self.release, self.generation),
        }
        return {**words, **fill(self.entry.get("words", {}), words)}


@dataclass(frozen=True)
class Archive:
    """The recipes of one archive, for one kernel, and which groups of them it has."""

    data: dict[str, Any]
    release: str
    groups: tuple[str, ...] = GROUPS

    @classmethod
    def load(cls, name: str) -> Archive:
        """The archive of `NAME.yml` beside this file, or its variant `NAME/VARIANT`: the same recipes for other branches, groups or kernel."""
        name, _, variant = name.partition("/")
        data = yaml.safe_load((HERE / f"{name}.yml").read_text())
        archive = cls(data, running_release())
        if not variant:
            return archive
        chosen = data["variants"][variant]
        archive = replace(archive, data={**data, "branches": chosen.get("branches", data["branches"])}, groups=tuple(chosen["groups"]))
        return replace(archive, release=next_release()) if chosen.get("kernel") == "next" else archive

    def drivers(self) -> list[Driver]:
        """Every branch and version of the archive, oldest version of a branch first."""
        newest = max(len(entry["versions"]) for entry in self.data["branches"])
        return [
            Driver(
                entry["branch"],
                version,
                entry.get("generation", newest - len(entry["versions"]) + 1) + position,
                tuple(entry["flavors"]),
                f"{version}-{entry.get('revision', self.data['revision'])}",
                self.release,
                entry.get("defect", ""),
                entry,
            )
            for entry in self.data["branches"]
            for position, version in enumerate(entry["versions"])
        ]

    def pins(self) -> list[dict[str, str]]:
        """Words of the packages that pin the driver: one for each branch, one for each version."""
        found = [{"PIN": driver.version, "GLOB": f"{driver.version}-*"} for driver in self.drivers()]
        return found + [{"PIN": branch, "GLOB": f"{branch}.*"} for branch in dict.fromkeys(driver.branch for driver in self.drivers())]

    def recipes(self, group: str, words: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and recipes of a group, filled in; once a flavour where the name has one.

        `only` is the ending of the branches that have the package, `only_flavor` the flavour.
        """
        if group not in self.groups:
            return
        for name, recipe in self.data.get(group, {}).items():
            if not words.get("B", "").endswith(recipe.get("only", "")):
                continue
            if recipe.get("only_flavor") and (recipe["only_flavor"] == OPEN) != bool(words.get("OPEN")):
                continue
            for flavour in flavours() if "@FLAVOUR@" in name else [""]:
                more = {**words, "FLAVOUR": flavour}
                yield fill(name, more), fill(recipe, more)
