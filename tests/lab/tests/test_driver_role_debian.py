"""The role nvidia_driver on Debian 13: the archive's driver with DKMS, NVIDIA's repository, and the way back from both."""
from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.packages.build import OWNERS
from tests.lab.packages.keys import gpg_home, signing_key
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

ARCHIVE, CUDA_KEY = "550.163.01", "cuda-debian13"
FILES = ["/etc/modprobe.d/gpuops-blacklist-nouveau.conf", "/etc/modules-load.d/gpuops-nvidia.conf"]
# A container that does not start would be the same to the role.
FAILING = {"nvidia_driver_smoke_command": ["sh", "-c", "echo the smoke test fails >&2; exit 3"]}


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla T4, no driver."""
    name = f"driver-debian-{os.getpid()}"
    try:
        lifecycle.up("debian13-t4", name)
        yield lifecycle.find(name)
    finally:
        lifecycle.down(name)


def dkms(node: Node) -> list[str]:
    """What DKMS has built of the driver."""
    return [line for line in node.run("sh", "-c", "dkms status 2>/dev/null", check=False)[1].splitlines() if "nvidia" in line]


def test_a_first_driver_that_fails_its_smoke_test_goes_again(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=550, **FAILING)
    assert done.code == 2 and "the smoke test fails" in done.message and "Removed its packages" in done.message, done.text
    assert "stays until a reboot" not in done.message, done.message
    assert not role.packages(server) and not dkms(server) and not role.exists(server, "/sys/module/nvidia")
    assert [path for path in FILES if role.exists(server, path)] == []


def test_the_driver_of_the_archive_is_built_and_runs(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=550)
    assert done.code == 0, done.text
    assert role.driver(server) == role.whole(ARCHIVE) and all(role.exists(server, path) for path in FILES)
    assert [line for line in dkms(server) if ARCHIVE in line and line.endswith("installed")]
    assert set(role.packages(server)) <= role.held(server) and role.active(server, "nvidia-persistenced")
    assert not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)


def cuda_repository() -> dict[str, Any]:
    """NVIDIA's repository for this release, as the role is told."""
    address = "http://mirror.lab/compute/cuda/repos/debian13/x86_64/"
    fingerprint = signing_key(CUDA_KEY, OWNERS[CUDA_KEY]).fingerprint
    return {"uris": address, "suites": "/", "key_url": f"http://mirror.lab/keys/{CUDA_KEY}.asc", "key_fingerprint": fingerprint}


def plant_expired_key(node: Node) -> None:
    """The key of the repository as a host has it that downloaded it before its owner gave it a later end."""
    key = signing_key(CUDA_KEY, OWNERS[CUDA_KEY])
    with gpg_home() as gpg:
        gpg.run("--import", str(key.secret))
        gpg.run("--quick-set-expire", key.fingerprint, "seconds=1")
        time.sleep(2)
        node.write(f"/usr/share/keyrings/gpuops-nvidia-driver-{key.fingerprint[-16:].lower()}.asc", gpg.run("--armor", "--export", key.fingerprint))


def test_a_keyring_package_for_the_same_repository_is_named(server: Node, tmp_path: Path) -> None:
    other = "/etc/apt/sources.list.d/cuda-debian13-x86_64.list"
    server.write(other, f"deb [signed-by=/usr/share/keyrings/cuda-archive-keyring.gpg] {cuda_repository()['uris']} /\n")
    before = role.fingerprint(server)
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=590, nvidia_driver_repository=cuda_repository())
    assert done.code == 2 and f"{other} already configures" in done.message and "Nothing was changed" in done.message, done.text
    assert role.fingerprint(server) == before
    server.run("rm", other)


def test_the_way_back_leads_from_one_source_to_the_other(server: Node, tmp_path: Path) -> None:
    plant_expired_key(server)
    installed = role.packages(server)
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=590, nvidia_driver_repository=cuda_repository(), **FAILING)
    assert done.code == 2 and "the smoke test fails" in done.message, done.text
    assert role.driver(server) == role.whole(ARCHIVE), done.message
    assert role.packages(server) == installed and set(installed) <= role.held(server) and role.unfinished(server) == []
    assert [line for line in dkms(server) if ARCHIVE in line and line.endswith("installed")]
    assert json.loads(server.read(role.STATE))["phase"] == "rolled_back" and not role.active(server, "nvidia-persistenced")
