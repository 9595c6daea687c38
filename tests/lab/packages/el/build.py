"""The signed rpm repositories that the lab's mirror serves as `http://mirror.lab/el9/`.

baseos/, epel/                  kernels with their development files; DKMS
cuda/                           NVIDIA's driver, with the module nvidia-driver and its streams
cuda-el10/                      the same without a module, as NVIDIA's repository for Enterprise Linux 10 is
cuda-broken-build/              the same, and a newer 580 whose kernel module does not build
cuda-bad-proof/                 the same, and a newer 580 that brings up one GPU less
cuda-unsigned/, cuda-wrong-key/, cuda-bad-index/     packages without a signature, or a stranger's; an index that a stranger signed
keys/{rocky,epel,nvidia,stranger}.asc, keys/fingerprints.json
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from docker.errors import ContainerError

from tests.lab.cache import Input, cached, progress
from tests.lab.errors import LabError
from tests.lab.node.engine import client
from tests.lab.node.image import EL_KERNEL
from tests.lab.packages.build import build_userland
from tests.lab.packages.el import base
from tests.lab.packages.el.driver import COMMON, RECIPES, Builder, Driver, drivers, module_metadata
from tests.lab.packages.el.rpm import Rpm, spec, stage
from tests.lab.packages.keys import SigningKey, module_key, signing_key
from tests.lab.packages.modules import PROPRIETARY

HERE = Path(__file__).parent
KEYS = ("rocky", "epel", "nvidia", "stranger")
# A version of which a repository with a fault has a bad build.
NEWER = "580.126.09"
_REPOSITORIES = {"cuda": "", "cuda-el10": "", "cuda-broken-build": "build", "cuda-bad-proof": "gpu"}


def build_el_repository(image: str) -> Path:
    """Build whatever is missing and return the folder to be served; `image` is a node's image that has rpm's tools."""
    keys = {name: signing_key(f"el9-{name}", f"Lab archive (Enterprise Linux, {name}) <{name}@mirror.lab>") for name in KEYS}
    signer = module_key("NVIDIA Linux driver signing")

    def build(out: Path) -> None:
        served = out / "el9"
        (served / "keys").mkdir(parents=True)
        for name, key in keys.items():
            shutil.copyfile(key.public, served / "keys" / f"{name}.asc")
        fingerprints = {name: key.fingerprint for name, key in keys.items()}
        (served / "keys/fingerprints.json").write_text(json.dumps(fingerprints, indent=2) + "\n")
        # Below the cache: the folder is seen by the Docker daemon under the same name.
        with tempfile.TemporaryDirectory(prefix=".work-", dir=out) as work:
            progress("rpm packages: compiling driver doubles")
            _prepare(Path(work), Builder(Path(work) / "compiled", signer, build_userland), keys)
            progress("rpm packages: building, signing and indexing")
            _run(image, Path(work), served)

    inputs: list[Input] = [HERE, *(HERE.parent / f"{name}.py" for name in ("modules", "recipes", "contents")), COMMON / "Makefile", COMMON / "persistenced.c"]
    inputs += [HERE.parents[1] / "nvml", EL_KERNEL, signer.certificate, *(key.public for key in keys.values())]
    return cached("packages/repository-el9", inputs, build)


def _prepare(work: Path, builder: Builder, keys: dict[str, SigningKey]) -> None:
    """Write all that build.sh reads."""
    for folder in ("specs", "staged", "groups", "modules", "keys", "compiled"):
        (work / folder).mkdir()
    for name, key in keys.items():
        shutil.copyfile(key.secret, work / "keys" / f"{name}.asc")

    def add(group: str, packages: list[Rpm]) -> str:
        stage(packages, work / "staged" / group)
        (work / "staged" / group).mkdir(exist_ok=True)
        (work / "specs" / f"{group}.spec").write_text(spec(packages, f"{work}/staged/{group}"))
        return group

    good = {driver: builder.groups(driver) for driver in drivers()}
    groups = [add(f"{driver.version}-{name}", packages) for driver, found in good.items() for name, packages in found.items()]
    for repository, defect in _REPOSITORIES.items():
        metadata, names = dict(good), list(groups)
        if defect:
            driver = Driver(NEWER, (PROPRIETARY,), defect)
            metadata[driver] = builder.groups(driver)
            names += [add(f"{repository}-{name}", packages) for name, packages in metadata[driver].items()]
        (work / "groups" / repository).write_text("".join(f"{name}\n" for name in names))
        if repository != "cuda-el10":
            (work / "modules" / f"{repository}.yaml").write_text(module_metadata(metadata))
    kernels = [add(f"kernel-{release}", base.kernel(release)) for release in RECIPES["kernels"]]
    (work / "groups/baseos").write_text("".join(f"{name}\n" for name in kernels))
    (work / "groups/epel").write_text(add("dkms", [base.dkms()]) + "\n")


def _run(image: str, work: Path, out: Path) -> None:
    volumes = {str(folder): {"bind": str(folder), "mode": "rw"} for folder in (work, out)} | {str(HERE / "build.sh"): {"bind": "/build.sh", "mode": "ro"}}
    try:
        client().containers.run(image, ["sh", "/build.sh", str(work), str(out)], volumes=volumes, remove=True, network_mode="none", stderr=True)
    except ContainerError as error:
        raise LabError(f"the rpm packages could not be built: {error.stderr.decode(errors='replace').strip()[-2000:]}") from error
