"""The lab's build cache: whole products, built once, keyed by what they are made of."""
from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from tests.lab import cache


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUOPS_CACHE", str(tmp_path))


def test_a_product_is_built_once_and_again_when_an_input_changes() -> None:
    built = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "product").write_text("x")

    first = cache.cached("kind", ["a"], build)
    assert cache.cached("kind", ["a"], build) == first
    assert (first / "product").read_text() == "x"
    assert cache.cached("kind", ["b"], build) != first
    assert len(built) == 2


def test_products_that_nobody_asks_for_go() -> None:
    old, asked = (cache.cached("kind", [name], lambda folder: None) for name in ("old", "asked"))
    for product in (old, asked):
        os.utime(product, (0, 0))
    cache.cached("kind", ["asked"], lambda folder: None)
    cache.cached("kind", ["new"], lambda folder: None)
    assert asked.is_dir()
    assert not old.exists()


def test_a_failed_build_leaves_nothing() -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        cache.cached("kind", ["a"], build)
    assert not list((cache.root() / "kind").iterdir())


def test_parallel_runs_build_once() -> None:
    built = []

    def build(folder: Path) -> None:
        time.sleep(0.1)
        built.append(folder)

    runs = [threading.Thread(target=cache.cached, args=("kind", ["a"], build)) for _ in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert len(built) == 1


def test_a_key_tells_content_name_and_executable_bit_apart(tmp_path: Path) -> None:
    def key(name: str, content: str, mode: int) -> str:
        path = tmp_path / "inputs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        path.chmod(mode)
        found = cache.digest([path.parent])
        path.unlink()
        return found

    variants = [("a", "x", 0o644), ("b", "x", 0o644), ("a", "y", 0o644), ("a", "x", 0o755)]
    assert len({key(*variant) for variant in variants}) == len(variants)
    assert key("a", "x", 0o644) == key("a", "x", 0o600)
    assert cache.digest(["ab", "c"]) != cache.digest(["a", "bc"])
    assert cache.digest(["a"]) != cache.digest([b"a"])
