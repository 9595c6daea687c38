"""The packed state: what containers of the node see, and what a module load does to settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.nvml import build
from tests.unit.lab.nvml_double import VERSION, State, root


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "nvml", "p40", "t4")


@pytest.fixture
def container(tmp_path: Path) -> Path:
    """Library and packed state alone, as the toolkit mounts them into a container."""
    libraries = tmp_path / "container"
    libraries.mkdir()
    source = root() / build.LIBRARY_DIRECTORY
    shutil.copy(source / f"libnvidia-ml.so.{VERSION}", libraries)
    shutil.copy(source / f"libnvidia-labstate.so.{VERSION}", libraries)
    (libraries / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{VERSION}")
    return libraries


def pack(*arguments: object) -> subprocess.CompletedProcess[str]:
    tool = str(root() / "usr/lib/lab/pack-nvml-state")
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, check=False)


def names_in(container: Path, tmp_path: Path) -> list[str] | int:
    """The names of the GPUs that a program in the container sees, or the error of its initialisation."""
    nodes = tmp_path / "dev"
    nodes.mkdir(exist_ok=True)
    for name in ("nvidiactl", "nvidia0", "nvidia1"):
        (nodes / name).touch()
    program = (
        "import pynvml as n\n"
        "try: n.nvmlInit()\n"
        "except n.NVMLError as error: print(error.value)\n"
        "else: print(*[n.nvmlDeviceGetName(n.nvmlDeviceGetHandleByIndex(i)) for i in range(n.nvmlDeviceGetCount())], sep='|')"
    )
    environment = {**os.environ, "LD_LIBRARY_PATH": str(container), "LAB_NVML_DEV": str(nodes)}
    environment.pop("LAB_NVML_STATE", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout) if done.stdout.strip().isdigit() else done.stdout.strip().split("|")


@pytest.mark.skipif(Path("/var/lib/lab/nvml").exists(), reason="this host is itself a node of the lab")
def test_a_container_follows_the_packed_state(state: State, container: Path, tmp_path: Path) -> None:
    file = container / f"libnvidia-labstate.so.{VERSION}"
    inode, size = file.stat().st_ino, file.stat().st_size
    assert names_in(container, tmp_path) == 9  # nothing packed: no module is loaded
    assert pack("--state", state.directory, "--driver-version", VERSION, file).returncode == 0
    assert names_in(container, tmp_path) == ["Tesla P40", "Tesla T4"]
    state.set("gpu1/name", "Tesla T4 with a longer name " + "x" * 40)
    assert pack("--state", state.directory, "--driver-version", VERSION, file).returncode == 0
    assert names_in(container, tmp_path) == ["Tesla P40", "Tesla T4 with a longer name " + "x" * 40]
    shutil.rmtree(state.directory / "gpu1")
    assert pack("--state", state.directory, "--driver-version", VERSION, file).returncode == 0
    assert names_in(container, tmp_path) == ["Tesla P40"]
    assert pack("--state", state.directory, "--driver-version", "535.261.03", file).returncode == 0
    assert names_in(container, tmp_path) == 18  # the host's driver was upgraded under the container
    assert pack("--unload", file).returncode == 0
    assert names_in(container, tmp_path) == 9
    assert (file.stat().st_ino, file.stat().st_size) == (inode, size)


def test_a_setting_on_the_host_reaches_containers(state: State, container: Path) -> None:
    file = container / f"libnvidia-labstate.so.{VERSION}"
    assert pack("--state", state.directory, "--driver-version", VERSION, file).returncode == 0
    with state.client(LD_LIBRARY_PATH=str(container)) as client:
        client.value("nvmlDeviceSetPowerManagementLimit", "gpu:0", 160000)
    content = file.read_bytes()
    assert b"gpu0/power_limit_mw\x00160000\n\0" in content
    assert b"gpu0/power_limit_mw\x00250000" not in content


def test_the_packed_file_stays_a_shared_library(state: State, container: Path) -> None:
    file = container / f"libnvidia-labstate.so.{VERSION}"
    assert pack("--state", state.directory, "--driver-version", VERSION, file).returncode == 0
    done = subprocess.run(["/sbin/ldconfig", "-n", str(container)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_module_load_applies_pending_modes_and_forgets_settings(state: State) -> None:
    state.set("gpu0/ecc_volatile_uncorrected", 3)
    with state.client() as client:
        for name, value in (("SetPowerManagementLimit", 150000), ("SetPowerManagementLimit", 180000), ("SetPersistenceMode", 1), ("SetComputeMode", 2),
                            ("SetEccMode", 0)):
            client.value(f"nvmlDevice{name}", "gpu:0", value)
        assert client.value("nvmlDeviceGetMemoryInfo", "gpu:0")["total"] == 23040 << 20
        done = pack("--load", "--state", state.directory, "--driver-version", VERSION, str(state.directory / "no-driver*"))
        assert (done.returncode, done.stderr) == (0, "")
        assert client.value("nvmlDeviceGetEnforcedPowerLimit", "gpu:0") == 250000
        assert client.value("nvmlDeviceGetPersistenceMode", "gpu:0") == 0
        assert client.value("nvmlDeviceGetComputeMode", "gpu:0") == 0
        assert client.value("nvmlDeviceGetEccMode", "gpu:0") == [0, 0]
        assert client.value("nvmlDeviceGetMemoryInfo", "gpu:0")["total"] == 24576 << 20
    assert state.get("gpu0/ecc_volatile_uncorrected") == "3"
    assert state.get("gpu1/mig_mode") == "error 3"


@pytest.mark.parametrize(
    ("arguments", "code", "message"), [(["--bad"], 2, "bad argument --bad"), (["--unload", "/nowhere/file"], 1, "/nowhere/file: no such file")]
)
def test_bad_arguments(arguments: list[str], code: int, message: str) -> None:
    done = pack(*arguments)
    assert done.returncode == code
    assert message in done.stderr
