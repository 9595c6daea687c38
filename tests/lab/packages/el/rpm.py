"""Rpm packages from plain data: `Rpm` describes one, `spec` gives the text that rpmbuild reads for those that are built together."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.packages.contents import lay_out

NOTICE = "Simulates the package of this name for tests; holds no software of NVIDIA."
RELATIONS = ("provides", "requires", "conflicts", "obsoletes")
SCRIPTS = ("pre", "post", "preun", "postun")
# Contents are taken as they are: nothing is stripped, compressed or looked through for dependencies.
_HEAD = """\
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
"""


@dataclass
class Rpm:
    """One binary package. Contents are paths in the installed system: text or a file to copy; `links` are symbolic links."""

    name: str
    version: str
    release: str = "1.el9"
    epoch: int = 0
    architecture: str = "x86_64"
    summary: str = ""
    relations: dict[str, list[str]] = field(default_factory=dict)
    files: dict[str, str | bytes | Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)

    @property
    def nevra(self) -> str:
        """Name, epoch, version, release and architecture, as a module's list of artifacts has them."""
        return f"{self.name}-{self.epoch}:{self.version}-{self.release}.{self.architecture}"


def stage(packages: list[Rpm], root: Path) -> None:
    """Lay the contents of packages that are built together below `root`."""
    for package in packages:
        lay_out(root, package.files, package.links)


def spec(packages: list[Rpm], staged: str) -> str:
    """The spec file of packages whose contents lie in the folder `staged`; no two may have a name or a file in common."""
    first, *others = packages
    text = _HEAD + f"Name: {first.name}\nLicense: GPL-3.0-or-later\n" + _head(first)
    text += "".join(f"%package -n {package.name}\n{_head(package)}" for package in others)
    text += f"%install\nmkdir -p %{{buildroot}}\ncp -a {staged}/. %{{buildroot}}/\n"
    for package in packages:
        for script in SCRIPTS:
            if package.scripts.get(script):
                text += f"%{script} -n {package.name}\n{package.scripts[script].rstrip()}\n"
        text += f"%files -n {package.name}\n" + "".join(f'"{name}"\n' for name in sorted([*package.files, *package.links]))
    return text


def _head(package: Rpm) -> str:
    lines = [f"Summary: {package.summary or package.name} (simulated)", f"Version: {package.version}", f"Release: {package.release}", f"Epoch: {package.epoch}"]
    lines.append("AutoReqProv: no")
    if package.architecture == "noarch":
        lines.append("BuildArch: noarch")
    for relation in RELATIONS:
        lines += [f"{relation.title()}: {one}" for one in package.relations.get(relation, [])]
    return "\n".join([*lines, f"%description -n {package.name}", NOTICE, ""])
