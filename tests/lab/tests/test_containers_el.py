"""The container toolkit on Enterprise Linux, and Podman's containers: packages, locks, repositories that ended, CDI, and what takes GPUs away.

One node from the first installation on; each test goes on where the one before it ended.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.node import lifecycle
from tests.lab.node.image import EL_KERNEL
from tests.lab.node.node import Node
from tests.lab.tests.test_containers_keep_gpus import ROOT, answers, bad, changed, checks, failure, play, uuids

pytestmark = pytest.mark.lab

MIRROR = "http://mirror.lab/el9"
REPOSITORIES = "/etc/yum.repos.d"
STAGES = [
    {"ansible.builtin.import_role": {"name": "gpuops.fleet.nvidia_container_toolkit", "tasks_from": "validate"}},
    {"ansible.builtin.import_role": {"name": "gpuops.fleet.nvidia_container_toolkit"}},
]
PACKAGES = ("nvidia-container-toolkit", "nvidia-container-toolkit-base", "libnvidia-container-tools", "libnvidia-container1")
# As NVIDIA's own file was until toolkit 1.15; one of the sections is switched off by its owner, and one is somebody else's.
ENDED = """# kept by the operator
[libnvidia-container]
name=libnvidia-container
baseurl=https://nvidia.github.io/libnvidia-container/centos8/$basearch
repo_gpgcheck=1
gpgcheck=0
enabled=1

[libnvidia-container-experimental]
name=libnvidia-container-experimental
baseurl=https://nvidia.github.io/libnvidia-container/experimental/centos8/$basearch
enabled=0

[site]
name=site
baseurl=http://mirror.lab/el9/epel/
gpgcheck=0
"""
# crun of this userland wants more than a container of the lab may have; there are no limits to set, and no overlay file system.
CONTAINERS = '[containers]\npids_limit = 0\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\nruntime = "runc"\n'
STORAGE = '[storage]\ndriver = "vfs"\ngraphroot = "/var/lib/docker/podman"\nrunroot = "/run/containers/storage"\n'
ARCHIVE = ("-o", "Dir::State::status=/usr/lib/lab/dpkg/status", "-o", "DPkg::Options::=--admindir=/usr/lib/lab/dpkg")


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40 on Rocky Linux 9 with a working driver; no engine yet."""
    name = f"test-containers-el-{os.getpid()}"
    try:
        lifecycle.up("p40x2-rocky9", name)
        node = lifecycle.find(name)
        node.run("curl", "-fsS", "-o", "/etc/pki/rpm-gpg/nvidia", f"{MIRROR}/keys/nvidia.asc")
        section = f"[cuda]\nname=cuda\nbaseurl={MIRROR}/cuda/\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/nvidia\nmodule_hotfixes=1\n"
        node.write(f"{REPOSITORIES}/cuda.repo", section)
        # DKMS builds only for a kernel whose development files are there already.
        node.run("dnf", "-y", "-q", "install", f"kernel-devel-{EL_KERNEL}")
        node.run("dnf", "-y", "-q", "install", "nvidia-driver-cuda-580.95.05", "kmod-nvidia-latest-dkms-580.95.05")
        node.run("modprobe", "nvidia-uvm")
        yield node
    finally:
        lifecycle.down(name)


def source(node: Node, repository: str = "container-toolkit", **changes: Any) -> dict[str, Any]:
    """Variables that name a repository of the mirror, for Podman."""
    fingerprint = json.loads(node.run("curl", "-fsS", f"{MIRROR}/keys/fingerprints.json")[1])["toolkit"]
    found = {"baseurl": f"{MIRROR}/{repository}/", "key_url": f"{MIRROR}/keys/toolkit.asc", "key_fingerprint": fingerprint, "gpgcheck": False}
    return {"nvidia_container_toolkit_rpm_repository": found | changes, "nvidia_container_toolkit_engines": ["podman"]}


def installed(node: Node) -> set[str]:
    """VERSION-RELEASE of the four packages, as rpm has them."""
    return set(node.run("rpm", "-q", "--qf", "%{VERSION}-%{RELEASE}\\n", *PACKAGES, check=False)[1].split("\n")) - {""}


def locks(node: Node) -> list[str]:
    return sorted(line for line in node.read("/etc/dnf/plugins/versionlock.list").splitlines() if line and not line.startswith("#"))


def state(node: Node) -> str:
    """What a refused run must leave alone."""
    return node.run("sh", "-c", "rpm -qa | sort; cat /etc/yum.repos.d/* /etc/dnf/plugins/versionlock.list; ls /etc/pki/rpm-gpg /etc/systemd/system")[1]


def test_a_distribution_without_packages_is_refused_with_one_line(server: Node, tmp_path: Path) -> None:
    # Ansible takes the distribution from these files.
    server.run("sh", "-c", "mkdir /root/release && mv /etc/os-release /etc/*-release /root/release/ && touch /etc/arch-release")
    server.write("/etc/os-release", 'NAME="Arch Linux"\nID=arch\n')
    try:
        line = failure(play(server, tmp_path, STAGES, fails=True, **source(server)))
    finally:
        server.run("sh", "-c", "rm /etc/arch-release && mv /root/release/* /etc/ && rmdir /root/release")
    assert line.startswith("nvidia_container_toolkit: Archlinux ") and "is not supported: the packages come by apt" in line


def test_podman_has_to_be_there(server: Node, tmp_path: Path) -> None:
    assert "Podman is absent: install the package podman" in failure(play(server, tmp_path, STAGES, fails=True, **source(server)))
    server.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *ARCHIVE, "podman", "runc", environment={"DEBIAN_FRONTEND": "noninteractive"})
    server.run("mkdir", "-p", "/etc/containers")
    server.write("/etc/containers/containers.conf", CONTAINERS)
    server.write("/etc/containers/storage.conf", STORAGE)
    server.write("/root/probe_image.sh", (ROOT / "tests/lab/containers/probe_image.sh").read_text().replace("docker import", "podman import"))
    server.run("sh", "/root/probe_image.sh")


# What is asked for → words of the one line
REFUSALS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"key_fingerprint": "A" * 40}, {}, ["has the fingerprint", "A" * 40 + " is expected"]),
    ({"repository": "container-toolkit-bad-index"}, {}, ["cannot be read", "GPG"]),
    ({"repo_gpgcheck": False}, {}, ["one of gpgcheck and repo_gpgcheck must be true"]),
    ({}, {"nvidia_container_toolkit_version": "1.18.0"}, ["does not offer", "nvidia-container-toolkit=1.18.0-1", "0:1.20.1-1, 0:1.19.1-1"]),
    ({}, {"nvidia_container_toolkit_injection": "runtime"}, ["injection runtime is Docker's", "auto or cdi"]),
    ({}, {"nvidia_container_toolkit_selinux_devices": True}, ["this host runs without SELinux", "set it to false"]),
]
IDS = ["another key", "index of a stranger", "nothing is signed", "no such version", "no way of Podman", "no SELinux"]


@pytest.mark.parametrize(("repository", "wanted", "words"), REFUSALS, ids=IDS)
def test_a_refusal_leaves_the_host_as_it_was(server: Node, tmp_path: Path, repository: dict[str, Any], wanted: dict[str, Any], words: list[str]) -> None:
    before = state(server)
    line = failure(play(server, tmp_path, STAGES, fails=True, **source(server, **repository), **wanted))
    assert [word for word in [*words, "Nothing was changed"] if word not in line] == [], line
    assert state(server) == before


def test_a_repository_that_ended_does_not_keep_the_packages_away(server: Node, tmp_path: Path) -> None:
    path = f"{REPOSITORIES}/libnvidia-container.repo"
    server.write(path, ENDED)
    assert server.run("dnf", "-q", "makecache", check=False)[0] != 0
    before = state(server)
    planned = play(server, tmp_path, STAGES, "--check", **source(server))
    shown = " ".join(str(answer.get("msg")) for _name, answer in answers(planned))
    assert all(f"{name}-1.20.1-1" in shown for name in PACKAGES) and f"would write {SPEC}" in shown
    assert all(f"{name}-0:1.20.1-1.*" in shown for name in PACKAGES)
    assert state(server) == before

    play(server, tmp_path, STAGES, **source(server), nvidia_container_toolkit_proof_image="gpuops-probe:1")
    assert server.read(path) == ENDED.replace("enabled=1", "enabled=0")
    assert server.run("dnf", "-q", "makecache")[0] == 0
    assert installed(server) == {"1.20.1-1"} and locks(server) == sorted(f"{name}-0:1.20.1-1.*" for name in PACKAGES)
    assert set(uuids(server)) <= set(server.run("nvidia-ctk", "cdi", "list")[1].replace("nvidia.com/gpu=", "").split())
    assert server.run("systemctl", "is-enabled", "nvidia-cdi-refresh.path", "nvidia-cdi-refresh.service")[1].split() == ["enabled", "enabled"]
    assert server.run("podman", "ps", "--all", "--quiet")[1].split() == []


SPEC = "/var/run/cdi/nvidia.yaml"


def test_the_second_run_changes_nothing_and_takes_no_network(server: Node, tmp_path: Path) -> None:
    variables = source(server)
    faults.inject("network-cut", server, {})
    try:
        result = play(server, tmp_path, STAGES, **variables)
    finally:
        faults.inject("network-restore", server, {})
    assert changed(result) == []


def test_the_packages_change_version_together_and_stay_there(server: Node, tmp_path: Path) -> None:
    for version in ("1.19.1", "1.20.1"):
        play(server, tmp_path, STAGES, **source(server), nvidia_container_toolkit_version=version)
        assert installed(server) == {f"{version}-1"} and locks(server) == sorted(f"{name}-0:{version}-1.*" for name in PACKAGES)
        assert "Nothing to do" in server.run("dnf", "-y", "upgrade", *PACKAGES)[1] and installed(server) == {f"{version}-1"}
        assert server.run("systemctl", "is-active", "nvidia-cdi-refresh.path")[1].strip() == "active"
    assert changed(play(server, tmp_path, STAGES, **source(server))) == []


def test_what_an_interrupted_transaction_left_is_cleared(server: Node, tmp_path: Path) -> None:
    old = f"{MIRROR}/container-toolkit/libnvidia-container1-1.19.1-1.x86_64.rpm"
    server.run("rpm", "-i", "--justdb", "--nodeps", "--noscripts", "--force", "--nosignature", old)
    assert installed(server) == {"1.19.1-1", "1.20.1-1"}
    play(server, tmp_path, STAGES, **source(server))
    assert installed(server) == {"1.20.1-1"}


def test_containers_of_podman_have_exactly_what_they_ask_for(server: Node, tmp_path: Path) -> None:
    first, second = uuids(server)
    for name, wish in (("one", first), ("index", "1"), ("every", "all")):
        server.run("podman", "run", "--detach", "--name", name, "--network=none", f"--device=nvidia.com/gpu={wish}", "gpuops-probe:1", "sleep", "1000000")
    server.run("podman", "run", "--detach", "--name", "none", "--network=none", "gpuops-probe:1", "sleep", "1000000")
    found = checks(server, tmp_path, engine="podman")
    assert bad(found) == [] and {name for name, _id in found} == {"one", "index", "every"}
    seen = {name: found[name, "container.gpus"]["evidence"][0]["value"] for name in ("one", "index", "every")}
    assert seen == {"one": first, "index": second, "every": ", ".join(sorted([first, second]))}
    assert found["one", "container.gpus"]["evidence"][0]["source"].startswith("podman exec one nvidia-smi")
    assert bad(checks(server, tmp_path, engine="podman", container="one", expected_uuids=[second])) == [
        "one container.device_nodes fail", "one container.gpus fail",
    ]  # fmt: skip
    # What Podman gave it stays over a daemon-reload.
    server.run("systemctl", "daemon-reload")
    assert bad(checks(server, tmp_path, engine="podman")) == []


def test_a_container_of_podman_that_lost_its_devices_is_named(server: Node, tmp_path: Path) -> None:
    unit = f"libpod-{server.run('podman', 'inspect', '--format', '{{.Id}}', 'one')[1].strip()}.scope"
    for allowed in ("DeviceAllow=", "DeviceAllow=/dev/null rw"):
        server.run("systemctl", "set-property", "--runtime", unit, allowed)
    found = checks(server, tmp_path, engine="podman", container="one")
    assert bad(found) == ["one container.device_cgroup fail", "one container.gpus fail"]
    assert "podman restart one" in found["one", "container.device_cgroup"]["remedy"]
    server.run("podman", "restart", "--time", "0", "one")
    assert bad(checks(server, tmp_path, engine="podman", container="one")) == []


def test_a_stale_specification_is_written_anew_however_often_it_was_written(server: Node, tmp_path: Path) -> None:
    # systemd allows five starts within ten seconds.
    server.run("sh", "-c", "sed -i s/580.95.05/580.82.07/g /var/run/cdi/nvidia.yaml")
    assert "every container.cdi_spec fail" in bad(checks(server, tmp_path, engine="podman"))
    server.run("sh", "-c", "for _ in 1 2 3 4 5 6; do systemctl restart nvidia-cdi-refresh.service; done", check=False)
    assert server.run("systemctl", "restart", "nvidia-cdi-refresh.service", check=False)[0] != 0
    server.run("sh", "-c", "sed -i s/580.95.05/580.82.07/g /var/run/cdi/nvidia.yaml")
    assert "nvidia_container_toolkit : The CDI specification is written anew" in " ".join(changed(play(server, tmp_path, STAGES, **source(server))))
    assert "580.82.07" not in server.read(SPEC) and bad(checks(server, tmp_path, engine="podman")) == []


def test_containers_come_back_after_a_boot_with_their_gpus(server: Node, tmp_path: Path) -> None:
    def order(unit: str) -> dict[str, list[str]]:
        lines = server.run("systemctl", "show", "--property=After,Wants", unit)[1].splitlines()
        return {name: words.split() for name, _is, words in (line.partition("=") for line in lines)}

    assert {name: "nvidia-cdi-refresh.service" in words for name, words in order("podman-restart.service").items()} == {"After": True, "Wants": True}
    server.run("systemctl", "enable", "podman-restart.service")
    server.run(
        "podman",
        "run",
        "--detach",
        "--name",
        "always",
        "--restart=always",
        "--network=none",
        "--device=nvidia.com/gpu=all",
        "gpuops-probe:1",
        "sleep",
        "1000000",
    )
    server.reboot()
    found = checks(server, tmp_path, engine="podman")
    assert bad(found) == [] and {name for name, _id in found} == {"always"}
