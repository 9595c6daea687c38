"""Package repositories beside those that every node of an identity has: which are served, and which are apt sources of a node."""
from __future__ import annotations

from typing import Any

from tests.lab.errors import LabError
from tests.lab.node.node import Node
from tests.lab.packages.build import EXTRAS, source_of

_KEYS = "/usr/share/keyrings"
_LISTS = "/etc/apt/sources.list.d"


# The archive that a machine of an identity has from the start, and where a driver comes from: (identity, source) → (extra repository, archive).
_ARCHIVES = {"debian-12": "debian12", "debian-13": "debian13"}
_DRIVERS = {
    ("ubuntu-24.04", "ubuntu"): (None, "ubuntu"),
    ("ubuntu-24.04", "cuda"): ("cuda-ubuntu2404", "cuda-ubuntu"),
    ("debian-12", "debian"): ("debian12", "debian/bookworm"),
    ("debian-12", "cuda"): ("cuda-debian12", "cuda-debian/debian12"),
    ("debian-13", "debian"): ("debian13", "debian/trixie"),
    ("debian-13", "cuda"): ("cuda-debian13", "cuda-debian/debian13"),
}


def archive_of(hardware: dict[str, Any]) -> tuple[str | None, str]:
    """Return where the profile's driver comes from: the extra repository, if it is one, and the archive of its recipes."""
    distribution = hardware["identity"].partition("-")[0]
    source = hardware["driver"].get("source", distribution)
    try:
        return _DRIVERS[hardware["identity"], source]
    except KeyError:
        raise LabError(f"the lab has no driver from {source} for {hardware['identity']}") from None


def needed(hardware: dict[str, Any]) -> list[str]:
    """Return the extra repositories that a profile wants served."""
    return [*hardware["served"], *of_node(hardware)]


def of_node(hardware: dict[str, Any]) -> list[str]:
    """Return the extra repositories that are apt sources of the node; the next kernel comes from the updates."""
    found = [*([_ARCHIVES[hardware["identity"]]] if hardware["identity"] in _ARCHIVES else []), *hardware["sources"]]
    if hardware["driver"] and hardware["identity"] != "rocky-9":
        extra, _archive = archive_of(hardware)
        found += [extra] if extra else []
    return list(dict.fromkeys([*found, *(["ubuntu-updates"] if hardware["next_kernel"] else [])]))


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
    for extra in of_node(hardware):
        add(node, extra)


def update(node: Node, path: str) -> None:
    """Read the lists of one source only: the archive's lists are part of the image."""
    options = ("-o", f"Dir::Etc::SourceList={path}", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=0")
    node.run("apt-get", "update", "-q", *options)
