"""Build products keyed by a hash of their inputs, and the progress lines of the lab."""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

_STARTED = time.monotonic()
# A product that nobody asked for in so many days goes when another of its kind is built.
_KEEP_DAYS = 14

Input = str | bytes | Path


def root() -> Path:
    """Return the folder of all build products: `$GPUOPS_CACHE/lab`."""
    return Path(os.environ.get("GPUOPS_CACHE", "/var/cache/gpuops-fleet")) / "lab"


def progress(message: str) -> None:
    """Print one line with the seconds since the program started, on stderr: stdout belongs to results."""
    print(f"[{time.monotonic() - _STARTED:6.1f}s] {message}", file=sys.stderr, flush=True)


def _parts(item: Input) -> Iterator[bytes]:
    if isinstance(item, bytes):
        yield b"bytes:" + item
    elif isinstance(item, str):
        yield b"text:" + item.encode()
    elif item.is_dir():
        for path in sorted(item.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"file:{path.relative_to(item)}:{path.stat().st_mode & 0o111:o}".encode()
                yield path.read_bytes()
    else:
        yield f"file:{item.name}:{item.stat().st_mode & 0o111:o}".encode()
        yield item.read_bytes()


def digest(inputs: Iterable[Input]) -> str:
    """Return a short hash over texts, bytes, files and folders (name, executable bits and content)."""
    total = hashlib.sha256()
    for item in inputs:
        for part in _parts(item):
            total.update(len(part).to_bytes(8, "big"))
            total.update(part)
    return total.hexdigest()[:16]


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold one lock of the whole machine: others that ask for the same name wait."""
    path = root() / "locks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"{name}: waiting for another run")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _forget_unused(folder: Path) -> None:
    oldest = time.time() - _KEEP_DAYS * 86400
    for product in folder.iterdir():
        if product.is_dir() and product.stat().st_mtime < oldest:
            shutil.rmtree(product, ignore_errors=True)


def cached(kind: str, inputs: Iterable[Input], build: Callable[[Path], None]) -> Path:
    """Return the folder of a product, built by `build(folder)` unless one with the same inputs exists.

    `kind` names the product in paths and progress lines. The folder appears whole or not at all; two runs that want the same product
    build it once. Whatever `build` raises is passed on and nothing is kept.
    """
    key = digest(inputs)
    target = root() / kind / key
    if target.is_dir():
        os.utime(target)
        return target
    with lock(f"{kind.replace('/', '-')}-{key}"):
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        progress(f"{kind}: building")
        begun = time.monotonic()
        work = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=target.parent))
        work.chmod(0o755)
        try:
            build(work)
            work.rename(target)
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise
        _forget_unused(target.parent)
        progress(f"{kind}: built in {time.monotonic() - begun:.1f} s")
    return target
