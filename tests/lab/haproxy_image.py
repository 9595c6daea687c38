"""The container image `haproxy` of the lab: Debian's package on the libraries that it needs, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.lab import docker_archive
from tests.lab.cache import cached
from tests.lab.docker_archive import write_archive
from tests.lab.errors import LabError
from tests.lab.node import machine

RELEASE = "trixie"
REFERENCE = "haproxy:3.0"
CONFIG = {
    "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
    "Cmd": ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"],
    # The published image does the same: HAProxy takes this signal as a wish to end after the last request.
    "StopSignal": "SIGUSR1",
}


def build_haproxy_archive() -> Path:
    """Return a tar archive for `docker load` that holds the image `haproxy:3.0`."""
    found = machine.mirrors()
    source = f"deb {found.main} {RELEASE} main"
    command = [
        "mmdebstrap", "--quiet", "--mode=root", "--variant=extract", "--include=haproxy", *(f"--aptopt={option}" for option in machine.apt_options()),
        *(f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale", "info")), RELEASE,
    ]  # fmt: skip

    def build(out: Path) -> None:
        if not shutil.which("mmdebstrap"):
            raise LabError("mmdebstrap is missing: apt-get install mmdebstrap")
        root = out / "root"
        made = subprocess.run([*command, str(root), source], env={**os.environ, "LC_ALL": "C"}, check=False, capture_output=True, text=True)
        if made.returncode:
            raise LabError(f"the image haproxy could not be built: {made.stderr.strip()[-800:]}")
        # Links that the package base-files would bring, and everything else of it is not needed.
        for folder in ("bin", "sbin", "lib", "lib64"):
            if not (root / folder).exists():
                (root / folder).symlink_to(f"usr/{folder}")
        for folder in ("usr/share", "usr/lib/systemd", "var/lib/apt", "var/cache", "dev"):
            shutil.rmtree(root / folder, ignore_errors=True)
        (root / "dev").mkdir()
        write_archive(out / "image.tar", root, REFERENCE, CONFIG)
        shutil.rmtree(root)

    inputs = [Path(__file__), Path(docker_archive.__file__), *command, source]
    return cached("haproxy-image", inputs, build) / "image.tar"


if __name__ == "__main__":
    print(build_haproxy_archive())
