"""Compiles the driver's user space: libnvidia-ml.so.VERSION, nvidia-smi and the libraries that only have to be there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY_DIRECTORY = Path("usr/lib/x86_64-linux-gnu")
FLAGS = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", f"-ffile-prefix-map={HERE}=nvml"]
EMPTY_LIBRARIES = {
    "libcudadebugger": "libcudadebugger.so.1",
    "libnvidia-cfg": "libnvidia-cfg.so.1",
    "libnvidia-nvvm": "libnvidia-nvvm.so.4",
    "libnvidia-opencl": "libnvidia-opencl.so.1",
    "libnvidia-ptxjitcompiler": "libnvidia-ptxjitcompiler.so.1",
}
# driver branch → newest CUDA version that it speaks, as cuDriverGetVersion gives it (NVIDIA's CUDA release notes)
CUDA_VERSIONS = {595: 13020, 590: 13010, 580: 13000, 575: 12090, 570: 12080, 565: 12070, 560: 12060, 555: 12050, 550: 12040, 545: 12030,
                 535: 12020, 530: 12010, 525: 12000, 520: 11080, 515: 11070, 510: 11060, 495: 11050, 470: 11040, 0: 11020}


def sources() -> list[Path]:
    """Every file that the result depends on; input of a build cache."""
    return sorted([*HERE.rglob("*.c"), *HERE.rglob("*.h"), HERE / "build.py"])


def cuda_version(version: str) -> int:
    """The CUDA version of a driver version, 1000 × major + 10 × minor."""
    branch = int(version.split(".", maxsplit=1)[0])
    return CUDA_VERSIONS[max(known for known in CUDA_VERSIONS if known <= branch)]


def build(version: str, out: Path) -> None:
    """Builds the user space of driver `version` as a root tree under `out`; needs a C compiler named cc. Raises RuntimeError with its messages."""
    libraries, programs = out / LIBRARY_DIRECTORY, out / "usr/bin"
    libraries.mkdir(parents=True, exist_ok=True)
    programs.mkdir(parents=True, exist_ok=True)
    defines = [f'-DLAB_VERSION="{version}"', f"-DLAB_CUDA_VERSION={cuda_version(version)}"]

    def library(stem: str, soname: str, files: list[Path], *more: str) -> None:
        target = libraries / f"{stem}.so.{version}"
        _compile(["-shared", "-fPIC", f"-Wl,-soname,{soname}", "-Wl,--build-id=none", *defines, *more], files, target)

    library("libnvidia-ml", "libnvidia-ml.so.1", [*sorted((HERE / "library").glob("*.c")), HERE / "pack.c"], "-pthread", "-ldl")
    library("libcuda", "libcuda.so.1", [HERE / "drivers/cuda.c"])
    for stem, soname in EMPTY_LIBRARIES.items():
        library(stem, soname, [HERE / "drivers/empty.c"])
    library("libnvidia-labstate", f"libnvidia-labstate.so.{version}", [HERE / "drivers/empty.c"], "-nostdlib")
    _compile([*defines, "-ldl"], sorted((HERE / "smi").glob("*.c")), programs / "nvidia-smi")


def build_tool(out: Path) -> None:
    """Builds pack-nvml-state, which belongs to the node and not to a driver version, as usr/lib/lab/pack-nvml-state under `out`."""
    target = out / "usr/lib/lab/pack-nvml-state"
    target.parent.mkdir(parents=True, exist_ok=True)
    _compile([], [HERE / "tools/pack_nvml_state.c", HERE / "pack.c"], target)


def link(out: Path) -> None:
    """Makes the soname links that ldconfig would make, for use in place by LD_LIBRARY_PATH."""
    for file in sorted((out / LIBRARY_DIRECTORY).glob("lib*.so.*")):
        stem, _, version = file.name.partition(".so.")
        name = {"libnvidia-nvvm": "libnvidia-nvvm.so.4"}.get(stem, f"{stem}.so.1")
        if version.count(".") and not file.is_symlink() and stem != "libnvidia-labstate":
            (file.parent / name).unlink(missing_ok=True)
            (file.parent / name).symlink_to(file.name)


def _compile(options: list[str], files: list[Path], target: Path) -> None:
    if shutil.which("cc") is None:
        raise RuntimeError("no C compiler: install gcc and libc6-dev")
    libraries = [option for option in options if option.startswith("-l")]
    flags = [option for option in options if not option.startswith("-l")]
    done = subprocess.run(["cc", *FLAGS, *flags, "-o", str(target), *map(str, files), *libraries], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"cc could not build {target.name}:\n{done.stderr}")


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]))
    build_tool(Path(sys.argv[2]))
    link(Path(sys.argv[2]))
