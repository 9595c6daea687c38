"""Nodes for the tests: brought up by the lab's own entry point, removed at the end."""
from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node


def _node(profile: str, name: str) -> Iterator[Node]:
    # Two runs of the tests on one machine must not share a node.
    name = f"test-{name}-{os.getpid()}"
    try:
        lifecycle.up(profile, name)
        yield lifecycle.find(name)
    finally:
        lifecycle.down(name)


@pytest.fixture(scope="session")
def node() -> Iterator[Node]:
    """Two Tesla P40 with a working driver; tests leave it as they found it."""
    yield from _node("p40x2", "p40x2")


@pytest.fixture(scope="module")
def broken() -> Iterator[Node]:
    """A machine of the same kind that a module may break."""
    yield from _node("p40x2", "broken")


@pytest.fixture(scope="module")
def bare() -> Iterator[Node]:
    """Two Tesla P40 held by nouveau, no driver of NVIDIA."""
    yield from _node("p40x2-no-driver", "bare")


@pytest.fixture(scope="module")
def two_kernels() -> Iterator[Node]:
    """Two Tesla P40 with a working driver, and a next kernel that boots by default and has no module of it."""
    yield from _node("p40x2-next-kernel", "kernels")
