"""The simulated driver packages of Enterprise Linux: fills in `driver.yml` for every version and flavour."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.node.image import EL_KERNEL
from tests.lab.packages import modules
from tests.lab.packages.el.rpm import Rpm
from tests.lab.packages.keys import ModuleKey
from tests.lab.packages.recipes import fill

HERE = Path(__file__).parent
# Files that the packages of both families have in common.
COMMON = HERE.parent / "files"
RECIPES: dict[str, Any] = yaml.safe_load((HERE / "driver.yml").read_text())


@dataclass(frozen=True)
class Driver:
    """One version; `defect` is what is wrong with it on purpose (modules.modinfo)."""

    version: str
    flavors: tuple[str, ...]
    defect: str = ""

    @property
    def branch(self) -> int:
        return int(self.version.partition(".")[0])

    @property
    def words(self) -> dict[str, str]:
        evr = f"{RECIPES['epoch']}:{self.version}-{RECIPES['release']}"
        return {"VERSION": self.version, "BRANCH": str(self.branch), "EVR": evr, "KVER": EL_KERNEL, "KREL": EL_KERNEL.removesuffix(".x86_64")}


def drivers() -> list[Driver]:
    """Every good version of the repository, oldest first."""
    return [Driver(version, tuple(flavors)) for version, flavors in RECIPES["versions"].items()]


def _text(name: str, words: dict[str, str]) -> str:
    path = HERE / "files" / name
    return fill((path if path.exists() else COMMON / name).read_text(), words)


def _module_sources(driver: Driver, flavor: str) -> dict[str, str]:
    entries = modules.modinfo(driver.version, flavor, driver.defect)
    return {module: modules.c_source(module, values, driver.defect) for module, values in entries.items()}


class Builder:
    """Turns the recipes into packages that are built together; compiles what they hold into `work`."""

    def __init__(self, work: Path, key: ModuleKey, build_userland: Callable[[str, Path], None]) -> None:
        self.work = work
        self.key = key
        self.build_userland = build_userland

    def groups(self, driver: Driver) -> dict[str, list[Rpm]]:
        """All packages of a version: `{name of the group: packages without a file in common}`."""
        found = {"userland": self._userland(driver)}
        for flavor in driver.flavors:
            found[flavor] = self._dkms(driver, flavor)
        precompiled = [recipe["branch"] for recipe in RECIPES["streams"].values() if recipe["kernel_module"] == "precompiled"]
        newest = [one.version for one in drivers() if one.branch == driver.branch][-1]
        if driver.branch in precompiled and driver.version == newest:
            found["precompiled"] = [self._precompiled(driver)]
        return found

    def _userland(self, driver: Driver) -> list[Rpm]:
        tree = self.work / f"userland-{driver.version}"
        if not tree.exists():
            self.build_userland(driver.version, tree)
            subprocess.run(["/sbin/ldconfig", "-n", str(tree / "usr/lib/x86_64-linux-gnu")], check=True)
        left = {path.name: path for path in sorted(tree.rglob("*")) if not path.is_dir() or path.is_symlink()}
        found = []
        for key, recipe in fill(RECIPES["userland"], driver.words).items():
            if driver.branch < recipe.get("first_branch", 0):
                continue
            name = recipe.get("name_before_580", key) if driver.branch < 580 else key
            epoch, architecture = recipe.get("epoch", RECIPES["epoch"]), recipe.get("architecture", "x86_64")
            package = Rpm(name, driver.version, RECIPES["release"], epoch, architecture, recipe["summary"])
            package.relations["requires"] = recipe.get("requires", [])
            package.files.update(recipe.get("contents", {}))
            package.files.update({path: _text(source, driver.words) for path, source in recipe.get("files", {}).items()})
            package.files.update({path: self._program(source) for path, source in recipe.get("built", {}).items()})
            package.scripts.update({kind: _text(source, driver.words) for kind, source in recipe.get("scripts", {}).items()})
            for file in [file for file in left if any(fnmatch.fnmatch(file, pattern) for pattern in recipe.get("tree", []))]:
                path = left.pop(file)
                target = f"/usr/bin/{file}" if path.parent.name == "bin" else f"/usr/lib64/{file}"
                if path.is_symlink():
                    package.links[target] = os.readlink(path)
                else:
                    package.files[target] = path
            found.append(package)
        if left:
            raise ValueError(f"no package of driver.yml takes {', '.join(left)}")
        return found

    def _dkms(self, driver: Driver, flavor: str) -> list[Rpm]:
        names, words = RECIPES["dkms"][flavor], driver.words
        evr, source = f"{RECIPES['epoch']}:{driver.version}", f"/usr/src/nvidia-{driver.version}"
        kmod = Rpm(names["kmod"], driver.version, RECIPES["release"], RECIPES["epoch"], summary=f"NVIDIA's {flavor} kernel module, built by DKMS")
        kmod.relations = {
            "provides": [f"nvidia-kmod = {evr}"],
            "requires": ["dkms >= 3.1.8", f"nvidia-kmod-common = {evr}"],
            "conflicts": [names["other"]],
        }
        kmod.files = {f"{source}/{module}.c": text for module, text in _module_sources(driver, flavor).items()}
        kmod.files |= {f"{source}/dkms.conf": _text("dkms.conf", words), f"{source}/Makefile": (COMMON / "Makefile").read_text()}
        kmod.scripts = {"post": _text("kmod.post.sh", words), "preun": _text("kmod.preun.sh", words)}
        meta = Rpm(names["meta"], driver.version, RECIPES["release"], names["meta_epoch"], summary="All of NVIDIA's driver")
        meta.relations["requires"] = [f"{name} = {evr}" for name in (kmod.name, "nvidia-driver", "nvidia-driver-cuda")]
        return [kmod, meta]

    def _precompiled(self, driver: Driver) -> Rpm:
        kernel = driver.words["KREL"]
        package = Rpm(f"kmod-nvidia-{driver.version}-{kernel.rpartition('.')[0]}", driver.version, "3.el9_7", RECIPES["epoch"])
        package.summary = "NVIDIA's kernel modules, built and signed for one kernel"
        evr = f"{RECIPES['epoch']}:{driver.version}"
        package.relations = {
            "provides": [f"nvidia-kmod = {evr}"],
            "requires": [f"kernel-uname-r = {EL_KERNEL}", f"nvidia-kmod-common = {evr}"],
            "conflicts": [names["kmod"] for names in RECIPES["dkms"].values()],
        }
        for module, text in _module_sources(driver, modules.PROPRIETARY).items():
            source = self.work / f"precompiled-{driver.version}-{module}.c"
            source.write_text(text)
            target = source.with_suffix(".ko")
            modules.compile_module(source, EL_KERNEL, target)
            package.files[f"/lib/modules/{EL_KERNEL}/extra/drivers/video/nvidia/{module}.ko"] = target.read_bytes() + modules.signature(target, self.key)
        package.scripts = {"post": _text("depmod.sh", driver.words), "postun": _text("depmod.sh", driver.words)}
        return package

    def _program(self, source: str) -> Path:
        target = self.work / "programs" / Path(source).stem
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-s", "-o", str(target), str(COMMON / source)], check=True)
        return target


def module_metadata(packages: dict[Driver, dict[str, list[Rpm]]]) -> str:
    """The documents `modulemd` and `modulemd-defaults` (libmodulemd) of the module nvidia-driver over these packages."""
    documents: list[dict[str, Any]] = []
    for stream, recipe in RECIPES["streams"].items():
        kind = recipe["kernel_module"]
        taken = [
            package
            for driver, groups in packages.items()
            if recipe["branch"] in ("all", driver.branch)
            for name, group in groups.items()
            if name in ("userland", kind)
            for package in group
        ]
        if not taken:
            continue
        kmod = RECIPES["dkms"][kind]["kmod"] if kind in RECIPES["dkms"] else next(package.name for package in taken if package.name.startswith("kmod-"))
        compute = [kmod, "nvidia-driver-cuda", "nvidia-persistenced"]
        fabric = next(package.name for package in reversed(taken) if package.name.startswith("nvidia-fabric"))
        profiles = {"default": [*compute, "nvidia-driver", "nvidia-kmod-common"], "ks": compute, "fm": [*compute, fabric]}
        data = {
            "name": "nvidia-driver",
            "stream": str(stream),
            "version": 20261101000000,
            "context": hashlib.sha256(str(stream).encode()).hexdigest()[:8],
            "arch": "x86_64",
            "summary": f"NVIDIA's driver, {stream} (simulated)",
            "description": "Simulates the module of this name for tests.",
            "license": {"module": ["MIT"], "content": ["GPL-3.0-or-later"]},
            "profiles": {name: {"description": name, "rpms": rpms} for name, rpms in profiles.items()},
            "artifacts": {"rpms": [package.nevra for package in taken]},
        }
        documents.append({"document": "modulemd", "version": 2, "data": data})
    streams = list(RECIPES["streams"])
    defaults = {"module": "nvidia-driver", "stream": streams[0], "profiles": {str(stream): ["default"] for stream in streams}}
    documents.append({"document": "modulemd-defaults", "version": 1, "data": defaults})
    return yaml.safe_dump_all(documents, explicit_start=True, explicit_end=True, sort_keys=False)
