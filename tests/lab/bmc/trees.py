"""Recorded Redfish trees as {path: document}, ready to be served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[2] / "fixtures/redfish"
# Name → folder of the recorded documents.
TREES = {"dell-r6515": "dell-r6515", "hpe-dl360": "hpe-ilo-emulator/DL360", "hpe-dl380a": "hpe-ilo-emulator/DL380a", "supermicro-gb300": "supermicro-gb300"}
ROOT = "/redfish/v1"

Tree = dict[str, dict[str, Any]]


def load(name: str) -> Tree:
    """The tree `name` of TREES: each document at its `@odata.id` as it is written there, and what no source recorded around them."""
    tree: Tree = {}
    for path in sorted((RECORDED / TREES[name]).rglob("*.json")):
        document = json.loads(path.read_text())
        tree[key(document["@odata.id"])] = document
    return completed(tree)


def completed(tree: Tree) -> Tree:
    """`tree` with a service root, the collections that it lacks, and a system for each BIOS without one. Changes `tree`."""
    for path in [path for path in tree if path.lower().endswith("/bios") and not _linked(tree, path)]:
        system = path.rpartition("/")[0]
        tree.setdefault(system, {"@odata.id": system, "Id": system.rpartition("/")[2], "Name": "System", "Bios": {"@odata.id": path}})
    for name, kind in (("Systems", "ComputerSystem"), ("Chassis", "Chassis"), ("Registries", "MessageRegistryFile")):
        link = f"{ROOT}/{name}"
        members = [path for path in tree if path.startswith(link + "/") and path.count("/") == link.count("/") + 1]
        if name == "Registries":
            _add_registry_files(tree)
            members = [path for path in tree if path.startswith(link + "/") and tree[path].get("@odata.type", "").startswith("#MessageRegistryFile")]
        if link not in tree:
            tree[link] = {
                "@odata.id": link, "@odata.type": f"#{kind}Collection.{kind}Collection", "Name": f"{name} Collection",
                "Members@odata.count": len(members), "Members": [{"@odata.id": path} for path in sorted(members)],
            }  # fmt: skip
    sessions = f"{ROOT}/SessionService/Sessions"
    tree.setdefault(
        sessions,
        {
            "@odata.id": sessions, "@odata.type": "#SessionCollection.SessionCollection", "Name": "Session Collection",
            "Members@odata.count": 0, "Members": [],
        },
    )  # fmt: skip
    tree.setdefault(
        ROOT,
        {
            "@odata.id": f"{ROOT}/", "@odata.type": "#ServiceRoot.v1_5_0.ServiceRoot", "Id": "RootService", "Name": "Root Service", "RedfishVersion": "1.6.0",
            **{name: {"@odata.id": f"{ROOT}/{name}"} for name in ("Systems", "Chassis", "Registries")},
            "Links": {"Sessions": {"@odata.id": sessions}},
        },
    )  # fmt: skip
    return tree


def key(link: str) -> str:
    """A path without the slash at its end: services answer with and without it, but tell upper and lower case apart."""
    return link.rstrip("/")


def _linked(tree: Tree, bios: str) -> bool:
    return any(key(document.get("Bios", {}).get("@odata.id", "")) == bios for document in tree.values() if isinstance(document.get("Bios"), dict))


def _add_registry_files(tree: Tree) -> None:
    """The file entry that leads to each recorded attribute registry."""
    for path in [path for path, document in tree.items() if document.get("@odata.type", "").startswith("#AttributeRegistry.")]:
        above = path.rpartition("/")[0]
        tree.setdefault(
            above,
            {
                "@odata.id": above, "@odata.type": "#MessageRegistryFile.v1_1_0.MessageRegistryFile", "Id": above.rpartition("/")[2], "Name": "Registry File",
                "Languages": ["en"], "Registry": above.rpartition("/")[2], "Location": [{"Language": "en", "Uri": path}],
            },
        )  # fmt: skip
