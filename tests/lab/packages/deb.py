"""Debian packages from plain data: `Package` describes one, `write` makes the .deb with dpkg-deb."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.packages.contents import lay_out

RELATIONS = ("pre-depends", "depends", "recommends", "suggests", "provides", "conflicts", "breaks", "replaces")
DATE = "1767225600"
MAINTAINER = "gpuops.fleet lab <lab@gpuops.invalid>"


@dataclass
class Package:
    """One binary package. Contents are paths in the installed system: text, bytes or a file to copy; `links` are symbolic links."""

    name: str
    version: str
    description: str = ""
    component: str = "restricted"
    section: str = "restricted/misc"
    source: str = ""
    relations: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str | bytes | Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    triggers: list[str] = field(default_factory=list)
    architecture: str = "amd64"

    def control(self, installed_kib: int) -> str:
        """The DEBIAN/control file (deb-control(5))."""
        lines = [f"Package: {self.name}", f"Version: {self.version}", f"Architecture: {self.architecture}", f"Maintainer: {MAINTAINER}"]
        if self.source:
            lines.append(f"Source: {self.source}")
        lines += [f"Installed-Size: {installed_kib}", f"Section: {self.section}", "Priority: optional"]
        for relation in RELATIONS:
            if self.relations.get(relation):
                lines.append(f"{relation.title()}: {', '.join(self.relations[relation])}")
        summary, _, more = self.description.partition("\n")
        lines += [f"Description: {summary}", *(f" {line.strip() or '.'}" for line in more.splitlines())]
        return "\n".join(lines) + "\n"


def write(package: Package, directory: Path) -> Path:
    """Build `directory/NAME_VERSION_ARCH.deb`. What lies under /etc becomes a conffile; files in a bin, sbin or scripts folder are executable."""
    with tempfile.TemporaryDirectory(prefix="gpuops-deb-") as temporary:
        root = Path(temporary) / "root"
        root.mkdir(mode=0o755)
        lay_out(root, package.files, package.links)
        size = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file())
        meta = root / "DEBIAN"
        meta.mkdir()
        (meta / "control").write_text(package.control(size // 1024 + 1))
        conffiles = sorted(name for name in package.files if name.startswith("/etc/"))
        if conffiles:
            (meta / "conffiles").write_text("".join(f"{name}\n" for name in conffiles))
        if package.triggers:
            (meta / "triggers").write_text("".join(f"{line}\n" for line in package.triggers))
        for name, text in package.scripts.items():
            (meta / name).write_text(text)
            (meta / name).chmod(0o755)
        for path in (root, *root.rglob("*")):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / f"{package.name}_{package.version}_{package.architecture}.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(root), str(target)]
        # One date for all files: the same contents give the same package.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "SOURCE_DATE_EPOCH": DATE})
    return target
