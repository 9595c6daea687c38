"""The built repositories: indices, signatures, and what real apt makes of them in the lab's node image."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from tests.lab.node.image import ensure_image
from tests.lab.packages import toolkit
from tests.lab.packages.build import build_repository, install_arguments
from tests.lab.packages.keys import fingerprint, gpg_home

pytestmark = pytest.mark.lab

TOOLKIT = "libnvidia-container/stable/deb/amd64"
SERVER = ["nvidia-headless-no-dkms-{0}", "nvidia-utils-{1}", "linux-modules-nvidia-{0}-generic"]
SOURCES = f"""\
deb [signed-by=/repository/keys/ubuntu.asc] file:/repository/ubuntu noble main restricted universe multiverse
deb [signed-by=/repository/keys/nvidia-container-toolkit.asc] file:/repository/{TOOLKIT} /
"""


@pytest.fixture(scope="module")
def repository() -> Path:
    return build_repository()


@pytest.mark.parametrize(("key", "folder"), [("ubuntu", "ubuntu/dists/noble"), ("nvidia-container-toolkit", TOOLKIT)])
def test_release_files_are_signed_by_the_published_key(repository: Path, tmp_path: Path, key: str, folder: str) -> None:
    release = repository / folder
    forged = tmp_path / "Release"
    forged.write_bytes((release / "Release").read_bytes() + b"\n")
    with gpg_home() as gpg:
        gpg.run("--import", str(repository / "keys" / f"{key}.asc"))
        assert json.loads((repository / "keys/fingerprints.json").read_text())[key] == fingerprint(gpg)
        gpg.run("--verify", str(release / "Release.gpg"), str(release / "Release"))
        assert gpg.run("--decrypt", str(release / "InRelease")).strip() == (release / "Release").read_text().strip()
        with pytest.raises(subprocess.CalledProcessError, match="verify"):
            gpg.run("--verify", str(release / "Release.gpg"), str(forged))


@pytest.mark.parametrize(
    ("root", "index"),
    [("ubuntu", "dists/noble/restricted/binary-amd64/Packages"), ("ubuntu", "dists/noble/main/binary-amd64/Packages"), (TOOLKIT, "Packages")],
)
def test_every_indexed_file_is_there(repository: Path, root: str, index: str) -> None:
    text = (repository / root / index).read_text()
    files, sums = (re.findall(rf"^{field}: (\S+)$", text, re.M) for field in ("Filename", "SHA256"))
    assert files
    assert [hashlib.sha256((repository / root / name).read_bytes()).hexdigest() for name in files] == sums


class Machine:
    """A throw-away container of the node image with both repositories in its apt sources; systemd does not run."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def attempt(self, command: str) -> tuple[int, str]:
        code, output = self.container.exec_run(["bash", "-c", command], environment={"DEBIAN_FRONTEND": "noninteractive"})
        return code, output.decode()

    def __call__(self, command: str) -> str:
        code, output = self.attempt(command)
        assert code == 0, f"{command}: {output[-3000:]}"
        return output.strip()

    def install(self, *packages: str) -> str:
        return self(f"apt-get install -y -q --no-install-recommends --allow-downgrades {' '.join(packages)}")


@pytest.fixture(scope="module")
def machine(repository: Path) -> Iterator[Machine]:
    client = docker.from_env()
    image = ensure_image(client, "trixie")
    mounts = {str(repository): {"bind": "/repository", "mode": "ro"}}
    container = client.containers.run(image, ["sleep", "infinity"], detach=True, init=True, auto_remove=True, volumes=mounts)
    try:
        found = Machine(container)
        found(f"echo '{SOURCES}' >/etc/apt/sources.list.d/lab.list && apt-get update")
        yield found
    finally:
        container.remove(force=True)


def test_driver_life(machine: Machine) -> None:
    """Install, change the branch in one transaction, go back to an exact version, purge."""
    release = os.uname().release
    machine.install(*(name.format("535-server", "535-server") for name in SERVER))
    assert machine("modinfo -F version nvidia").startswith("535.")
    assert machine("modinfo -F signer nvidia") == "Canonical Ltd. Kernel Module Signing"

    machine.install(*(name.format("580-server", "580-server") for name in SERVER))
    newest = machine("modinfo -F version nvidia")
    assert newest.startswith("580.") and newest != "580.95.05"
    assert machine("readlink -f /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").endswith(f".so.{newest}")
    assert machine("ldconfig -p | grep -c 'libnvidia-ml.so.1 '") == "1"
    assert "installed" not in machine("dpkg-query -W -f '${db:Status-Status}\\n' nvidia-kernel-common-535-server").split()
    needed = machine("modprobe --ignore-install --show-depends nvidia-uvm")
    assert "kernel/nvidia-580srv/nvidia.ko" in needed and "kernel/nvidia-580srv/nvidia-uvm.ko" in needed

    machine.install(*install_arguments("580-server", "580.95.05"))
    assert machine("modinfo -F version nvidia") == "580.95.05"
    assert machine(f"grep -c '^kernel/nvidia-580srv/nvidia.ko:' /lib/modules/{release}/modules.dep") == "1"

    machine("apt-get purge -y -q '^(lib)?nvidia-.*' '^linux-(modules|objects|signatures)-nvidia-.*'")
    machine("apt-get check && dpkg --audit")
    ignored = " ".join(f"-not -path '{path}/*'" for path in ("/repository", "/usr/lib/lab", "/var/lib/apt"))
    left = machine(f"find / -xdev -iname '*nvidia*' {ignored}")
    assert not left
    assert machine.attempt("modinfo nvidia")[0] != 0


def test_dkms_builds_against_the_running_kernel(machine: Machine) -> None:
    release = os.uname().release
    machine.install("nvidia-headless-580-server", "linux-headers-generic")
    assert machine("modinfo -F filename nvidia") == f"/lib/modules/{release}/updates/dkms/nvidia.ko"
    assert re.fullmatch(rf"nvidia-srv/580\S+, {re.escape(release)}, x86_64: installed", machine("dkms status"))
    assert machine("modinfo -F signer nvidia") == "DKMS module signing key"
    machine("apt-get purge -y -q '^(lib)?nvidia-.*'")
    assert not machine("dkms status")


def test_desktop_replaces_server(machine: Machine) -> None:
    machine.install("nvidia-headless-no-dkms-580-server")
    plan = machine("apt-get install -s nvidia-headless-no-dkms-580")
    assert "Remv nvidia-kernel-common-580-server" in plan and "Inst nvidia-kernel-common-580 " in plan


def test_closed_branch_brings_the_next(machine: Machine) -> None:
    assert "nvidia-headless-no-dkms-580-server" in machine("apt-cache depends nvidia-headless-no-dkms-570-server")


def test_toolkit_is_real_and_strictly_versioned(machine: Machine) -> None:
    machine.install("nvidia-container-toolkit")
    assert machine("nvidia-ctk --version").endswith(toolkit.VERSIONS[-1])
    assert "[nvidia-container-cli]" in machine("cat /etc/nvidia-container-runtime/config.toml")
    assert machine("systemctl is-enabled nvidia-cdi-refresh.path nvidia-cdi-refresh.service").split() == ["enabled", "enabled"]
    older = [f"{name}={toolkit.VERSIONS[0]}-1" for name in toolkit.NAMES]
    code, output = machine.attempt(f"apt-get install -s --allow-downgrades {older[0]}")
    assert code != 0 and "Depends" in output
    machine.install(*older)
    assert machine("nvidia-ctk --version").endswith(toolkit.VERSIONS[0])
