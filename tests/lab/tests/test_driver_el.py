"""The role nvidia_driver on Enterprise Linux: two Tesla P40 from no driver to branch 570 and on to 580, read back with rpm, DKMS, modinfo and nvidia-smi."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.image import EL_KERNEL
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role
from tests.lab.tests.driver_el import assert_runs, source, state

pytestmark = pytest.mark.lab

# NEW is not the newest of its branch: only its locks keep an upgrade of the host from it.
OLD, NEW, FAULTY = "570.211.01", "580.95.05", "580.126.09"


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 on Rocky Linux 9, no driver."""
    with lifecycle.machine("p40x2-rocky9", "driver-el") as node:
        yield node


# repository, what else is asked for → what the message says
REFUSALS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"key_fingerprint": "A" * 40}, {}, ["has the fingerprint", "A" * 40 + " is expected", "Nothing was changed"]),
    ({"repository": "cuda-bad-index"}, {}, ["cannot be read", "GPG", "Nothing was changed"]),
    ({"repository": "cuda-unsigned"}, {}, ["no trusted key has signed", "nvidia-driver-cuda-580.105.08-1.el9.x86_64.rpm", "No package was changed"]),
    ({"repository": "cuda-wrong-key"}, {}, ["no trusted key has signed", "nvidia-driver-cuda-3:580.105.08-1.el9.x86_64", "No package was changed"]),
    ({"repository": "nowhere"}, {}, ["cannot be read", "nowhere", "repomd.xml", "Nothing was changed"]),
    ({}, {"gpu_preflight_driver_branch": 595}, ["595", "Tesla P40", "580"]),
    ({}, {"gpu_preflight_driver_flavor": "open"}, ["open", "Tesla P40"]),
    ({}, {"gpu_preflight_driver_version": "580.1.01"}, ["580.1.01 is asked for", "580.105.08"]),
]
IDS = ["another key", "index of a stranger", "unsigned", "packages of a stranger", "no repository", "lost card", "flavour", "no such version"]


@pytest.mark.parametrize(("repository", "wanted", "words"), REFUSALS, ids=IDS)
def test_a_refusal_is_one_line_and_leaves_the_host_as_it_was(
    server: Node, tmp_path: Path, repository: dict[str, Any], wanted: dict[str, Any], words: list[str]
) -> None:
    before = state(server)
    done = role.run(server, tmp_path, **source(server, **repository), **wanted)
    assert done.code == 2, done.text
    assert [word for word in words if word not in done.message] == [], done.message
    assert state(server) == before


def test_a_mirror_that_is_down_is_named(server: Node, tmp_path: Path) -> None:
    before, variables = state(server), source(server)
    faults.inject("network-cut", server, {})
    try:
        done = role.run(server, tmp_path, **variables)
    finally:
        faults.inject("network-restore", server, {})
    assert done.code == 2 and "mirror.lab" in done.message and "Nothing was changed" in done.message, done.message
    assert state(server) == before


def test_check_mode_shows_the_transaction_and_changes_nothing(server: Node, tmp_path: Path) -> None:
    before = state(server)
    done = role.run(server, tmp_path, "--check", **source(server), gpu_preflight_driver_branch=570)
    assert done.code == 0, done.text
    shown = done.shown("Show what a real run would do")
    assert all(word in shown for word in ("kmod-nvidia-latest-dkms", f"kernel-devel-{EL_KERNEL}", "dkms", "nvidia-driver-cuda")), shown
    assert state(server) == before


def test_a_fresh_host_gets_the_asked_branch(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, **source(server), gpu_preflight_driver_branch=570)
    assert done.code == 0, done.text
    assert_runs(server, OLD, "570-dkms")
    assert done.result and done.result["rebooted"] is False


def test_the_second_run_changes_nothing_and_takes_no_network(server: Node, tmp_path: Path) -> None:
    variables = source(server)
    faults.inject("network-cut", server, {})
    try:
        done = role.run(server, tmp_path, **variables, gpu_preflight_driver_branch=570)
    finally:
        faults.inject("network-restore", server, {})
    assert done.code == 0 and done.changed == [], done.text
    assert done.remote <= 6, done.remote


# What is wrong with the newer driver → what the story says
FAULTY_DRIVERS = [("cuda-broken-build", f"the kernel module on disk is not of {FAULTY}: kernel {EL_KERNEL} has none"), ("cuda-bad-proof", "driver.gpus")]


@pytest.mark.parametrize(("repository", "story"), FAULTY_DRIVERS, ids=["build fails", "proof fails"])
def test_a_driver_that_does_not_work_is_taken_back_with_its_stream(server: Node, tmp_path: Path, repository: str, story: str) -> None:
    done = role.run(server, tmp_path, **source(server, repository), gpu_preflight_driver_version=FAULTY)
    assert done.code == 2 and story in done.message and f"Went back to {OLD} and proved it" in done.message, done.message
    assert_runs(server, OLD, "570-dkms")


def test_the_next_branch_comes_with_its_stream_and_stays(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, **source(server), gpu_preflight_driver_version=NEW)
    assert done.code == 0, done.text
    assert_runs(server, NEW, "580-dkms")
    assert role.active(server, "nvidia-persistenced")
    assert "Nothing to do" in server.run("dnf", "-y", "--repo=gpuops-nvidia-driver", "upgrade")[1]
    assert_runs(server, NEW, "580-dkms")
