"""The role nvidia_driver on a server that never had a driver: what it refuses before anything is changed."""
from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 held by nouveau, no driver of NVIDIA."""
    with lifecycle.machine("p40x2-no-driver", "driver-fresh") as node:
        yield node


def put_the_role_on_the_server(node: Node, folder: Path) -> None:
    """Ansible, the collection, and a play with a local connection: /root/play.yml."""
    node.run("apt-get", "update", "-q")
    node.run("apt-get", "install", "-y", "-q", "--no-install-recommends", "ansible-core", environment={"DEBIAN_FRONTEND": "noninteractive"})
    collection = folder / "root/usr/share/ansible/collections/ansible_collections/gpuops/fleet"
    for name in ("plugins", "roles", "meta"):
        shutil.copytree(CHECKOUT / name, collection / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copyfile(CHECKOUT / "galaxy.yml", collection / "galaxy.yml")
    node.put(folder / "root")
    task = {"name": "The driver", "ansible.builtin.include_role": {"name": "gpuops.fleet.nvidia_driver"}}
    node.write("/root/play.yml", yaml.safe_dump([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]))


def test_a_full_boot_partition_ends_before_anything(server: Node, tmp_path: Path) -> None:
    fill = "cp -a /boot /run/boot; mount -t tmpfs -o size=99m tmpfs /boot; cp -a /run/boot/. /boot/; rm -r /run/boot"
    server.run("sh", "-ec", fill)
    try:
        before = role.fingerprint(server)
        done = role.run(server, tmp_path, gpu_preflight_driver_branch=535)
        assert role.fingerprint(server) == before
    finally:
        server.run("umount", "/boot")
    assert done.code == 2 and "no room for the driver: /boot has" in done.message and "100 MiB are needed" in done.message, done.text


def test_a_full_package_folder_ends_before_the_drain(server: Node, tmp_path: Path) -> None:
    before, folder = role.fingerprint(server), "/var/lib/gpuops/nvidia_driver.packages"
    server.run("sh", "-ec", f"mkdir -p {folder}; mount -t tmpfs -o size=64k tmpfs {folder}")
    try:
        done = role.run(server, tmp_path, gpu_preflight_driver_branch=535)
    finally:
        server.run("umount", folder)
    assert done.code == 2 and f"enough free space in {folder}" in done.message and done.message.endswith("No package was changed."), done.text
    assert role.fingerprint(server) == before and not role.packages(server)


def test_a_host_does_not_reboot_under_its_own_run(server: Node, tmp_path: Path) -> None:
    put_the_role_on_the_server(server, tmp_path)
    before = role.fingerprint(server)
    variables = json.dumps(role.KNOWN | {"gpu_preflight_driver_branch": 535})
    code, told = server.run("ansible-playbook", "/root/play.yml", "-e", variables, check=False)
    assert code == 2 and "localhost has to reboot (" in told and "ansible_connection is local: the run would end with it" in told, told
    assert "Nothing was changed." in told and role.fingerprint(server) == before
