"""The simulated driver packages: fills in `driver.yml` for every branch, version and flavour."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from tests.lab.packages import modules
from tests.lab.packages.deb import Package
from tests.lab.packages.keys import ModuleKey

HERE = Path(__file__).parent
RECIPES: dict[str, Any] = yaml.safe_load((HERE / "driver.yml").read_text())
EXCLUSIVE = ("provides", "conflicts", "replaces")

BuildUserland = Callable[[str, Path], None]


def fill(value: Any, words: dict[str, str]) -> Any:
    """Replace every `@WORD@` in strings, also inside lists and mappings; an unknown word is a KeyError."""
    if isinstance(value, str):
        return re.sub(r"@([A-Z]+)@", lambda match: words[match.group(1)], value)
    if isinstance(value, list):
        return [fill(item, words) for item in value]
    if isinstance(value, dict):
        return {fill(key, words): fill(item, words) for key, item in value.items()}
    return value


def package_release(release: str | None = None) -> str:
    """The running kernel's release as it may stand in a package name (deb-control(5): lower case, digits, `+-.`)."""
    return re.sub(r"[^a-z0-9+.-]", "-", (release or os.uname().release).lower())


def flavours() -> list[str]:
    """Flavours of the kernel's packages: what the running kernel's release ends with, as in 6.8.0-88-aws, and `generic`."""
    ending = re.search(r"(?<=-)[a-z][a-z0-9-]*$", package_release())
    return list(dict.fromkeys([ending.group() if ending else "generic", "generic"]))


def recipes(group: str, words: dict[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and recipes of a group, filled in; once a flavour where the name has one."""
    for name, recipe in RECIPES[group].items():
        for flavour in flavours() if "@FLAVOUR@" in name else [""]:
            more = {**words, "FLAVOUR": flavour}
            yield fill(name, more), fill(recipe, more)


@dataclass(frozen=True)
class Driver:
    """One version of one branch."""

    branch: str
    version: str
    generation: int
    flavors: tuple[str, ...]

    @property
    def package_version(self) -> str:
        return f"{self.version}-{RECIPES['revision']}"

    def words(self, flavor: str = modules.PROPRIETARY) -> dict[str, str]:
        """What the recipe's words stand for."""
        suffix = "-open" if flavor == modules.OPEN else ""
        server = "srv" if self.branch.endswith("-server") else ""
        return {
            "B": self.branch,
            "NUMBER": self.branch.partition("-")[0],
            "BF": self.branch + suffix,
            "VERSION": self.version,
            "DEB": self.package_version,
            "SRV": f"nvidia-{self.branch.partition('-')[0]}{server}{suffix}",
            "SOURCE": "nvidia-srv" if server else "nvidia",
            **kernel_words(self.generation),
        }


def kernel_words(generation: int = 0) -> dict[str, str]:
    """Kernel release and the version of its packages; a later generation brings newer driver modules for the same kernel."""
    match = re.match(r"\d+(\.\d+)*", os.uname().release)
    version = f"{match.group() if match else '0'}-1.1"
    return {"REL": package_release(), "KVER": os.uname().release, "KV": f"{version}+{generation}" if generation else version}


def drivers() -> list[Driver]:
    """Every branch and version of the repository, oldest version of a branch first."""
    newest = max(len(entry["versions"]) for entry in RECIPES["branches"])
    return [
        Driver(entry["branch"], version, newest - len(entry["versions"]) + 1 + position, tuple(entry["flavors"]))
        for entry in RECIPES["branches"]
        for position, version in enumerate(entry["versions"])
    ]


def install_arguments(branch: str, version: str | None = None, flavor: str = modules.PROPRIETARY) -> list[str]:
    """`NAME=VERSION` of every package of a headless driver with prebuilt module and nvidia-smi: what apt needs to install this very version.

    Without `version` the branch's newest. Raises LookupError for a driver that the repository does not have.
    """
    matching = [driver for driver in drivers() if driver.branch == branch and version in (None, driver.version) and flavor in driver.flavors]
    if not matching:
        raise LookupError(f"no driver {branch} {version or ''} {flavor} in the lab's repository")
    driver = matching[-1]
    words = driver.words(flavor)
    versions = {"userland": words["DEB"], "flavored": words["DEB"], "prebuilt": words["KV"], "signatures": words["KV"]}
    names = {name: versions[group] for group in versions for name, _recipe in recipes(group, words)}
    unwanted = re.compile("|".join([r"nvidia-(dkms|headless-\d)", *(f"linux-.*-{flavour}$" for flavour in flavours()[1:])]))
    return [f"{name}={of}" for name, of in names.items() if not unwanted.match(name)]


def fabric_manager(branch: str, version: str) -> str:
    """`NAME=VERSION` of the fabric manager of a driver of a server branch."""
    driver = next(one for one in drivers() if (one.branch, one.version) == (branch, version) and one.branch.endswith("-server"))
    ((name, _recipe),) = recipes("fabric", driver.words())
    return f"{name}={driver.package_version}"


class Builder:
    """Turns the recipes into packages; compiles what they hold into `work`."""

    def __init__(self, work: Path, key: ModuleKey, build_userland: BuildUserland) -> None:
        self.work = work
        self.key = key
        self.build_userland = build_userland

    def packages(self) -> list[Package]:
        """Every package of the repository."""
        found: list[Package] = []
        signatures: dict[int, Package] = {}
        for driver in drivers():
            userland = [self.make(name, recipe, driver.words(), driver.package_version) for name, recipe in recipes("userland", driver.words())]
            self._share_out(driver, userland)
            found += userland
            if driver.branch.endswith("-server"):
                found += [self.make(name, recipe, driver.words(), driver.package_version) for name, recipe in recipes("fabric", driver.words())]
            for flavor in driver.flavors:
                words = driver.words(flavor)
                objects = Modules(self.work / f"modules-{driver.branch}-{driver.version}-{flavor}", driver.version, flavor)
                found += [self.make(name, recipe, words, words["DEB"], objects) for name, recipe in recipes("flavored", words)]
                found += [self.make(name, recipe, words, words["KV"], objects) for name, recipe in recipes("prebuilt", words)]
                if driver.generation not in signatures:
                    ((name, recipe),) = recipes("signatures", words)
                    signatures[driver.generation] = self.make(name, recipe, words, words["KV"])
                bits = f"/lib/modules/{words['KVER']}/kernel/{words['SRV']}/bits"
                for name, path in objects.objects.items():
                    signatures[driver.generation].files[f"{bits}/{name}.ko.sig"] = modules.signature(path, self.key)
        found += signatures.values()
        for name, recipe in recipes("kernel", kernel_words()):
            found.append(self.make(name, recipe, kernel_words(), kernel_words()["KV"]))
            found[-1].component, found[-1].section = "main", "kernel"
        return found + transitional()

    def make(self, name: str, recipe: dict[str, Any], words: dict[str, str], version: str, objects: Modules | None = None) -> Package:
        """One package with the contents and relations of its filled-in recipe; `words` are for the files that it takes from files/."""
        package = Package(name, version, recipe["description"])
        package.description += "\nSimulates the package of this name for tests; holds no software of NVIDIA."
        for relation in ("depends", *EXCLUSIVE):
            package.relations[relation] = [*recipe.get(relation, []), *(recipe.get("exclusive", []) if relation in EXCLUSIVE else [])]
        package.files.update({path: fill((HERE / "files" / source).read_text(), words) for path, source in recipe.get("files", {}).items()})
        package.files.update(recipe.get("contents", {}))
        package.files.update({path: self._program(source, words.get("VERSION", "")) for path, source in recipe.get("built", {}).items()})
        package.links.update(recipe.get("links", {}))
        package.scripts.update({kind: fill((HERE / "files" / source).read_text(), words) for kind, source in recipe.get("scripts", {}).items()})
        package.triggers += recipe.get("triggers", [])
        if objects and "module_sources" in recipe:
            package.files.update({f"{recipe['module_sources']}/{module}.c": path for module, path in objects.sources.items()})
        if objects and "module_objects" in recipe:
            package.files.update({f"{recipe['module_objects']}/{module}.o": path for module, path in objects.objects.items()})
        if "nouveau" in recipe:
            package.files[f"{recipe['nouveau']}/nouveau.ko"] = self._nouveau()
            package.files.update({f"/lib/modules/{words['KVER']}/{name}": "" for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo")})
        return package

    def _share_out(self, driver: Driver, packages: list[Package]) -> None:
        """Give each package its files of the simulated user space; a file that nobody takes is an error of the recipe."""
        tree = self.work / f"userland-{driver.version}"
        if not tree.exists():
            self.build_userland(driver.version, tree)
            # The links by soname are part of the archive's packages.
            subprocess.run(["/sbin/ldconfig", "-n", str(tree / "usr/lib/x86_64-linux-gnu")], check=True)
        left = {str(path.relative_to(tree)): path for path in sorted(tree.rglob("*")) if not path.is_dir() or path.is_symlink()}
        recipes = list(RECIPES["userland"].values())
        for recipe, package in sorted(zip(recipes, packages, strict=True), key=lambda pair: bool(pair[0].get("tree_rest"))):
            patterns = ["usr/lib/*"] if recipe.get("tree_rest") else recipe.get("tree", [])
            for name in [name for name in left if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]:
                path = left.pop(name)
                if path.is_symlink():
                    package.links[f"/{name}"] = os.readlink(path)
                else:
                    package.files[f"/{name}"] = path
        if left:
            raise ValueError(f"no package of driver.yml takes {', '.join(left)}")

    def _program(self, source: str, version: str) -> Path:
        """Compile a source of files/ for a driver version, which it knows as LAB_VERSION."""
        target = self.work / "programs" / f"{Path(source).stem}-{version}"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-s", f'-DLAB_VERSION="{version}"', "-o", str(target), str(HERE / "files" / source)], check=True)
        return target

    def _nouveau(self) -> Path:
        source, target = self.work / "nouveau.c", self.work / "nouveau.ko"
        source.write_text(modules.c_source("nouveau", modules.nouveau()))
        modules.compile_module(source, os.uname().release, target)
        return target


class Modules:
    """Sources and objects of one driver's kernel modules, `{module: path}`."""

    def __init__(self, work: Path, version: str, flavor: str) -> None:
        self.work = work
        self.version = version
        self.flavor = flavor

    @cached_property
    def sources(self) -> dict[str, Path]:
        self.work.mkdir(parents=True)
        found = {}
        for module, entries in modules.modinfo(self.version, self.flavor).items():
            found[module] = self.work / f"{module}.c"
            found[module].write_text(modules.c_source(module, entries))
        return found

    @cached_property
    def objects(self) -> dict[str, Path]:
        found = {}
        for module, source in self.sources.items():
            found[module] = source.with_suffix(".o")
            modules.compile_module(source, os.uname().release, found[module])
        return found


def transitional() -> list[Package]:
    """Empty packages of closed branches, each pulling in its namesake of the next branch."""
    found: dict[str, Package] = {}
    for old, new in RECIPES["transitional"].items():
        successor = [driver for driver in drivers() if driver.branch == new][-1]
        for flavor, flavour in itertools.product(successor.flavors, flavours()):
            words = {**successor.words(flavor), "FLAVOUR": flavour}
            old_words = {**words, "B": old, "BF": words["BF"].replace(new, old)}
            for name in RECIPES["transitional_names"]:
                package = Package(fill(name, old_words), words["KV"] if name.startswith("linux-") else words["DEB"])
                package.description = f"Transitional package for {fill(name, words)}"
                package.relations["depends"] = [fill(name, words)]
                found[package.name] = package
    return list(found.values())
