"""The simulated driver packages: fills in an archive's recipes for every branch, version and flavour."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import subprocess
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.lab.packages import modules
from tests.lab.packages.deb import Package
from tests.lab.packages.keys import ModuleKey
from tests.lab.packages.recipes import PROPRIETARY, Archive, Driver, fill, flavours, kernel_words

HERE = Path(__file__).parent
EXCLUSIVE = ("provides", "conflicts", "replaces")
RELATIONS = ("depends", "recommends", *EXCLUSIVE)

BuildUserland = Callable[[str, Path], None]


def install_arguments(branch: str, version: str | None = None, flavor: str = PROPRIETARY, source: str = "ubuntu") -> list[str]:
    """`NAME=VERSION` of every package of a headless driver with nvidia-smi: what apt needs to install this very version.

    `source` is the archive's file name without `.yml`, or a variant of it (`ubuntu/broken`). The module comes prebuilt where the archive has it
    so, else with DKMS. Without `version` the branch's newest. Raises LookupError for a driver that the archive does not have.
    """
    archive = Archive.load(source)
    matching = [driver for driver in archive.drivers() if driver.branch == branch and version in (None, driver.version) and flavor in driver.flavors]
    if not matching:
        raise LookupError(f"no driver {branch} {version or ''} {flavor} in the lab's archive {source}")
    driver = matching[-1]
    words = driver.words(flavor)
    versions = {"userland": words["DEB"], "flavored": words["DEB"], "prebuilt": words["KV"], "signatures": words["KV"]}
    names = {name: versions[group] for group in versions for name, _recipe in archive.recipes(group, words)}
    patterns = [*archive.data.get("not_headless", []), *(f"linux-.*-{flavour}$" for flavour in flavours()[1:])]
    if "prebuilt" in archive.groups and archive.data.get("prebuilt"):
        patterns += archive.data["not_with_prebuilt"]
    return [f"{name}={of}" for name, of in names.items() if not re.match("|".join(patterns) or "$", name)]


def fabric_manager(branch: str, version: str) -> str:
    """`NAME=VERSION` of the fabric manager of a driver of a server branch."""
    driver = next(one for one in Archive.load("ubuntu").drivers() if (one.branch, one.version) == (branch, version))
    return f"nvidia-fabricmanager-{driver.words()['MAJOR']}={driver.package_version}"


class Builder:
    """Turns the recipes of an archive into packages; compiles what they hold into `work`."""

    def __init__(self, archive: Archive, work: Path, key: ModuleKey, build_userland: BuildUserland) -> None:
        self.archive = archive
        self.work = work
        self.key = key
        self.build_userland = build_userland

    def packages(self) -> list[Package]:
        """Every package of the repository."""
        archive = self.archive
        found: list[Package] = []
        signatures: dict[int, Package] = {}
        for driver in archive.drivers():
            recipes = list(archive.recipes("userland", driver.words()))
            userland = [self.make(name, recipe, driver.words(), driver.package_version) for name, recipe in recipes]
            self._share_out(driver, [recipe for _name, recipe in recipes], userland)
            found += userland
            for flavor in driver.flavors:
                words = driver.words(flavor)
                objects = Modules(self.work / f"modules-{driver.branch}-{driver.version}-{flavor}", driver, flavor)
                found += [self.make(name, recipe, words, words["DEB"], objects) for name, recipe in archive.recipes("flavored", words)]
                found += [self.make(name, recipe, words, words["KV"], objects) for name, recipe in archive.recipes("prebuilt", words)]
                for name, recipe in archive.recipes("signatures", words):
                    package = signatures.setdefault(driver.generation, self.make(name, recipe, words, words["KV"]))
                    bits = f"/lib/modules/{words['KVER']}/kernel/{words['SRV']}/bits"
                    package.files.update({f"{bits}/{module}.ko.sig": modules.signature(path, self.key) for module, path in objects.objects.items()})
        found += signatures.values()
        words = kernel_words(archive.release)
        found += [self.make(name, recipe, words, words["KV"]) for name, recipe in archive.recipes("kernel", words)]
        found += [self.make(name, recipe, {}, recipe["version"]) for name, recipe in archive.recipes("once", {})]
        for pin in archive.pins() if "pinning" in archive.groups else []:
            found += [self.make(name, recipe, pin, f"{pin['PIN']}-1") for name, recipe in archive.recipes("pinning", pin)]
        return found + (transitional(archive) if "transitional" in archive.groups else [])

    def make(self, name: str, recipe: dict[str, Any], words: dict[str, str], version: str, objects: Modules | None = None) -> Package:
        """One package with the contents and relations of its filled-in recipe; `words` are for the files that it takes from files/."""
        package = Package(name, version, recipe["description"], recipe.get("component", "restricted"), recipe.get("section", "restricted/misc"))
        package.source = recipe.get("source", "")
        package.description += "\nSimulates the package of this name for tests; holds no software of NVIDIA."
        for relation in RELATIONS:
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

    def _share_out(self, driver: Driver, recipes: list[dict[str, Any]], packages: list[Package]) -> None:
        """Give each package its files of the simulated user space; a file that nobody takes is an error of the recipe."""
        if not packages:
            return
        tree = self.work / f"userland-{driver.version}"
        if not tree.exists():
            self.build_userland(driver.version, tree)
            # The links by soname are part of the archive's packages.
            subprocess.run(["/sbin/ldconfig", "-n", str(tree / "usr/lib/x86_64-linux-gnu")], check=True)
        left = {str(path.relative_to(tree)): path for path in sorted(tree.rglob("*")) if not path.is_dir() or path.is_symlink()}
        for recipe, package in sorted(zip(recipes, packages, strict=True), key=lambda pair: bool(pair[0].get("tree_rest"))):
            patterns = ["usr/lib/*"] if recipe.get("tree_rest") else recipe.get("tree", [])
            for name in [name for name in left if any(fnmatch.fnmatch(name, pattern) for pattern in patterns)]:
                path = left.pop(name)
                if path.is_symlink():
                    package.links[f"/{name}"] = os.readlink(path)
                else:
                    package.files[f"/{name}"] = path
        if left:
            raise ValueError(f"no package of the archive takes {', '.join(left)}")

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
        modules.compile_module(source, self.archive.release, target)
        return target


class Modules:
    """Sources and objects of one driver's kernel modules, `{module: path}`."""

    def __init__(self, work: Path, driver: Driver, flavor: str) -> None:
        self.work = work
        self.driver = driver
        self.flavor = flavor

    @cached_property
    def sources(self) -> dict[str, Path]:
        self.work.mkdir(parents=True)
        found = {}
        for module, entries in modules.modinfo(self.driver.version, self.flavor, self.driver.defect).items():
            found[module] = self.work / f"{module}.c"
            found[module].write_text(modules.c_source(module, entries, self.driver.defect))
        return found

    @cached_property
    def objects(self) -> dict[str, Path]:
        found = {}
        for module, source in self.sources.items():
            found[module] = source.with_suffix(".o")
            modules.compile_module(source, self.driver.release, found[module])
        return found


def transitional(archive: Archive) -> list[Package]:
    """Empty packages of closed branches, each pulling in its namesake of the next branch."""
    found: dict[str, Package] = {}
    for old, new in archive.data.get("transitional", {}).items():
        successor = [driver for driver in archive.drivers() if driver.branch == new][-1]
        for flavor, flavour in itertools.product(successor.flavors, flavours()):
            words = {**successor.words(flavor), "FLAVOUR": flavour}
            old_words = {**words, "B": old, "BF": words["BF"].replace(new, old), "MAJOR": old.partition("-")[0]}
            for name in archive.data["transitional_names"]:
                package = Package(fill(name, old_words), words["KV"] if name.startswith("linux-") else words["DEB"])
                package.description = f"Transitional package for {fill(name, words)}"
                package.relations["depends"] = [fill(name, words)]
                found[package.name] = package
    return list(found.values())
