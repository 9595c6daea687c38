"""The nvidia-smi double against recordings of the real one."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.unit.lab.nvml_double import State, root

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures/nvidia-smi"
MADE_UP_BY_THE_MOCK = {"timestamp", "driver_version", "cuda_version", "gpu_temp_tlimit", "graphics_volt"}
# what the recordings' mock answered for its P40, as far as it differs from the board
RECORDED = {
    "memory_total_mib": 24576, "memory_reserved_mib": 125, "bar1_used_mib": 0, "power_usage_mw": 9800, "temperature_gpu_c": 30, "temperature_memory_c": 28,
    "temperature_target_c": 89, "temperature_target_min_c": 89, "temperature_target_max_c": 89, "clock_video_mhz": 540, "max_clock_video_mhz": 1470,
    "pcie_generation": 3, "persistence_mode": 1, "operation_mode": 0, "utilization_jpeg": 0, "utilization_ofa": 0,
}
REMAPPED = {"remapped_rows_correctable": 0, "remapped_rows_uncorrectable": 0, "remapped_rows_pending": 0, "remapped_rows_failure": 0}
MIG = {"mig_mode": 0, "mig_mode_pending": 0}


def recorded_state(directory: Path, version: str, **more: object) -> State:
    state = State(directory, "p40", "p40", version=version, **{**RECORDED, **more})
    state.set("gpu1/bus_address", "0000:84:00.0")
    return state


def real_tag(element: ET.Element) -> str:
    # The mock behind the recordings has thresholds as distances to the limit (T.Limit) on every board; before Ada they are temperatures.
    return element.tag.replace("_tlimit_threshold", "_threshold")


def tree(element: ET.Element) -> list[tuple[str, object]]:
    """Tags in their order and nesting."""
    return [(real_tag(child), tree(child)) for child in element]


def texts(element: ET.Element) -> list[tuple[str, str]]:
    return [(node.tag, (node.text or "").strip()) for node in element.iter() if node.tag not in MADE_UP_BY_THE_MOCK and "threshold" not in node.tag]


@pytest.mark.parametrize(
    ("version", "recording", "more"),
    [("535.261.03", "p40nomig-535.xml", {}), ("550.163.01", "p40x2-550.xml", {**REMAPPED, **MIG}), ("580.95.05", "p40x2-550.xml", {**REMAPPED, **MIG})],
)
def test_the_xml_is_the_recorded_one(tmp_path: Path, version: str, recording: str, more: dict[str, object]) -> None:
    done = recorded_state(tmp_path / "nvml", version, **more).smi("-q", "-x")
    ours, real = ET.fromstring(done.stdout), ET.parse(FIXTURES / recording).getroot()
    assert done.returncode == 0
    assert tree(ours) == tree(real)
    assert texts(ours) == texts(real)
    assert [gpu.get("id") for gpu in ours.iter("gpu")] == [gpu.get("id") for gpu in real.iter("gpu")]
    assert ours.findtext("driver_version") == version
    assert done.stdout.splitlines()[:3] == (FIXTURES / recording).read_text().splitlines()[:3]


@pytest.mark.parametrize(
    ("board", "expected"),
    [
        ("p40", {"max_threshold": "95 C", "slow_threshold": "92 C", "max_gpu_threshold": "N/A", "max_mem_threshold": "N/A"}),
        ("a100", {"max_threshold": "92 C", "slow_threshold": "89 C", "max_gpu_threshold": "85 C", "max_mem_threshold": "95 C"}),
        ("h100", dict.fromkeys(f"{name}_tlimit_threshold" for name in ("max", "slow", "max_gpu", "max_mem"))),
    ],
)  # fmt: skip
def test_thresholds_are_temperatures_before_ada_and_distances_since(tmp_path: Path, board: str, expected: dict[str, str | None]) -> None:
    temperature = ET.fromstring(State(tmp_path / "nvml", board, version="580.95.05").smi("-q", "-x").stdout).find("gpu/temperature")
    assert temperature is not None
    found = {node.tag.replace("gpu_temp_", ""): node.text if board != "h100" else None for node in temperature if "threshold" in node.tag}
    assert found == expected


def test_a_corrupted_inforom_is_told_by_the_table_alone(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "p40", "p40", version="580.95.05", inforom_valid=1)
    state.set("gpu1/inforom_valid", "error 14")
    table, xml = state.smi(), state.smi("-q", "-x")
    assert (table.returncode, xml.returncode) == (14, 0)
    assert [line for line in table.stdout.splitlines() if "infoROM" in line] == ["WARNING: infoROM is corrupted at gpu 0000:84:00.0"]
    assert "infoROM" not in xml.stdout


@pytest.mark.parametrize(("version", "board", "recording"), [("535.261.03", "a100", "a100x8-535.xml"), ("550.163.01", "h100", "h100x8-550.xml")])
def test_boards_that_remap_rows_have_the_recorded_structure(tmp_path: Path, version: str, board: str, recording: str) -> None:
    state = State(tmp_path / "nvml", board, version=version, retired_pages_single_bit=0, retired_pages_double_bit=0, retired_pages_pending=0)
    ours, real = ET.fromstring(state.smi("-q", "-x").stdout), ET.parse(FIXTURES / recording).getroot()
    assert tree(ours.find("gpu")) == tree(real.find("gpu"))  # type: ignore[arg-type]


def test_the_xml_of_a_lost_gpu_is_the_recorded_one(tmp_path: Path) -> None:
    state = recorded_state(tmp_path / "nvml", "535.261.03", **REMAPPED, **MIG)
    state.set("gpu1/lost", 1)
    done = state.smi("-q", "-x")
    ours, real = ET.fromstring(done.stdout), ET.parse(FIXTURES / "p40x2-lost1-535.xml").getroot()
    assert done.returncode == 0
    assert ours.findtext("attached_gpus") == "2"
    assert tree(ours) == tree(real)
    # The mock behind the recording still had a memory temperature and no processes, and sums of counters that it could not read.
    kept_by_the_mock = {"total", "memory_temp", "processes"}
    different = {a[0]: a[1] for a, b in zip(texts(ours), texts(real), strict=True) if a != b}
    assert different == dict.fromkeys(kept_by_the_mock, "GPU is lost")


def test_the_text_report_has_the_recorded_lines(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "h100", version="550.163.01", retired_pages_single_bit=0, retired_pages_double_bit=0, retired_pages_pending=0)
    ours = state.smi("-q").stdout.splitlines()
    real = (FIXTURES / "h100x8-550.q.txt").read_text().splitlines()
    end = [number for number, line in enumerate(real) if line.startswith("GPU 0000")][1]
    assert [line[:43] for line in ours if not line.startswith("GPU 0000")] == [line[:43] for line in real[:end] if not line.startswith("GPU 0000")]


def without_header(text: str) -> list[str]:
    """The table without its clock and its line of versions."""
    return [line for number, line in enumerate(text.splitlines()) if number not in {0, 2}]


def test_the_table_is_the_recorded_one(tmp_path: Path) -> None:
    done = recorded_state(tmp_path / "nvml", "535.261.03").smi()
    real = (FIXTURES / "p40nomig-535.table.txt").read_text()
    assert done.returncode == 0
    assert without_header(done.stdout) == without_header(real)
    assert [len(line) for line in done.stdout.splitlines()] == [len(line) for line in real.splitlines()]


def test_the_wide_table_is_the_recorded_one(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "h100", version="550.163.01", memory_total_mib=81920, power_usage_mw=95000, temperature_gpu_c=34, persistence_mode=1)
    state.set("gpu0/bus_address", "0000:1a:00.0")
    ours, real = without_header(state.smi().stdout), without_header((FIXTURES / "h100x8-550.table.txt").read_text())
    assert ours[:10] == real[:10]
    assert ours[10:] == real[10 + 7 * 4 :]


def test_the_table_of_a_lost_gpu(tmp_path: Path) -> None:
    state = recorded_state(tmp_path / "nvml", "535.261.03", **MIG)
    state.set("gpu1/lost", 1)
    done = state.smi()
    assert done.returncode == 15
    assert without_header(done.stdout) == without_header((FIXTURES / "p40x2-lost1-535.table.txt").read_text())


FIELDS = (
    "index,name,uuid,serial,pci.bus_id,driver_version,pstate,temperature.gpu,power.draw,power.limit,memory.total,memory.used,utilization.gpu,ecc.mode.current,"
    "ecc.errors.uncorrected.aggregate.total,pcie.link.gen.current,pcie.link.gen.max,pcie.link.width.current,pcie.link.width.max,"
    "clocks_throttle_reasons.active,compute_cap,vbios_version,persistence_mode,mig.mode.current"
)


@pytest.mark.parametrize(
    ("recording", "form", "lost"),
    [("p40nomig-535.csv", "csv", False), ("p40nomig-535.nounits.csv", "csv,noheader,nounits", False), ("p40x2-lost1-535.csv", "csv", True)],
)
def test_the_csv_is_the_recorded_one(tmp_path: Path, recording: str, form: str, lost: bool) -> None:
    state = recorded_state(tmp_path / "nvml", "535.261.03", **(MIG if lost else {}))
    state.set("gpu1/lost", int(lost))
    done = state.smi(f"--query-gpu={FIELDS}", f"--format={form}")
    assert done.returncode == 0
    assert done.stdout == (FIXTURES / recording).read_text().replace("550.163.01", "535.261.03")


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "nvml", "p40", "t4")


def test_the_list(state: State) -> None:
    state.set("gpu1/lost", 1)
    done = state.smi("-L")
    assert done.returncode == 0
    assert done.stdout == ("GPU 0: Tesla P40 (UUID: GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801)\n"
                           "GPU 1: Tesla T4 (UUID: GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d802)\n")


@pytest.mark.parametrize("identifier", ["1", "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d802", "0324818070002", "00000000:84:00.0"])
def test_one_gpu_is_chosen(state: State, identifier: str) -> None:
    assert state.smi("-i", identifier, "--query-gpu=name", "--format=csv,noheader").stdout == "Tesla T4\n"


@pytest.mark.parametrize(
    ("code", "status", "text"),
    [
        (9, 9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
               "Make sure that the latest NVIDIA driver is installed and running."),
        (18, 18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95"),
        (999, 255, "Failed to initialize NVML: Unknown Error"),
        (4, 4, "Failed to initialize NVML: Insufficient Permissions"),
    ],
)
def test_a_failed_initialisation(state: State, code: int, status: int, text: str) -> None:
    state.set("calls/nvmlInit", f"error {code}")
    for arguments in ((), ("-L",), ("-q", "-x"), ("--query-gpu=name", "--format=csv")):
        done = state.smi(*arguments)
        assert (done.returncode, done.stdout.strip()) == (status, text)


@pytest.mark.parametrize(("code", "status", "text"), [(15, 15, "GPU is lost.  Reboot the system to recover this GPU"), (999, 255, "Unknown Error")])
def test_a_gpu_without_a_handle(state: State, code: int, status: int, text: str) -> None:
    state.set("gpu1/handle", f"error {code}")
    done = state.smi("-L")
    assert (done.returncode, done.stdout) == (status, f"Unable to determine the device handle for GPU0000:84:00.0: {text}\n")
    assert state.smi("-i", "0", "--query-gpu=name", "--format=csv,noheader").stdout == "Tesla P40\n"


def test_no_library(state: State) -> None:
    done = state.smi(LD_LIBRARY_PATH="/nowhere")
    if Path("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").exists():
        pytest.skip("this host has an NVIDIA driver")
    assert done.returncode == 12
    assert "couldn't find libnvidia-ml.so library" in done.stdout


def test_no_devices(tmp_path: Path) -> None:
    done = State(tmp_path / "nvml").smi()
    assert (done.returncode, done.stdout) == (6, "No devices were found\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--query-gpu=name,nonsense", "--format=csv"], 'Field "nonsense" is not a valid field to query.'),
        (["--query-gpu=name"], "Only CSV format is supported"),
        (["--query-gpu=name", "--format=csv,pretty"], '"pretty" is not a valid format option'),
        (["--query-compute-apps=pid,nonsense", "--format=csv"], 'Field "nonsense" is not a valid field to query.'),
        (["--nonsense"], "Invalid combination of input arguments"),
        (["-pl", "much"], 'Invalid argument "much" for option -pl'),
        (["-c", "7"], 'Invalid argument "7" for option -c'),
    ],
)
def test_bad_arguments(state: State, arguments: list[str], text: str) -> None:
    done = state.smi(*arguments)
    assert done.returncode == 2
    assert text in done.stdout


def test_compute_cap_is_unknown_to_470(tmp_path: Path) -> None:
    done = State(tmp_path / "nvml", "p40", version="470.256.02").smi("--query-gpu=compute_cap", "--format=csv")
    assert done.returncode == 2


def test_processes_are_shown_in_every_form(state: State) -> None:
    state.set("gpu0/processes", "4711 C 512 /bin/ollama\n4712 G 16 Xorg")
    done = state.smi("--query-compute-apps=gpu_uuid,pid,process_name,used_memory", "--format=csv")
    assert done.stdout == ("gpu_uuid, pid, process_name, used_gpu_memory [MiB]\n"
                           "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801, 4711, /bin/ollama, 512 MiB\n")
    assert state.smi("--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits").stdout == "4711, 512\n"
    infos = [{child.tag: child.text for child in info} for info in ET.fromstring(state.smi("-q", "-x").stdout).iter("process_info")]
    assert [(info["pid"], info["type"], info["process_name"], info["used_memory"]) for info in infos] == [
        ("4711", "C", "/bin/ollama", "512 MiB"), ("4712", "G", "Xorg", "16 MiB")]
    table = state.smi().stdout.splitlines()
    row = next(line for line in table if "4711" in line)
    assert row.split() == ["|", "0", "N/A", "N/A", "4711", "C", "/bin/ollama", "512MiB", "|"]
    assert len(row) == len(table[1])


def test_settings(state: State) -> None:
    assert state.smi("-pm", "1").stdout == ("Enabled persistence mode for GPU 00000000:04:00.0.\n"
                                            "Enabled persistence mode for GPU 00000000:84:00.0.\nAll done.\n")
    done = state.smi("-i", "0", "-pl", "180")
    assert (done.returncode, done.stdout) == (0, "Power limit for GPU 00000000:04:00.0 was set to 180.00 W from 250.00 W.\nAll done.\n")
    done = state.smi("-i", "0", "-pl", "300")
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        2, "Provided power limit 300.00 W is not a valid power limit which should be between 125.00 W and 250.00 W for GPU 00000000:04:00.0")
    assert state.smi("-i", "0", "-c", "EXCLUSIVE_PROCESS").returncode == 0
    assert state.smi("-i", "0", "-e", "0").stdout.endswith("All done.\nReboot required.\n")
    fields = "persistence_mode,enforced.power.limit,compute_mode,ecc.mode.current,ecc.mode.pending"
    values = state.smi("-i", "0", f"--query-gpu={fields}", "--format=csv,noheader").stdout
    assert values == "Enabled, 180.00 W, Exclusive_Process, Enabled, Disabled\n"
    state.set("gpu0/lost", 1)
    assert state.smi("-i", "0", "-pm", "0").returncode == 15


def test_the_programs_need_nothing_but_the_c_library() -> None:
    binary = (root() / "usr/bin/nvidia-smi").read_bytes()
    needed = {name for name in (b"libc.so.6", b"libdl.so.2", b"libpthread.so.0", b"libm.so.6", b"libgcc_s.so.1", b"libnvidia-ml.so.1\0\0") if name in binary}
    assert needed == {b"libc.so.6"}


def test_application_clocks(state: State) -> None:
    def clocks() -> list[str]:
        return state.smi("--query-gpu=clocks.applications.memory,clocks.applications.graphics", "--format=csv,noheader,nounits").stdout.splitlines()

    before = clocks()
    listed = state.smi("-i", "0", "--query-supported-clocks=memory,graphics", "--format=csv").stdout.splitlines()
    assert listed[:2] == ["memory [MHz], graphics [MHz]", "3615 MHz, 1531 MHz"] and listed[-1] == "405 MHz, 544 MHz" and len(listed) == 81
    bare = state.smi("-i", "0", "--query-supported-clocks=gpu_uuid,mem,gr", "--format=csv,noheader,nounits").stdout.splitlines()
    assert bare[0] == f"{state.get('gpu0/uuid')}, 3615, 1531"

    done = state.smi("-i", "0", "-ac", "3615,1404")
    assert done.returncode == 0 and 'Applications clocks set to "(MEM 3615, SM 1404)" for GPU 00000000:04:00.0' in done.stdout
    assert clocks() == ["3615, 1404", *before[1:]]
    refused = state.smi("-i", "0", "-ac", "3615,1403")
    assert refused.returncode == 0 and "combination \"(MEM 3615, SM 1403)\" is not supported for GPU" in refused.stdout and clocks()[0] == "3615, 1404"
    assert state.smi("-i", "0", "-ac", "3615").returncode == 2
    assert state.smi("-rac").returncode == 0 and clocks() == before
    state.set("gpu0/supported_clocks", "error 3")
    assert "Setting applications clocks is not supported for GPU" in state.smi("-i", "0", "-ac", "3615,1404").stdout and clocks() == before
