"""The signed apt repositories that the lab's mirror serves as `http://mirror.lab/`.

ubuntu/                                   suite noble; simulated driver and kernel packages
libnvidia-container/stable/deb/amd64/     flat; NVIDIA's container toolkit
keys/ubuntu.asc, keys/nvidia-container-toolkit.asc, keys/fingerprints.json
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from tests.lab.cache import Input, cached, progress
from tests.lab.packages import toolkit
from tests.lab.packages.deb import write
from tests.lab.packages.driver import Builder, install_arguments
from tests.lab.packages.index import write_flat, write_suite
from tests.lab.packages.keys import module_key, signing_key

__all__ = ["build_repository", "install_arguments"]

HERE = Path(__file__).parent
SUITE = "noble"
COMPONENTS = ["main", "restricted", "universe", "multiverse"]
TOOLKIT_FOLDER = "libnvidia-container/stable/deb/amd64"


def build_userland(version: str, out: Path) -> None:
    """The simulated libraries and nvidia-smi of one driver version."""
    from tests.lab.nvml.build import build

    build(version, out)


def build_repository() -> Path:
    """Build whatever is missing and return the folder to be served."""
    keys = {
        "ubuntu": signing_key("ubuntu", "Lab archive (Ubuntu packages) <ubuntu@mirror.lab>"),
        "nvidia-container-toolkit": signing_key("nvidia-container-toolkit", "Lab archive (container toolkit) <toolkit@mirror.lab>"),
    }
    signer = module_key("Canonical Ltd. Kernel Module Signing")
    toolkit_debs = [toolkit.debs(version) for version in toolkit.VERSIONS]

    def build(out: Path) -> None:
        progress("packages: compiling driver doubles")
        with tempfile.TemporaryDirectory(prefix="gpuops-packages-") as work:
            packages = Builder(Path(work), signer, build_userland).packages()
            progress(f"packages: writing {len(packages)} driver packages")
            for package in packages:
                write(package, out / "ubuntu" / "pool" / package.component)
        write_suite(out / "ubuntu", SUITE, COMPONENTS, keys["ubuntu"], "Ubuntu")
        flat = out / TOOLKIT_FOLDER
        for folder in toolkit_debs:
            shutil.copytree(folder, flat, dirs_exist_ok=True)
        write_flat(flat, keys["nvidia-container-toolkit"], "https://nvidia.github.io/libnvidia-container/stable")
        (out / "keys").mkdir()
        for name, key in keys.items():
            shutil.copyfile(key.public, out / "keys" / f"{name}.asc")
        shutil.copyfile(keys["nvidia-container-toolkit"].public, out / "libnvidia-container" / "gpgkey")
        fingerprints = {name: key.fingerprint for name, key in keys.items()}
        (out / "keys" / "fingerprints.json").write_text(json.dumps(fingerprints, indent=2) + "\n")

    inputs: list[Input] = [HERE, HERE.parent / "nvml", os.uname().release, signer.certificate]
    inputs += [*(key.public for key in keys.values()), *(folder.name for folder in toolkit_debs)]
    return cached("packages/repository", inputs, build)
