"""What DSP0266 asks of every Redfish service beside its resources: documents that need no login, and headers."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.bmc.trees import ROOT, Tree, key

JSON, XML = "application/json", "application/xml"
EDMX = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<edmx:Edmx xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx" Version="4.0">{references}<edmx:DataServices>'
    '<Schema xmlns="http://docs.oasis-open.org/odata/ns/edm" Namespace="Service"><EntityContainer Name="Service" '
    'Extends="ServiceRoot.v1_0_0.ServiceContainer"/></Schema></edmx:DataServices></edmx:Edmx>\n'
)
REFERENCE = '<edmx:Reference Uri="http://redfish.dmtf.org/schemas/v1/{name}_v1.xml"><edmx:Include Namespace="{name}"/></edmx:Reference>'
# Of every answer to a GET or HEAD; the ones with a type of their own have another Content-Type.
HEADERS = {"OData-Version": "4.0", "Cache-Control": "no-cache", "Allow": "GET, HEAD"}


def open_document(tree: Tree, path: str) -> tuple[str, bytes] | None:
    """Media type and body of what is read without a login at `path`: versions, service root, OData service document or metadata; else None."""
    root = tree.get(ROOT, {})
    if path == "/redfish":
        return JSON, json.dumps({"v1": f"{ROOT}/"}).encode()
    if path == ROOT and root:
        return JSON, json.dumps(root).encode()
    if path == f"{ROOT}/odata":
        return JSON, json.dumps({"@odata.context": f"{ROOT}/$metadata", "value": _singletons(root)}).encode()
    if path == f"{ROOT}/$metadata":
        names = {_type(document).partition(".")[0] for document in tree.values()} - {""}
        references = "".join(REFERENCE.format(name=name) for name in sorted(names))
        return XML, EDMX.format(references=references).encode()
    return None


def _singletons(root: dict[str, Any]) -> list[dict[str, str]]:
    links = {name: value["@odata.id"] for name, value in root.items() if isinstance(value, dict) and "@odata.id" in value}
    return [{"name": "Service", "kind": "Singleton", "url": f"{ROOT}/"}, *({"name": name, "kind": "Singleton", "url": url} for name, url in links.items())]


def _type(document: dict[str, Any]) -> str:
    """`Chassis.v1_10_0.Chassis` of a document that names its type, else nothing."""
    return str(document.get("@odata.type", "")).lstrip("#")


def described_by(tree: Tree, path: str) -> dict[str, str]:
    """The Link header that names the schema of a resource, as far as the resource names its type."""
    kind = _type(tree.get(key(path), {})).rpartition(".")[0]
    return {"Link": f"<http://redfish.dmtf.org/schemas/v1/{kind or 'ServiceRoot'}.json>; rel=describedby"} if key(path) in tree else {}
