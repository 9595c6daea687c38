"""The nodes' images: Debian userlands with systemd, from the machine's own mirror, keyed by their recipes."""
from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import APIError

from tests.lab.cache import Input, digest, lock, progress
from tests.lab.errors import LabError
from tests.lab.node import machine

REPOSITORY = "gpuops-lab/node"
_CUSTOMIZE = Path(__file__).with_name("customize.sh")
_EL = Path(__file__).with_name("el")
# The release of the kernel that a node of Enterprise Linux seems to run.
EL_KERNEL = "5.14.0-611.5.1.el9_7.x86_64"

_PACKAGES = (
    "systemd-sysv", "dbus", "udev", "kmod", "procps", "iproute2", "pciutils", "dmidecode", "zstd",
    "python3", "python3-requests", "ca-certificates", "gnupg", "curl", "less", "sudo",
)  # fmt: skip
_DEBIAN = ("initramfs-tools", "python3-apt")
_RPM = ("dnf", "python3-dnf", "dnf-plugins-core", "python3-systemd", "rpm", "createrepo-c", "dkms", "gcc", "libc6-dev", "make")


@dataclass(frozen=True)
class Recipe:
    """How a userland is made. `docker` is downloaded into the node's package cache, not installed: installing Docker is the business of a role."""

    release: str
    packages: tuple[str, ...]
    docker: tuple[str, ...]
    kernel: str = field(default_factory=lambda: os.uname().release)
    more: Path | None = None


RECIPES = {
    "trixie": Recipe("trixie", _PACKAGES + _DEBIAN, ("docker.io", "docker-cli", "iptables")),
    "bookworm": Recipe("bookworm", _PACKAGES + _DEBIAN, ("docker.io", "iptables")),
    "el9": Recipe("bookworm", _PACKAGES + _RPM, ("docker.io", "iptables"), EL_KERNEL, _EL),
}


def _sources(release: str) -> str:
    found = machine.mirrors()
    lines = [f"deb {found.main} {release} main", f"deb {found.main} {release}-updates main"]
    if found.security:
        lines.append(f"deb {found.security} {release}-security main")
    return "\n".join(lines) + "\n"


def _key(recipe: Recipe) -> str:
    inputs: list[Input] = [_CUSTOMIZE, Path(__file__), recipe.release, _sources(recipe.release), *recipe.packages, *recipe.docker, recipe.kernel]
    inputs += [recipe.more] if recipe.more else []
    return digest([*inputs, *machine.apt_options(), *machine.certificates()])


def _bootstrap(recipe: Recipe) -> subprocess.Popen[bytes]:
    if not shutil.which("mmdebstrap"):
        raise LabError("mmdebstrap is missing: apt-get install mmdebstrap")
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists,cleanup/apt/cache",
        f"--include={','.join(recipe.packages)}", *(f"--aptopt={option}" for option in machine.apt_options()),
        '--aptopt=Acquire::Languages "none";',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")),
    ]  # fmt: skip
    for certificate in machine.certificates():
        command.append(f"--customize-hook=upload {certificate} /usr/local/share/ca-certificates/{certificate.name}")
    command.append(f"--customize-hook={_CUSTOMIZE} \"$1\" {recipe.kernel} {' '.join(recipe.docker)}")
    if recipe.more:
        command.append(f'--customize-hook={recipe.more}/customize.sh "$1" {recipe.kernel}')
    command += [recipe.release, "-", "-"]
    bootstrap = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"})
    assert bootstrap.stdin
    bootstrap.stdin.write(_sources(recipe.release).encode())
    bootstrap.stdin.close()
    return bootstrap


def ensure_image(client: docker.DockerClient, userland: str) -> str:
    """Return the tag of the node image of a userland, a name of RECIPES; builds it unless one with this recipe exists."""
    tag = f"{userland}-{_key(RECIPES[userland])}"
    name = f"{REPOSITORY}:{tag}"
    if client.images.list(name):
        return name
    with lock(f"node-image-{userland}"):
        if client.images.list(name):
            return name
        progress(f"node image {userland}: building (a minute or two, once)")
        bootstrap = _bootstrap(RECIPES[userland])
        # The client reads the stream itself: the SDK's import wants a file.
        changes = ["--change", 'CMD ["/usr/lib/lab/init"]', "--change", "ENV container=docker"]
        imported = subprocess.run(["docker", "import", *changes, "-", f"{name}-partial"], stdin=bootstrap.stdout, check=False, capture_output=True, text=True)
        if bootstrap.wait() or imported.returncode:
            client.images.list(f"{name}-partial") and client.images.remove(f"{name}-partial")
            raise LabError(f"the node image could not be built: {imported.stderr.strip() or 'see the messages of mmdebstrap above'}")
        client.images.get(f"{name}-partial").tag(REPOSITORY, tag)
        client.images.remove(f"{name}-partial")
        _remove_older(client, userland, tag)
        progress(f"node image {userland}: built")
    return name


def _remove_older(client: docker.DockerClient, userland: str, tag: str) -> None:
    for older in client.images.list(REPOSITORY):
        for name in older.tags:
            if name.startswith(f"{REPOSITORY}:{userland}-") and name != f"{REPOSITORY}:{tag}":
                try:
                    client.images.remove(name)
                except APIError:
                    progress(f"{name}: still in use, stays")
