"""Makes this checkout importable as ansible_collections.gpuops.fleet, wherever it lies."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _package(name: str, *path: str) -> None:
    package = types.ModuleType(name)
    package.__path__ = list(path)
    sys.modules[name] = package
    parent, _dot, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, package)


if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))  # for helpers of the tests: tests.unit.…
try:
    importlib.import_module("ansible_collections")  # keeps installed collections importable
except ImportError:
    _package("ansible_collections")
_package("ansible_collections.gpuops")
_package("ansible_collections.gpuops.fleet", str(ROOT))
