"""Archives of container images, as `docker save` writes them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any


def write_archive(path: Path, root: Path, reference: str, config: dict[str, Any]) -> None:
    """Write an archive for `docker load`: the tree below `root` as the only layer of the image `reference`, with the image's `config`."""
    layer = _pack(root)
    digest = hashlib.sha256(layer).hexdigest()
    image = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-02-27T00:00:00Z",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created": "2026-02-27T00:00:00Z", "created_by": "tests/lab/docker_archive.py"}],
        }
    ).encode()
    image_name = f"{hashlib.sha256(image).hexdigest()}.json"
    manifest = json.dumps([{"Config": image_name, "RepoTags": [reference], "Layers": [f"{digest}/layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in ((f"{digest}/layer.tar", layer), (image_name, image), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _pack(root: Path) -> bytes:
    """The tree as a layer: everything owned by root, no times, in the order of names, so that equal trees give equal bytes."""

    def clean(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as layer:
        for path in sorted(root.rglob("*")):
            layer.add(path, arcname=str(path.relative_to(root)), recursive=False, filter=clean)
    return buffer.getvalue()
