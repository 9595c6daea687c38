"""Everything that the lab needs to run Ollama, built once and cached.

`python3 -m tests.lab.ollama.build` builds all of it and prints where it lies.
"""

from __future__ import annotations

from pathlib import Path

from tests.lab.cache import cached
from tests.lab.ollama import tiny_models
from tests.lab.ollama.image import build_image_archive
from tests.lab.ollama.server import build_server
from tests.lab.ollama.store import write_store

__all__ = ["build_image_archive", "build_models", "build_server", "build_store"]


def build_models() -> dict[str, Path]:
    """Return the GGUF files of the tiny models by name: `tiny-llama`, `tiny-qwen3`."""

    def build(out: Path) -> None:
        for architecture in tiny_models.ARCHITECTURES:
            tiny_models.write_model(out / f"tiny-{architecture}.gguf", architecture)

    folder = cached("ollama-models", [Path(tiny_models.__file__)], build)
    return {f"tiny-{architecture}": folder / f"tiny-{architecture}.gguf" for architecture in tiny_models.ARCHITECTURES}


def build_store() -> Path:
    """Return a model store (a folder with `blobs` and `manifests`) that holds every tiny model as `library/NAME:latest`, for the registry double."""
    models = build_models()
    source = Path(__file__).with_name("store.py")
    return cached("ollama-store", [source, *models.values()], lambda out: write_store(out, models))


if __name__ == "__main__":
    for name, path in {"server": build_server(), "image": build_image_archive(), "store": build_store(), **build_models()}.items():
        print(f"{name}\t{path}")
