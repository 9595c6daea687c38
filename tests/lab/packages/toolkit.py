"""NVIDIA's container toolkit as .debs: real programs built from the published Go module, packaged by the module's own packaging files.

Two of the four packages cannot be real: libnvidia-container and its nvidia-container-cli are C, outside the module. Their packages exist
so that dependencies are those of the real repository, and say in a document that they are empty.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab import gotool
from tests.lab.cache import Input, cached
from tests.lab.packages.deb import Package, write

HERE = Path(__file__).parent
MODULE = "github.com/NVIDIA/nvidia-container-toolkit"
PROGRAMS = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-cdi-hook", "nvidia-container-runtime-hook")
VERSIONS = ("1.19.1", "1.20.1")
NAMES = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
ABSENT = {
    "libnvidia-container1": "libnvidia-container.so.1",
    "libnvidia-container-tools": "nvidia-container-cli, which the legacy mode of the NVIDIA runtime and `docker run --gpus` before Docker 29.2 need",
}


def binaries(version: str) -> Path:
    """Folder of the built programs of a release such as `1.20.1`."""

    def build(out: Path) -> None:
        ldflags = f"-s -w -X {MODULE}/internal/info.version={version}"
        gotool.install([f"{MODULE}/cmd/{program}" for program in PROGRAMS], f"v{version}", out, ldflags)

    return cached("packages/toolkit-programs", [MODULE, version, *PROGRAMS], build)


def packages(version: str) -> list[Package]:
    """The four packages of a release, tied to each other by strict versions."""
    source = gotool.module_directory(MODULE, f"v{version}")
    package_version = f"{version}-1"
    return [
        *(_from_module(name, source, version, package_version) for name in NAMES[:2]),
        _empty("libnvidia-container-tools", package_version, [f"libnvidia-container1 (= {package_version})"]),
        _empty("libnvidia-container1", package_version, []),
    ]


def debs(version: str) -> Path:
    """Folder with the .debs of a release."""

    def build(out: Path) -> None:
        for package in packages(version):
            write(package, out)

    snippets = sorted((HERE / "files").glob("toolkit-units.*"))
    inputs: list[Input] = [version, HERE / "toolkit.py", HERE / "deb.py", *snippets, binaries(version).name]
    return cached("packages/toolkit-debs", inputs, build)


def control_paragraph(text: str, name: str) -> dict[str, str]:
    """The fields of one binary package in a debian/control file."""
    for paragraph in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", paragraph, re.M))
        if fields.get("Package") == name:
            return fields
    raise LookupError(f"debian/control has no package {name}")


def _from_module(name: str, source: Path, version: str, package_version: str) -> Package:
    debian = source / "packaging" / "debian"
    fields = control_paragraph((debian / "control").read_text(), name)
    package = Package(name, package_version, fields["Description"], section="utils", source="nvidia-container-toolkit")
    for relation in ("depends", "breaks", "replaces"):
        entries = [entry.strip() for entry in fields.get(relation.title(), "").replace("@VERSION@", package_version).split(",")]
        package.relations[relation] = [entry for entry in entries if entry and not entry.startswith("${")]
    for line in (debian / f"{name}.install").read_text().splitlines():
        file, folder = line.split()
        package.files[f"{folder.rstrip('/')}/{file}".replace("/lib/", "/usr/lib/", 1)] = _find(file, source, binaries(version))
    units = [Path(path).name for path in package.files if re.search(r"/systemd/system/[^/]+\.(service|path)$", path)]
    for script in ("postinst", "prerm", "postrm"):
        original, snippet = debian / f"{name}.{script}", _unit_snippet(script, units)
        if original.exists():
            package.scripts[script] = original.read_text().replace("#DEBHELPER#", snippet)
        elif snippet:
            package.scripts[script] = f"#!/bin/sh\nset -e\n{snippet}"
    return package


def _find(file: str, source: Path, programs: Path) -> Path:
    """The file that debian/*.install means: a built program, or one of the module's own files."""
    if (programs / file).exists():
        return programs / file
    return next(path for folder in ("deployments", "packaging") for path in sorted((source / folder).rglob(file)))


def _unit_snippet(script: str, units: list[str]) -> str:
    """What debhelper puts into a maintainer script of a package with systemd units."""
    return (HERE / "files" / f"toolkit-units.{script}").read_text().replace("@UNITS@", " ".join(units)) if units else ""


def _empty(name: str, package_version: str, depends: list[str]) -> Package:
    notice = f"This package of the simulated repository is empty: {ABSENT[name]} cannot be built here and is missing.\n"
    package = Package(name, package_version, f"NVIDIA container runtime library (empty)\n{notice}", section="utils", source="libnvidia-container")
    package.relations["depends"] = depends
    package.files[f"/usr/share/doc/{name}/README.lab"] = notice
    return package
