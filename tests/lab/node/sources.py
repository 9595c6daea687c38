"""Package repositories beside those that every node of an identity has: which are served, and which are apt sources of a node."""
from __future__ import annotations

from typing import Any

from tests.lab.node.node import Node
from tests.lab.packages.build import EXTRAS, source_of

_KEYS = "/usr/share/keyrings"
_LISTS = "/etc/apt/sources.list.d"


def needed(hardware: dict[str, Any]) -> list[str]:
    """Return the extra repositories that a profile wants served."""
    return [*hardware["served"], *_sources(hardware)]


def _sources(hardware: dict[str, Any]) -> list[str]:
    """The next kernel comes from the updates."""
    return list(dict.fromkeys([*hardware["sources"], *(["ubuntu-updates"] if hardware["next_kernel"] else [])]))


def text(extra: str) -> str:
    """Return the apt source of an extra repository, as it stands on a node."""
    return source_of(extra, f"{_KEYS}/lab-{EXTRAS[extra][0].key}.asc")


def add(node: Node, extra: str) -> None:
    """Make an extra repository, which is served already, an apt source of a node, and read its lists."""
    key = EXTRAS[extra][0].key
    node.run("curl", "-fsS", "-o", f"{_KEYS}/lab-{key}.asc", f"http://mirror.lab/keys/{key}.asc")
    path = f"{_LISTS}/lab-{extra}.sources"
    node.write(path, text(extra))
    update(node, path)


def add_all(node: Node, hardware: dict[str, Any]) -> None:
    """Make the profile's `sources` apt sources of a node."""
    for extra in _sources(hardware):
        add(node, extra)


def update(node: Node, path: str) -> None:
    """Read the lists of one source only: the archive's lists are part of the image."""
    options = ("-o", f"Dir::Etc::SourceList={path}", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=0")
    node.run("apt-get", "update", "-q", *options)
