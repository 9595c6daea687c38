"""The role nvidia_driver when something goes wrong: what stops it before the drain, what it takes back, and what the next run finishes."""
from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

OLD, NEW, BAD = "580.95.05", "580.173.02", "580.998.01"


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 with driver 580.95.05, and a program that holds a GPU and may be stopped."""
    with lifecycle.machine("p40x2", "driver-recovery") as node:
        lifecycle.serve("bad-proof", None)
        role.hold_gpu(node, "holder")
        yield node


DRAIN = {"nvidia_driver_drain_services": ["holder", "nvidia-persistenced"]}


REPOSITORY = {
    "uris": "http://mirror.lab/bad-proof",
    "suites": "noble",
    "components": ["restricted"],
    "key_url": "http://mirror.lab/keys/ubuntu.asc",
    "key_fingerprint": "0123456789012345678901234567890123456789",
}
# variables, what the message says
REFUSALS = [
    ({"gpu_preflight_driver_branch": 595}, "R595"),
    ({"gpu_preflight_driver_branch": 999}, "R999"),
    ({"gpu_preflight_driver_flavor": "open"}, "open"),
    ({"gpu_preflight_driver_version": "580.1.2"}, "580.1.2"),
    ({"gpu_preflight_driver_version": NEW}, "cannot be read"),
    ({"gpu_preflight_driver_version": NEW, "nvidia_driver_repository": REPOSITORY}, "cannot be read"),
    ({"gpu_preflight_driver_version": NEW, "nvidia_driver_free_mib": {"/run/full": 1500}}, "/run/full has 20 MiB free, 1500 MiB are needed"),
]
NAMES = ["branch without the GPU", "no such branch", "flavour without the GPU", "no such version", "no mirror", "wrong key", "no room"]


@pytest.mark.parametrize(("variables", "words"), REFUSALS, ids=NAMES)
def test_bad_input_ends_before_the_drain(server: Node, tmp_path: Path, variables: dict[str, Any], words: str, request: pytest.FixtureRequest) -> None:
    untouched = role.fingerprint(server)
    if "no mirror" in request.node.name:
        faults.inject("network-cut", server, {})
        request.addfinalizer(lambda: faults.inject("network-restore", server, {}))
    if "no room" in request.node.name:
        server.run("sh", "-c", "mkdir -p /run/full && mount -t tmpfs -o size=20m tmpfs /run/full")
        request.addfinalizer(lambda: server.run("umount", "/run/full"))
    done = role.run(server, tmp_path, **variables, **DRAIN)
    assert done.code == 2 and words in done.message, done.text
    assert role.fingerprint(server) == untouched and role.driver(server) == role.whole(OLD)


def test_killed_in_the_drain(server: Node, tmp_path: Path) -> None:
    role.killed_run(server, tmp_path, f"test -e {role.DRAIN}", gpu_preflight_driver_version=NEW, **DRAIN)
    assert role.exists(server, role.STATE) and role.exists(server, role.DRAIN)
    recorded = json.loads(server.read(role.STATE))
    assert recorded["phase"] == "changing" and recorded["previous"]["version"] == OLD

    # Somebody else decides that the old driver may stay: the run gives the GPUs back.
    done = role.run(server, tmp_path, **DRAIN)
    assert done.code == 0, done.text
    assert role.active(server, "holder") and role.active(server, "nvidia-persistenced") and not role.exists(server, role.STATE)


def test_killed_in_the_transaction(server: Node, tmp_path: Path) -> None:
    server.run("truncate", "--size=0", "/var/log/dpkg.log")
    role.killed_run(server, tmp_path, f"grep -q 'status unpacked .*{NEW}' /var/log/dpkg.log", gpu_preflight_driver_version=NEW, **DRAIN)
    assert role.exists(server, role.STATE) and role.driver(server) != role.whole(NEW)
    done = role.run(server, tmp_path, gpu_preflight_driver_version=NEW, **DRAIN)
    assert done.code == 0, done.text
    assert role.driver(server) == role.whole(NEW) and role.unfinished(server) == []
    assert role.active(server, "holder") and not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)
    assert done.result and done.result["previous_version"] == OLD and set(role.packages(server)) <= role.held(server)


@pytest.mark.parametrize(("extra", "version", "words"), [("bad-proof", BAD, BAD), ("bad-gpu", "580.998.02", "1 of 2")], ids=["versions differ", "one GPU less"])
def test_a_driver_that_fails_its_proof_is_taken_back(server: Node, tmp_path: Path, extra: str, version: str, words: str) -> None:
    lifecycle.serve(extra, server.name)
    installed = role.packages(server)
    done = role.run(server, tmp_path, gpu_preflight_driver_version=version, **DRAIN)
    assert done.code == 2 and done.result and done.result["rolled_back"] is True, done.text
    # Both stories: why the new one failed, and how the way back went.
    assert words in done.message and f"Went back to {NEW} and proved it. The host is left drained" in done.message and "\n" not in done.message
    assert role.driver(server) == role.whole(NEW) and role.packages(server) == installed and set(installed) <= role.held(server)
    assert not role.active(server, "holder") and role.exists(server, role.DRAIN)
    assert json.loads(server.read(role.STATE))["phase"] == "rolled_back"

    # Without that version the plan is to keep what is there: the host gets its GPUs back.
    server.run("rm", f"/etc/apt/sources.list.d/lab-{extra}.sources")
    again = role.run(server, tmp_path, gpu_preflight_driver_version=NEW, **DRAIN)
    assert again.code == 0 and "failed and was taken back" in again.shown("Say what an earlier run left undone"), again.text
    assert role.active(server, "holder") and not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)


def test_a_module_that_does_not_build_never_touches_the_gpus(server: Node, tmp_path: Path) -> None:
    lifecycle.serve("broken", server.name)
    installed = role.packages(server)
    done = role.run(server, tmp_path, gpu_preflight_driver_version="580.999.01", nvidia_driver_module_source="dkms", **DRAIN)
    assert done.code == 2 and f"Went back to {NEW} and proved it" in done.message, done.text
    assert role.driver(server) == role.whole(NEW) and role.packages(server) == installed and role.unfinished(server) == []
