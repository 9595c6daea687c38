"""The role nvidia_driver on Enterprise Linux when it is not all plain: killed runs, a second kernel, no network, precompiled modules, other releases."""
from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.image import EL_KERNEL
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role
from tests.lab.tests.driver_el import MIRROR, assert_runs, source, state

pytestmark = pytest.mark.lab

# NEWEST is what the repository has precompiled modules of, for EL_KERNEL alone.
OLD, NEW, NEWEST = "570.211.01", "580.95.05", "580.105.08"
NEXT_KERNEL = "5.14.0-611.9.1.el9_7.x86_64"
BOTH = tuple(sorted((EL_KERNEL, NEXT_KERNEL)))
DRAIN = {"nvidia_driver_drain_services": ["holder", "nvidia-persistenced"]}
OFFLINE = "/srv/offline"


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 on Rocky Linux 9, no driver."""
    name = f"driver-el-cases-{os.getpid()}"
    try:
        lifecycle.up("p40x2-rocky9", name)
        yield lifecycle.find(name)
    finally:
        lifecycle.down(name)


def killed_run(node: Node, folder: Path, moment: str, scriptlets: bool, **variables: Any) -> None:
    """Begin a run; kill it, dnf, and what dnf began if `scriptlets`, once the command `moment` ends well on the node."""
    victims = ["-x dnf", *(["-f '[r]pm-tmp'", "-x dkms", "-x make"] if scriptlets else [])]
    stop, kill = ("; ".join(f"pkill -{name} {victim}" for victim in victims) for name in ("STOP", "KILL"))
    command, quiet = role.command(node, folder, variables), subprocess.DEVNULL
    run = subprocess.Popen(command, env=role.environment(), stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        # Frozen until the run is dead, which would take the change back otherwise.
        node.run("timeout", "300", "sh", "-c", f"until {moment}; do sleep 0.05; done; {stop}; pgrep -x dnf")
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    node.run("sh", "-c", f"{kill}; pkill -KILL -f '[A]nsiballZ'; true")


def test_killed_while_dkms_builds_for_the_first_driver(server: Node, tmp_path: Path) -> None:
    killed_run(server, tmp_path, "pgrep -f '[d]kms build -m nvidia' >/dev/null", True, **source(server), gpu_preflight_driver_branch=570)
    found = state(server)
    assert f"kmod-nvidia-latest-dkms {OLD}" in found["packages"] and f"nvidia-driver-cuda {OLD}" not in found["packages"]
    assert found["dkms"] == [f"nvidia/{OLD}: added"] and role.exists(server, role.STATE)

    done = role.run(server, tmp_path, **source(server), gpu_preflight_driver_branch=570)
    assert done.code == 0, done.text
    assert_runs(server, OLD, "570-dkms")
    assert not role.exists(server, role.STATE) and done.result and done.result["action"] == "install"


def test_killed_while_rpm_exchanges_one_branch_for_another(server: Node, tmp_path: Path) -> None:
    role.hold_gpu(server, "holder")
    wanted = source(server) | DRAIN | {"gpu_preflight_driver_version": NEW}
    # Only dnf dies: what its scriptlets have begun goes on, as after the kernel killed it for want of memory.
    killed_run(server, tmp_path, f"[ -e /usr/lib64/libnvidia-ml.so.{NEW} ]", False, **wanted)
    names = [line.split()[0] for line in state(server)["packages"]]
    assert len(names) > len(set(names)), names
    assert not role.active(server, "holder") and json.loads(server.read(role.STATE))["previous"]["version"] == OLD

    done = role.run(server, tmp_path, **wanted)
    assert done.code == 0, done.text
    assert_runs(server, NEW, "580-dkms")
    assert role.active(server, "holder") and role.active(server, "nvidia-persistenced")
    assert not role.exists(server, role.STATE) and not role.exists(server, role.DRAIN)
    assert done.result and done.result["previous_version"] == OLD and "Nothing to do" in server.run("dnf", "-y", "--cacheonly", "upgrade", "*nvidia*")[1]
    server.run("systemctl", "disable", "--now", "holder")


def test_a_driver_that_is_only_not_loaded_is_loaded(server: Node, tmp_path: Path) -> None:
    server.run("sh", "-ec", "systemctl stop nvidia-persistenced; modprobe -r nvidia_uvm nvidia; systemctl start nvidia-persistenced || true")
    server.run("sh", "-c", "modprobe -r nvidia_uvm nvidia || true")
    assert not role.exists(server, "/sys/module/nvidia")
    before = state(server)["packages"]
    done = role.run(server, tmp_path, **source(server))
    assert done.code == 0 and done.result and done.result["action"] == "reload", done.text
    assert_runs(server, NEW, "580-dkms")
    assert state(server)["packages"] == before


def test_modules_for_the_running_and_for_the_next_kernel(server: Node, tmp_path: Path) -> None:
    server.run("dnf", "-y", "install", f"kernel-core-{NEXT_KERNEL}")
    server.run("dkms", "uninstall", "-m", "nvidia", "-v", NEW, "-k", EL_KERNEL)
    done = role.run(server, tmp_path, **source(server))
    assert done.code == 0 and done.result and done.result["action"] == "reinstall", done.text
    assert_runs(server, NEW, "580-dkms", BOTH)
    assert state(server)["tools"][1:] == [f"kernel-devel-{kernel}" for kernel in BOTH]
    server.reboot()
    assert server.run("uname", "-r")[1].strip() == NEXT_KERNEL
    assert_runs(server, NEW, "580-dkms", BOTH)


def test_precompiled_modules_are_refused_for_a_kernel_that_has_none(server: Node, tmp_path: Path) -> None:
    before = state(server)
    done = role.run(server, tmp_path, **source(server), nvidia_driver_module_source="precompiled", gpu_preflight_driver_version=NEWEST)
    assert done.code == 2 and f"lacks kmod-nvidia-{NEWEST}-{NEXT_KERNEL.removesuffix('.x86_64')}" in done.message, done.text
    assert "Nothing was changed" in done.message and state(server) == before


def copy_repository(node: Node) -> None:
    """Copy NVIDIA's repository and its key to a folder of the node as an administrator would."""
    node.run("dnf", "-q", "reposync", "--repo=gpuops-nvidia-driver", "--download-metadata", "--norepopath", "-p", OFFLINE)
    node.run("curl", "-fsS", "-o", f"{OFFLINE}/nvidia.asc", f"{MIRROR}/keys/nvidia.asc")


def test_a_folder_of_the_host_is_a_source_without_a_network(server: Node, tmp_path: Path) -> None:
    server.run("sed", "-i", f"s/{NEXT_KERNEL}$/{EL_KERNEL}/", "/boot/grub2/grubenv")
    server.reboot()
    copy_repository(server)
    local = source(server, baseurl=f"file://{OFFLINE}/", key_url=f"file://{OFFLINE}/nvidia.asc")
    wanted = {"nvidia_driver_module_source": "precompiled", "gpu_preflight_driver_version": NEWEST}
    before = state(server)
    faults.inject("network-cut", server, {})
    try:
        missing = role.run(server, tmp_path, **local | source(server, baseurl="file:///srv/nowhere/", key_url=f"file://{OFFLINE}/nvidia.asc"), **wanted)
        untouched = state(server)
        done = role.run(server, tmp_path, **local, **wanted)
    finally:
        faults.inject("network-restore", server, {})
    assert missing.code == 2 and "/srv/nowhere" in missing.message and "Nothing was changed" in missing.message, missing.message
    assert untouched == before
    assert done.code == 0, done.text
    package = f"kmod-nvidia-{NEWEST}-{EL_KERNEL.rpartition('.el9')[0]}"
    assert_runs(server, NEWEST, "580", (EL_KERNEL,), package)
    assert server.run("modinfo", "-F", "signer", "nvidia")[1].strip() == "NVIDIA Linux driver signing"


def become(node: Node, version: str) -> None:
    """Make the node another release of Rocky Linux, as far as facts tell."""
    script = f"s/[0-9]+\\.[0-9]+/{version}/g; s/:el[0-9]+/:el{version.partition('.')[0]}/"
    node.run("sed", "-i", "-E", script, "/etc/os-release", "/etc/redhat-release")


def test_enterprise_linux_10_has_no_streams_and_keeps_its_branch_by_locks(server: Node, tmp_path: Path) -> None:
    become(server, "10.1")
    server.run("dnf", "-y", "module", "reset", "nvidia-driver")
    fabric = ["nvidia-fabricmanager", "libnvidia-nscq", "libnvsdm"]
    hotfixes = ["--disableplugin=versionlock", "--setopt=gpuops-nvidia-driver.module_hotfixes=1"]
    server.run("dnf", "-y", *hotfixes, "install", *(f"{name}-{NEWEST}" for name in fabric))
    done = role.run(server, tmp_path, **source(server, "cuda-el10"), gpu_preflight_driver_version=OLD)
    assert done.code == 0 and done.result and done.result["action"] == "downgrade", done.text
    assert_runs(server, OLD, None)
    # What is called otherwise in this branch has come under its other name; what this branch lacks is gone.
    names = {line.split()[0] for line in state(server)["packages"]}
    assert {"nvidia-fabric-manager", "libnvidia-nscq-570"} <= names and names.isdisjoint(fabric)
    assert "Nothing to do" in server.run("dnf", "-y", "--repo=gpuops-nvidia-driver", "upgrade")[1]


def test_enterprise_linux_8_is_refused(server: Node, tmp_path: Path) -> None:
    become(server, "8.10")
    before = state(server)
    done = role.run(server, tmp_path, **source(server), gpu_preflight_driver_version=NEW)
    assert done.code == 2 and "Enterprise Linux 8" in done.message and "Nothing was changed" in done.message, done.message
    assert state(server) == before
