"""The node's image: a Debian userland with systemd, from the machine's own mirror, keyed by its recipe."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import docker
from docker.errors import APIError

from tests.lab.cache import digest, lock, progress
from tests.lab.errors import LabError
from tests.lab.node import machine

REPOSITORY = "gpuops-lab/node"
RELEASES = ("trixie", "bookworm")
_CUSTOMIZE = Path(__file__).with_name("customize.sh")

PACKAGES = (
    "systemd-sysv", "dbus", "udev", "kmod", "procps", "iproute2", "pciutils", "dmidecode", "initramfs-tools", "zstd",
    "python3", "python3-apt", "python3-requests", "ca-certificates", "gnupg", "curl", "less", "sudo",
)  # fmt: skip
# Downloaded into the node's package cache, not installed: installing Docker is the business of a role, but must not need a network.
DOCKER_PACKAGES = {"trixie": ("docker.io", "docker-cli", "iptables"), "bookworm": ("docker.io", "iptables")}


def _sources(release: str) -> str:
    found = machine.mirrors()
    lines = [f"deb {found.main} {release} main", f"deb {found.main} {release}-updates main"]
    if found.security:
        lines.append(f"deb {found.security} {release}-security main")
    return "\n".join(lines) + "\n"


def _key(release: str) -> str:
    recipe = [_CUSTOMIZE, Path(__file__), release, _sources(release), *PACKAGES, *DOCKER_PACKAGES[release], *machine.apt_options(), os.uname().release]
    return digest([*recipe, *machine.certificates()])


def _bootstrap(release: str) -> subprocess.Popen[bytes]:
    if not shutil.which("mmdebstrap"):
        raise LabError("mmdebstrap is missing: apt-get install mmdebstrap")
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--skip=cleanup/apt/lists,cleanup/apt/cache",
        f"--include={','.join(PACKAGES)}", *(f"--aptopt={option}" for option in machine.apt_options()),
        '--aptopt=Acquire::Languages "none";',
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")),
    ]  # fmt: skip
    for certificate in machine.certificates():
        command.append(f"--customize-hook=upload {certificate} /usr/local/share/ca-certificates/{certificate.name}")
    command += [f"--customize-hook={_CUSTOMIZE} \"$1\" {' '.join(DOCKER_PACKAGES[release])}", release, "-", "-"]
    bootstrap = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "LC_ALL": "C"})
    assert bootstrap.stdin
    bootstrap.stdin.write(_sources(release).encode())
    bootstrap.stdin.close()
    return bootstrap


def ensure_image(client: docker.DockerClient, release: str) -> str:
    """Return the tag of the node image of a Debian release; builds it unless one with this recipe exists."""
    tag = f"{release}-{_key(release)}"
    name = f"{REPOSITORY}:{tag}"
    if client.images.list(name):
        return name
    with lock(f"node-image-{release}"):
        if client.images.list(name):
            return name
        progress(f"node image {release}: building (a minute or two, once)")
        bootstrap = _bootstrap(release)
        # The client reads the stream itself: the SDK's import wants a file.
        changes = ["--change", 'CMD ["/usr/lib/lab/init"]', "--change", "ENV container=docker"]
        imported = subprocess.run(["docker", "import", *changes, "-", f"{name}-partial"], stdin=bootstrap.stdout, check=False, capture_output=True, text=True)
        if bootstrap.wait() or imported.returncode:
            client.images.list(f"{name}-partial") and client.images.remove(f"{name}-partial")
            raise LabError(f"the node image could not be built: {imported.stderr.strip() or 'see the messages of mmdebstrap above'}")
        client.images.get(f"{name}-partial").tag(REPOSITORY, tag)
        client.images.remove(f"{name}-partial")
        _remove_older(client, release, tag)
        progress(f"node image {release}: built")
    return name


def _remove_older(client: docker.DockerClient, release: str, tag: str) -> None:
    for older in client.images.list(REPOSITORY):
        for name in older.tags:
            if name.startswith(f"{REPOSITORY}:{release}-") and name != f"{REPOSITORY}:{tag}":
                try:
                    client.images.remove(name)
                except APIError:
                    progress(f"{name}: still in use, stays")
