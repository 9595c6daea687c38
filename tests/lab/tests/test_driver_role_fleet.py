"""upgrade.yml over three servers: a canary that fails keeps the rest from being touched; a run that died is continued; the report tells it all."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

OLD, NEW, BAD = "580.95.05", "580.173.02", "580.998.01"


class Fleet:
    """Three servers with two Tesla P40 each, an inventory of them all, and a folder for results."""

    def __init__(self, nodes: list[Node], folder: Path) -> None:
        self.nodes, self.folder, self.results = nodes, folder, folder / "results"
        hosts: dict[str, Any] = {}
        for node in nodes:
            hosts |= yaml.safe_load(write_inventory(node, folder / f"{node.name}.yml").read_text())["all"]["hosts"]
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))

    def command(self, **variables: Any) -> list[str]:
        settings = role.KNOWN | {"gpuops_results_directory": str(self.results)} | variables
        return ["ansible-playbook", "gpuops.fleet.upgrade", "-i", str(self.folder / "hosts.yml"), "-e", json.dumps(settings)]

    def upgrade(self, **variables: Any) -> subprocess.CompletedProcess[str]:
        environment = dict(os.environ, ANSIBLE_NOCOLOR="1", ANSIBLE_FORCE_COLOR="0")
        return subprocess.run(self.command(**variables), env=environment, check=False, capture_output=True, text=True)

    def result(self, node: Node) -> dict[str, Any]:
        return json.loads((self.results / f"{node.name}.json").read_text())

    def summary(self) -> dict[str, Any]:
        return json.loads((self.results / "summary.json").read_text())


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    names = [f"fleet-{letter}-{os.getpid()}" for letter in "abc"]
    try:
        for name in names:
            lifecycle.up("p40x2", name)
        yield Fleet([lifecycle.find(name) for name in names], tmp_path_factory.mktemp("fleet"))
    finally:
        for name in names:
            lifecycle.down(name)


def test_a_canary_that_fails_keeps_the_rest_as_it_is(fleet: Fleet) -> None:
    first, *rest = fleet.nodes
    lifecycle.serve("bad-proof", first.name)
    before = [role.fingerprint(node) for node in rest]
    done = fleet.upgrade(gpu_preflight_driver_version=BAD)
    assert done.returncode != 0
    result = fleet.result(first)
    assert result["status"] == "rolled_back" and result["canary"] is True and result["to"] == OLD and BAD in result["message"], done.stdout
    assert role.driver(first) == role.whole(OLD)
    assert [role.fingerprint(node) for node in rest] == before
    assert fleet.summary()["hosts"] == {first.name: "rolled_back", **{node.name: "planned" for node in rest}}
    assert list(fleet.summary()["messages"]) == [first.name]
    first.run("rm", "/etc/apt/sources.list.d/lab-bad-proof.sources")


def test_a_run_that_died_is_continued(fleet: Fleet) -> None:
    first, second, third = fleet.nodes
    # As a run leaves a host that dies after the exchange of the packages: the old module is loaded, the new library is there.
    third.run("sh", "-c", "apt-get -qq update && apt-get -qq -y --allow-change-held-packages install " + " ".join(role.packages(third)))
    assert role.driver(third) == {**role.whole(NEW, 0), "loaded": OLD}
    run = subprocess.Popen(
        fleet.command(gpu_preflight_driver_version=NEW), env=role.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 600
        while not role.exists(second, role.DRAIN):
            assert time.monotonic() < until and run.poll() is None, "the second host was never drained"
            time.sleep(0.3)
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    canary = fleet.result(first)
    assert canary["status"] == "upgraded" and canary["canary"] is True and fleet.result(second)["status"] == "started"
    before = role.fingerprint(first)

    done = fleet.upgrade(gpu_preflight_driver_version=NEW)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [role.driver(node) for node in fleet.nodes] == [role.whole(NEW)] * 3
    assert role.fingerprint(first) == before and fleet.result(first) == canary
    for node in (second, third):
        result = fleet.result(node)
        assert result["status"] == "upgraded" and result["from"] == OLD and result["to"] == NEW and result["gpu_unavailable_seconds"] > 0
        assert not role.exists(node, role.STATE) and not role.exists(node, role.DRAIN) and role.active(node, "nvidia-persistenced")
    assert fleet.summary()["counts"] == {"upgraded": 3}


def test_a_fleet_that_is_done_is_not_touched(fleet: Fleet) -> None:
    before = [role.fingerprint(node) for node in fleet.nodes]
    done = fleet.upgrade(gpu_preflight_driver_version=NEW)
    assert done.returncode == 0 and "changed=0" in done.stdout, done.stdout
    assert [role.fingerprint(node) for node in fleet.nodes] == before
