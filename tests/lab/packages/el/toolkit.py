"""NVIDIA's container toolkit as rpms: the real programs, packaged as the spec file of the published module says.

As with the .debs, the two packages of libnvidia-container are empty. The repository signs its index and no package, as NVIDIA's does.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab import gotool
from tests.lab.packages.el.rpm import Rpm
from tests.lab.packages.toolkit import ABSENT, MODULE, NAMES, VERSIONS, binaries, find_file

__all__ = ["VERSIONS", "packages"]

# What Debian's rpm does not know, as Enterprise Linux 9 defines it.
_MACROS = {
    "_bindir": "/usr/bin",
    "_sysconfdir": "/etc",
    "_localstatedir": "/var",
    "_unitdir": "/usr/lib/systemd/system",
    "_presetdir": "/usr/lib/systemd/system-preset",
    "_udevrulesdir": "/usr/lib/udev/rules.d",
    "release": "1",
}
_SYSTEMD = {
    "post": 'if [ $1 -eq 1 ]; then systemctl --no-reload preset {units} || :; fi',
    "preun": 'if [ $1 -eq 0 ]; then systemctl --no-reload disable --now {units} || :; fi',
    "postun": "systemctl daemon-reload || :",
}  # fmt: skip
_SECTION = re.compile(r"^%(package|description|prep|install|files|changelog|pre|post|preun|postun|pretrans|posttrans)(?: +(\S+))?$", re.M)
_SCRIPTS = ("pre", "post", "preun", "postun", "posttrans")
_RELATION = re.compile(r"^(Requires|Provides|Conflicts|Obsoletes): *(.+)$", re.M)
_FILE = re.compile(r"^(?:%config\(noreplace\) )?(/\S+)$", re.M)


def packages(version: str) -> list[Rpm]:
    """The four packages of a release such as `1.20.1`."""
    source = gotool.module_directory(MODULE, f"v{version}")
    sections = _sections((source / "packaging/rpm/SPECS/nvidia-container-toolkit.spec").read_text(), version)
    tools = {"requires": [f"libnvidia-container1 = {version}-1"]}
    return [
        _from_spec(NAMES[0], sections, "", source, version),
        _from_spec(NAMES[1], sections, "base", source, version),
        *(_empty(name, version, tools if name == NAMES[2] else {}) for name in NAMES[2:]),
    ]


def _sections(spec: str, version: str) -> dict[tuple[str, str], str]:
    """Text by section and subpackage; the preamble is `("package", "")`."""
    for name, value in {**_MACROS, "version": version}.items():
        spec = spec.replace(f"%{{{name}}}", value)
    parts = _SECTION.split(spec)
    found = {("package", ""): parts[0]}
    for section, package, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        found[section, package or ""] = text
    return found


def _from_spec(name: str, sections: dict[tuple[str, str], str], subpackage: str, source: Path, version: str) -> Rpm:
    package = Rpm(name, version, "1", summary="NVIDIA Container Toolkit")
    for kind, entry in _RELATION.findall(sections["package", subpackage]):
        package.relations.setdefault(kind.lower(), []).append(entry)
    for path in _FILE.findall(sections["files", subpackage]):
        package.files[path] = find_file(Path(path).name, source, binaries(version))
    for script in _SCRIPTS:
        if (script, subpackage) in sections:
            package.scripts[script] = re.sub(
                r"^%systemd_(\w+) (.+)$", lambda match: _SYSTEMD[match[1]].format(units=match[2]), sections[script, subpackage], flags=re.M
            )
    return package


def _empty(name: str, version: str, relations: dict[str, list[str]]) -> Rpm:
    notice = f"This package of the simulated repository is empty: {ABSENT[name]} cannot be built here and is missing.\n"
    return Rpm(name, version, "1", summary="NVIDIA container runtime library (empty)", relations=relations, files={f"/usr/share/doc/{name}/README.lab": notice})
