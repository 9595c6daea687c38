"""Indices of an apt repository, made by apt-ftparchive and signed: a suite with components, or a flat folder."""

from __future__ import annotations

import gzip
import subprocess
from pathlib import Path

from tests.lab.packages.keys import SigningKey, gpg_home


def _ftparchive(*arguments: str, directory: Path) -> str:
    return subprocess.run(["apt-ftparchive", *arguments], check=True, capture_output=True, text=True, cwd=directory).stdout


def _write_packages(text: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Packages").write_text(text)
    (folder / "Packages.gz").write_bytes(gzip.compress(text.encode(), 6, mtime=0))


def _release(folder: Path, fields: dict[str, str], key: SigningKey) -> None:
    options = [part for name, value in fields.items() for part in ("-o", f"APT::FTPArchive::Release::{name}={value}")]
    (folder / "Release").write_text(_ftparchive(*options, "release", ".", directory=folder))
    with gpg_home() as gpg:
        gpg.run("--import", str(key.secret))
        gpg.run("--digest-algo", "SHA512", "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release"))
        gpg.run("--digest-algo", "SHA512", "--armor", "--detach-sign", "--output", str(folder / "Release.gpg"), str(folder / "Release"))


def write_suite(root: Path, suite: str, components: list[str], key: SigningKey, origin: str) -> None:
    """Index `root/pool/COMPONENT` as `root/dists/SUITE` for amd64."""
    dist = root / "dists" / suite
    for component in components:
        (root / "pool" / component).mkdir(parents=True, exist_ok=True)
        _write_packages(_ftparchive("packages", f"pool/{component}", directory=root), dist / component / "binary-amd64")
    fields = {"Origin": origin, "Label": origin, "Suite": suite, "Codename": suite, "Architectures": "amd64", "Components": " ".join(components)}
    _release(dist, fields, key)


def write_flat(root: Path, key: SigningKey, origin: str, label: str = "") -> None:
    """Index the packages that lie in `root` itself (apt suite `/`)."""
    _write_packages(_ftparchive("packages", ".", directory=root), root)
    _release(root, {"Origin": origin, "Label": label or origin, "Architectures": "amd64"}, key)
