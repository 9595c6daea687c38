"""The signed apt repositories that the lab's mirror serves below `http://mirror.lab/`.

Always there:

ubuntu/                                   suite noble; simulated driver and kernel packages
libnvidia-container/stable/deb/amd64/     flat; NVIDIA's container toolkit
keys/NAME.asc, keys/fingerprints.json     of all repositories

Built when a profile names them, or by hand (see EXTRAS): variants of the Ubuntu archive, Debian's archive, and NVIDIA's CUDA repositories below
compute/cuda/repos/DISTRIBUTION/x86_64/, flat, with cuda-keyring_1.1-1_all.deb.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import Input, cached, progress
from tests.lab.errors import LabError
from tests.lab.packages import toolkit
from tests.lab.packages.deb import Package, write
from tests.lab.packages.driver import Builder, install_arguments
from tests.lab.packages.index import write_flat, write_suite
from tests.lab.packages.keys import SigningKey, gpg_home, module_key, signing_key
from tests.lab.packages.recipes import Archive, running_release

__all__ = ["EXTRAS", "build_extra", "build_repository", "install_arguments", "source_of"]

HERE = Path(__file__).parent
SUITE = "noble"
COMPONENTS = ("main", "restricted", "universe", "multiverse")
# As on developer.download.nvidia.com.
CUDA_FOLDER = "compute/cuda/repos"
TOOLKIT_FOLDER = "libnvidia-container/stable/deb/amd64"
OWNERS = {
    "ubuntu": "Lab archive (Ubuntu packages) <ubuntu@mirror.lab>",
    "nvidia-container-toolkit": "Lab archive (container toolkit) <toolkit@mirror.lab>",
    "cuda": "Lab archive (CUDA) <cuda@mirror.lab>",
    "cuda-debian13": "Lab archive (CUDA for Debian 13) <cuda-debian13@mirror.lab>",
    "debian": "Lab archive (Debian packages) <debian@mirror.lab>",
}
DEBIAN_COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
KERNEL_SIGNER = "Canonical Ltd. Kernel Module Signing"


@dataclass(frozen=True)
class Repository:
    """One apt repository: where it lies on the mirror, the archive of recipes that fills it, who signs it. Without a suite it is flat."""

    folder: str
    archive: str
    key: str
    origin: str
    suite: str = ""
    components: tuple[str, ...] = COMPONENTS
    label: str = ""


def _cuda(distribution: str, archive: str, key: str) -> Repository:
    return Repository(f"{CUDA_FOLDER}/{distribution}/x86_64", archive, key, "NVIDIA", label="NVIDIA CUDA")


# Name of an extra product → its repositories; all lie in one folder of that product's own.
EXTRAS: dict[str, tuple[Repository, ...]] = {
    "broken": (Repository("broken", "ubuntu/broken", "ubuntu", "Ubuntu", SUITE),),
    "bad-proof": (Repository("bad-proof", "ubuntu/bad-proof", "ubuntu", "Ubuntu", SUITE),),
    "bad-gpu": (Repository("bad-gpu", "ubuntu/bad-gpu", "ubuntu", "Ubuntu", SUITE),),
    "ubuntu-updates": (Repository("ubuntu-updates", "ubuntu/updates", "ubuntu", "Ubuntu", f"{SUITE}-updates"),),
    "debian12": (Repository("debian12", "debian/bookworm", "debian", "Debian", "bookworm", DEBIAN_COMPONENTS),),
    "debian13": (Repository("debian13", "debian/trixie", "debian", "Debian", "trixie", DEBIAN_COMPONENTS),),
    "cuda-ubuntu2404": (_cuda("ubuntu2404", "cuda-ubuntu", "cuda"),),
    "cuda-debian12": (_cuda("debian12", "cuda-debian/debian12", "cuda"),),
    "cuda-debian13": (_cuda("debian13", "cuda-debian/debian13", "cuda-debian13"),),
}


def userland(version: str) -> Path:
    """Folder of the simulated libraries and nvidia-smi of one driver version."""
    from tests.lab.nvml import build

    return cached("nvml-driver", [version, *build.sources()], lambda folder: build.build(version, folder))


def build_userland(version: str, out: Path) -> None:
    """A copy of the simulated libraries and nvidia-smi of one driver version."""
    shutil.copytree(userland(version), out, symlinks=True)


def _write(repository: Repository, out: Path, key: SigningKey) -> None:
    """Build the packages of one repository and index them below `out`."""
    root = out / repository.folder
    archive = Archive.load(repository.archive)
    with tempfile.TemporaryDirectory(prefix="gpuops-packages-") as work, ThreadPoolExecutor(os.cpu_count()) as pool:
        if "userland" in archive.groups:
            list(pool.map(userland, sorted({driver.version for driver in archive.drivers()})))
        packages = Builder(archive, Path(work), module_key(KERNEL_SIGNER), build_userland).packages()
        progress(f"packages: writing {len(packages)} packages of {repository.folder}")
        packages += [cuda_keyring(repository, key)] if repository.folder.startswith(CUDA_FOLDER) else []
        list(pool.map(lambda package: write(package, root / "pool" / package.component if repository.suite else root), packages))
    if repository.suite:
        write_suite(root, repository.suite, list(repository.components), key, repository.origin)
    else:
        write_flat(root, key, repository.origin, repository.label)


def cuda_keyring(repository: Repository, key: SigningKey) -> Package:
    """NVIDIA's package that makes its repository a source: key, list and a pin that prefers it to the distribution."""
    distribution = repository.folder.split("/")[-2]
    ring = "/usr/share/keyrings/cuda-archive-keyring.gpg"
    with gpg_home() as gpg:
        gpg.run("--import", str(key.public))
        gpg.run("--output", f"{gpg.home}/ring.gpg", "--export")
        content = Path(gpg.home, "ring.gpg").read_bytes()
    package = Package("cuda-keyring", "1.1-1", "GPG keyring for the CUDA repository", section="utils", architecture="all")
    package.files = {
        ring: content,
        f"/etc/apt/sources.list.d/cuda-{distribution}-x86_64.list": f"deb [signed-by={ring}] http://mirror.lab/{repository.folder}/ /\n",
        "/etc/apt/preferences.d/cuda-repository-pin-600": f"Package: *\nPin: release l={repository.label}\nPin-Priority: 600\n",
    }
    return package


def source_of(name: str, signed_by: str) -> str:
    """The deb822 source of an extra product for /etc/apt/sources.list.d; `signed_by` is the path of its key on the node."""
    paragraphs = []
    for repository in EXTRAS[name]:
        where = f"Suites: {repository.suite}\nComponents: {' '.join(repository.components)}\n" if repository.suite else "Suites: /\n"
        paragraphs.append(f"Types: deb\nURIs: http://mirror.lab/{repository.folder}\n{where}Signed-By: {signed_by}\n")
    return "\n".join(paragraphs)


def _inputs(keys: dict[str, SigningKey]) -> list[Input]:
    sources = [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("*.yml")), HERE / "files", HERE.parent / "nvml"]
    return [*sources, running_release(), module_key(KERNEL_SIGNER).certificate, *(key.public for key in keys.values())]


def _keys() -> dict[str, SigningKey]:
    return {name: signing_key(name, owner) for name, owner in OWNERS.items()}


def build_repository() -> Path:
    """Build what every node needs, as far as it is missing, and return the folder to be served."""
    keys = _keys()
    toolkit_debs = [toolkit.debs(version) for version in toolkit.VERSIONS]

    def build(out: Path) -> None:
        _write(Repository("ubuntu", "ubuntu", "ubuntu", "Ubuntu", SUITE), out, keys["ubuntu"])
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

    return cached("packages/repository", [*_inputs(keys), *(folder.name for folder in toolkit_debs)], build)


def build_extra(name: str) -> Path:
    """Build the extra repositories called `name`, a key of EXTRAS, as far as they are missing, and return the folder to be served."""
    if name not in EXTRAS:
        raise LabError(f"no repository {name}: there are {', '.join(sorted(EXTRAS))}")
    keys = _keys()

    def build(out: Path) -> None:
        for repository in EXTRAS[name]:
            _write(repository, out, keys[repository.key])

    return cached(f"packages/{name}", [name, *_inputs(keys)], build)
