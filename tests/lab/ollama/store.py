"""A model store as an Ollama server writes it, made from GGUF files without a server.

A model is a manifest (`manifests/HOST/NAMESPACE/NAME/TAG`) that lists layers by digest: the weights, and optionally a prompt template and
default parameters; a configuration blob repeats what a client wants to know without reading the weights.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gguf import GGUFReader

CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
WEIGHTS = "application/vnd.ollama.image.model"
TEMPLATE = "application/vnd.ollama.image.template"
PARAMETERS = "application/vnd.ollama.image.params"
HOST = "registry.lab"
FILE_TYPES = {0: "F32", 1: "F16"}


def write_store(root: Path, models: Mapping[str, Path]) -> None:
    """Write a store with `library/NAME:latest` for every GGUF file of `models`."""
    for name, weights in models.items():
        add_model(root, f"library/{name}:latest", weights)


def add_model(root: Path, reference: str, weights: Path, template: str = "", parameters: Mapping[str, Any] | None = None) -> str:
    """Add `namespace/name:tag` to the store in `root` and return the manifest's SHA-256, which Ollama calls the model's digest."""
    repository, _, tag = reference.partition(":")
    layers = [_blob(root, WEIGHTS, weights)]
    if template:
        layers.append(_blob(root, TEMPLATE, template.encode()))
    if parameters:
        layers.append(_blob(root, PARAMETERS, _json(dict(parameters))))
    config = describe(weights) | {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]}}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": _blob(root, CONFIG, _json(config)), "layers": layers}
    path = root / "manifests" / HOST / repository / tag
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_json(manifest))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe(weights: Path) -> dict[str, Any]:
    """The configuration fields that are read from the weights: format, family, number of parameters, file type."""
    reader = GGUFReader(weights)
    family = reader.fields["general.architecture"].contents()
    size = sum(int(tensor.n_elements) for tensor in reader.tensors)
    file_type = int(reader.fields["general.file_type"].contents())
    return {
        "model_format": "gguf",
        "model_family": family,
        "model_families": [family],
        "model_type": human(size),
        "file_type": FILE_TYPES[file_type],
    }


def human(number: int) -> str:
    """A count as Ollama shows it: 287872 is `288K`, 7241748480 is `7.2B`."""
    for limit, letter, decimals in ((10**9, "B", 1), (10**6, "M", 2)):
        if number >= limit:
            return f"{number / limit:.{0 if number % limit == 0 else decimals}f}{letter}"
    return f"{number / 1000:.0f}K" if number >= 1000 else str(number)


def _json(value: dict[str, Any]) -> bytes:
    # Go's encoder: no blanks, a line break at the end.
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _blob(root: Path, media_type: str, content: bytes | Path) -> dict[str, Any]:
    """Put the content into the store and return its layer entry."""
    folder = root / "blobs"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(content if isinstance(content, bytes) else content.read_bytes()).hexdigest()
    target = folder / f"sha256-{digest}"
    if isinstance(content, bytes):
        target.write_bytes(content)
    else:
        shutil.copyfile(content, target)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": target.stat().st_size}
