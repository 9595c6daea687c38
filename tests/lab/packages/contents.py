"""Laying the contents of a package below a folder, whatever the package's format."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

_PROGRAMS = ("bin", "sbin", "scripts")


def lay_out(root: Path, files: Mapping[str, Path | str | bytes], links: Mapping[str, str]) -> None:
    """Write files (a path is copied) and links below `root`; files in a bin, sbin or scripts folder are executable."""
    for name, content in files.items():
        target = root / name.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, target)
        else:
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        target.chmod(0o755 if target.parent.name in _PROGRAMS else 0o644)
    for name, pointed_at in links.items():
        link = root / name.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(pointed_at)
