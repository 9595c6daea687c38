"""Nodes for the tests: brought up by the lab's own entry point, removed at the end."""
from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Two Tesla P40 with a working driver; tests leave it as they found it."""
    with lifecycle.machine("p40x2", "test-p40x2") as one:
        yield one


@pytest.fixture(scope="module")
def broken() -> Iterator[Node]:
    """A machine of the same kind that a module may break."""
    with lifecycle.machine("p40x2", "test-broken") as one:
        yield one


@pytest.fixture(scope="module")
def bare() -> Iterator[Node]:
    """Two Tesla P40 held by nouveau, no driver of NVIDIA."""
    with lifecycle.machine("p40x2-no-driver", "test-bare") as one:
        yield one


@pytest.fixture(scope="module")
def two_kernels() -> Iterator[Node]:
    """Two Tesla P40 with a working driver, and a next kernel that boots by default and has no module of it."""
    with lifecycle.machine("p40x2-next-kernel", "test-kernels") as one:
        yield one
