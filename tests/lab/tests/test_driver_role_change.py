"""The role nvidia_driver on two Tesla P40, from a bare server to branch 580: each step is read back from the node itself."""
from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab

OLD, NEW = "535.309.01", "580.173.02"


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 held by nouveau, no driver of NVIDIA."""
    with lifecycle.machine("p40x2-no-driver", "driver-change") as node:
        yield node


def cut_network_while_changing(node: Node) -> threading.Thread:
    """Take the network away once the change is on record, and only then."""

    def cut() -> None:
        until = time.monotonic() + 300
        while not role.exists(node, role.STATE) and time.monotonic() < until:
            time.sleep(0.5)
        faults.inject("network-cut", node, {})

    thread = threading.Thread(target=cut, daemon=True)
    thread.start()
    return thread


def test_check_mode_shows_the_plan_and_changes_nothing(server: Node, tmp_path: Path) -> None:
    before = role.fingerprint(server)
    done = role.run(server, tmp_path, "--check", gpu_preflight_driver_branch=535)
    assert done.code == 0, done.text
    shown = done.shown("Show what a real run would do")
    assert "nvidia-headless-no-dkms-535-server" in shown and "nouveau is loaded" in shown and "reboot" in shown
    assert role.fingerprint(server) == before


def test_a_reboot_that_is_not_taken_is_pending_until_it_happens(server: Node, tmp_path: Path) -> None:
    wanted = {"gpu_preflight_driver_branch": 535, "nvidia_driver_reboot_policy": "never"}
    done = role.run(server, tmp_path, **wanted)
    assert done.code == 2 and "a reboot is pending" in done.message and done.result and done.result["reboot_pending"] is True
    assert role.exists(server, "/sys/module/nouveau") and role.driver(server)["disk"] == OLD
    recorded = server.read(role.STATE)
    assert '"phase": "reboot_pending"' in recorded

    again = role.run(server, tmp_path, **wanted)
    assert again.code == 2 and "a reboot is pending" in again.message
    assert "R535 is installed and a reboot is pending" in again.shown("Say what an earlier run left undone")

    server.reboot()
    after = role.run(server, tmp_path, **wanted)
    assert after.code == 0, after.text
    assert role.driver(server) == role.whole(OLD) and not role.exists(server, "/sys/module/nouveau")
    assert not role.exists(server, role.STATE) and after.result and after.result["gpu_unavailable_seconds"] is None
    assert set(role.packages(server)) <= role.held(server)


def test_a_run_with_nothing_to_do_needs_no_network_and_few_tasks(server: Node, tmp_path: Path) -> None:
    before = role.fingerprint(server)
    faults.inject("network-cut", server, {})
    try:
        done = role.run(server, tmp_path, gpu_preflight_driver_branch=535)
    finally:
        faults.inject("network-restore", server, {})
    assert done.code == 0 and done.changed == [] and done.stats["changed"] == 0, done.text
    assert done.remote <= 6 and done.result is None
    assert role.fingerprint(server) == before


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"nvidia_driver_drain_policy": "fail"}, "holder.service"),
        ({"nvidia_driver_drain_policy": "stop"}, "holder.service"),
        ({"nvidia_driver_drain_policy": "wait", "nvidia_driver_drain_timeout_seconds": 2}, "holder.service"),
    ],
    ids=["fail", "stop, but not named", "wait in vain"],
)
def test_a_program_on_a_gpu_keeps_the_driver(server: Node, tmp_path: Path, variables: dict[str, object], words: str) -> None:
    if not role.active(server, "holder"):
        role.hold_gpu(server, "holder")
    installed = role.packages(server)
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=580, **variables)
    assert done.code == 2 and words in done.message and "The driver was not changed" in done.message
    assert role.driver(server) == role.whole(OLD) and role.packages(server) == installed and set(installed) <= role.held(server)
    assert role.active(server, "holder") and role.active(server, "nvidia-persistenced")
    assert not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)


def test_a_branch_is_exchanged_while_the_network_is_away(server: Node, tmp_path: Path) -> None:
    cut = cut_network_while_changing(server)
    begun = time.monotonic()
    try:
        done = role.run(server, tmp_path, gpu_preflight_driver_branch=580, nvidia_driver_drain_services=["holder", "nvidia-persistenced"])
    finally:
        cut.join()
        faults.inject("network-restore", server, {})
    assert done.code == 0, done.text
    assert role.driver(server) == role.whole(NEW)
    names = set(role.packages(server))
    assert not [name for name in names if "-535" in name] and "nvidia-headless-no-dkms-580-server" in names
    # The distribution's own module, signed; nothing was built.
    assert server.run("modinfo", "-F", "signer", "nvidia")[1].strip() == "Canonical Ltd. Kernel Module Signing" and "nvidia-dkms-580-server" not in names
    assert names <= role.held(server)
    assert role.active(server, "holder") and role.active(server, "nvidia-persistenced")
    assert done.result and done.result["action"] == "upgrade" and done.result["rebooted"] is False
    assert 0 < done.result["gpu_unavailable_seconds"] < time.monotonic() - begun
    assert not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)
    # The way back of the next change: the files of exactly what is installed.
    kept = server.run("sh", "-c", "cd /var/lib/gpuops/nvidia_driver.packages && ls *.deb | sed 's/_.*//'")[1].split()
    assert set(kept) == names


def test_nothing_is_left_to_do_after_the_exchange(server: Node, tmp_path: Path) -> None:
    done = role.run(server, tmp_path, gpu_preflight_driver_branch=580)
    assert done.code == 0 and done.changed == [] and done.remote <= 6 and done.result is None, done.text


def test_others_leave_the_driver_alone_until_that_is_taken_back(server: Node, tmp_path: Path) -> None:
    listed = server.run("apt-config", "dump", "Unattended-Upgrade::Package-Blacklist")[1]
    assert '"nvidia-(?!container)"' in listed and '"linux-modules-nvidia-"' in listed
    server.run("mkdir", "-p", "/etc/needrestart/conf.d")
    path = "/etc/needrestart/conf.d/gpuops-nvidia-driver.conf"
    done = role.run(server, tmp_path)
    assert done.changed == ["gpuops.fleet.nvidia_driver : Needrestart restarts nothing because of the driver"]
    # Valid Perl, and the patterns say what they are to say.
    perl = 'our %nrconf = (override_rc => {}, blacklist_mappings => []); do "' + path + '" or die $@; my ($name) = keys %{$nrconf{override_rc}};'
    perl += ' print "nvidia-persistenced.service" =~ /$name/ ? 1 : 0, "docker.service" =~ /$name/ ? 1 : 0,'
    perl += ' "/usr/lib/libnvidia-ml.so.1" =~ $nrconf{blacklist_mappings}[0] ? 1 : 0'
    assert server.run("perl", "-we", perl)[1] == "101"
    undone = role.run(server, tmp_path, nvidia_driver_protect=False)
    assert undone.code == 0 and not role.exists(server, path) and not role.exists(server, "/etc/apt/apt.conf.d/52gpuops-nvidia-driver")
