"""What the builder machine's own package configuration says: mirrors, proxies, extra certificates."""
from __future__ import annotations

import functools
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.errors import LabError


@dataclass(frozen=True)
class Mirrors:
    """Addresses of the Debian archive and of its security archive (empty when the machine has none)."""

    main: str
    security: str


def _output(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


@functools.cache
def mirrors() -> Mirrors:
    """Return the mirrors that this machine's apt uses for its own release."""
    codename = re.search(r"^VERSION_CODENAME=(\S+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    if not codename:
        raise LabError("/etc/os-release names no release: the lab builds its nodes on Debian")
    targets = dict(line.split()[::-1] for line in _output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages").splitlines())
    main = targets.get(codename[1])
    if not main:
        raise LabError(f"apt has no source for {codename[1]}: add one to /etc/apt/sources.list.d")
    return Mirrors(main.rstrip("/"), targets.get(f"{codename[1]}-security", "").rstrip("/"))


@functools.cache
def apt_options() -> tuple[str, ...]:
    """Return apt.conf lines for the node: this machine's proxies, and no dates, for mirrors may be snapshots."""
    proxies = [line for line in _output("apt-config", "dump").splitlines() if re.match(r'Acquire::(http|https|ftp)::(Proxy[^ ]*|No-Proxy|CaInfo) "[^"]', line)]
    return (*proxies, 'Acquire::Check-Valid-Until "false";', 'Acquire::Check-Date "false";')


def certificates() -> list[Path]:
    """Return the certificate authorities that somebody added to this machine."""
    return sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt"))
