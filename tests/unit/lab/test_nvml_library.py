"""The NVML double, asked by NVIDIA's own Python binding."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.hardware import nvml_state
from tests.lab.nvml import build
from tests.unit.lab.nvml_double import VERSION, Client, State, hardware, root

GPU = "gpu:0"
MIB = 1 << 20


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "nvml", "p40", "p40")


# every fact of docs/architecture.md that comes from NVML, of a P40
FACTS = [
    (["nvmlDeviceGetIndex"], 0),
    (["nvmlDeviceGetMinorNumber"], 0),
    (["nvmlDeviceGetName"], "Tesla P40"),
    (["nvmlDeviceGetUUID"], "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801"),
    (["nvmlDeviceGetSerial"], "0324818070001"),
    (["nvmlDeviceGetBoardPartNumber"], "900-2G610-0000-000"),
    (["nvmlDeviceGetArchitecture"], 4),
    (["nvmlDeviceGetBrand"], 2),
    (["nvmlDeviceGetCudaComputeCapability"], [6, 1]),
    (["nvmlDeviceGetVbiosVersion"], "86.02.23.00.01"),
    (["nvmlDeviceGetInforomImageVersion"], "G610.0200.00.03"),
    (["nvmlDeviceGetMemoryInfo"], {"total": 23040 * MIB, "free": 23040 * MIB, "used": 0}),
    (["nvmlDeviceGetBAR1MemoryInfo"], {"bar1Total": 32768 * MIB, "bar1Free": 32766 * MIB, "bar1Used": 2 * MIB}),
    (["nvmlDeviceGetPowerUsage"], 9500),
    (["nvmlDeviceGetEnforcedPowerLimit"], 250000),
    (["nvmlDeviceGetPowerManagementLimit"], 250000),
    (["nvmlDeviceGetPowerManagementDefaultLimit"], 250000),
    (["nvmlDeviceGetPowerManagementLimitConstraints"], [125000, 250000]),
    (["nvmlDeviceGetTemperature", 0], 28),
    (["nvmlDeviceGetTemperatureV", 0], 28),
    (["nvmlDeviceGetTemperatureThreshold", 1], 92),
    (["nvmlDeviceGetTemperatureThreshold", 0], 95),
    (["nvmlDeviceGetClockInfo", 0], 544),
    (["nvmlDeviceGetClockInfo", 1], 544),
    (["nvmlDeviceGetClockInfo", 2], 405),
    (["nvmlDeviceGetMaxClockInfo", 0], 1531),
    (["nvmlDeviceGetMaxClockInfo", 2], 3615),
    (["nvmlDeviceGetCurrPcieLinkGeneration"], 1),
    (["nvmlDeviceGetMaxPcieLinkGeneration"], 3),
    (["nvmlDeviceGetGpuMaxPcieLinkGeneration"], 3),
    (["nvmlDeviceGetCurrPcieLinkWidth"], 16),
    (["nvmlDeviceGetMaxPcieLinkWidth"], 16),
    (["nvmlDeviceGetPcieReplayCounter"], 0),
    (["nvmlDeviceGetUtilizationRates"], {"gpu": 0, "memory": 0}),
    (["nvmlDeviceGetPersistenceMode"], 0),
    (["nvmlDeviceGetComputeMode"], 0),
    (["nvmlDeviceGetEccMode"], [1, 1]),
    (["nvmlDeviceGetTotalEccErrors", 0, 0], 0),
    (["nvmlDeviceGetTotalEccErrors", 1, 1], 0),
    (["nvmlDeviceGetRetiredPages", 0], []),
    (["nvmlDeviceGetRetiredPages", 1], []),
    (["nvmlDeviceGetRetiredPagesPendingStatus"], 0),
    (["nvmlDeviceGetCurrentClocksEventReasons"], 1),
    (["nvmlDeviceGetCurrentClocksThrottleReasons"], 1),
    (["nvmlDeviceGetComputeRunningProcesses"], []),
    (["nvmlDeviceGetGraphicsRunningProcesses"], []),
    (["nvmlDeviceIsMigDeviceHandle"], 0),
]


def test_every_fact_of_a_p40(state: State) -> None:
    with state.client() as client:
        answers = {tuple(call): client.answer(call[0], GPU, *call[1:]) for call, _ in FACTS}
    assert answers == {tuple(call): {"value": expected} for call, expected in FACTS}


def test_what_a_p40_does_not_have_is_not_supported(state: State) -> None:
    with state.client() as client:
        calls = [["nvmlDeviceGetMigMode"], ["nvmlDeviceGetRemappedRows"], ["nvmlDeviceGetNvLinkState", 0], ["nvmlDeviceGetFanSpeed"],
                 ["nvmlDeviceGetGspFirmwareVersion"], ["nvmlDeviceGetTotalEnergyConsumption"]]
        assert {call[0]: client.error(call[0], GPU, *call[1:]) for call in calls} == {call[0]: 3 for call in calls}


def test_the_system(state: State) -> None:
    with state.client() as client:
        assert client.value("nvmlSystemGetDriverVersion") == VERSION
        assert client.value("nvmlSystemGetNVMLVersion") == f"13.{VERSION}"
        assert client.value("nvmlSystemGetCudaDriverVersion") == 13000
        assert client.value("nvmlDeviceGetCount") == 2


def test_the_pci_identity(state: State) -> None:
    with state.client() as client:
        pci = client.value("nvmlDeviceGetPciInfo", GPU)
    assert pci["busId"] == "00000000:04:00.0"
    assert (pci["pciDeviceId"], pci["pciSubSystemId"]) == (0x1B3810DE, 0x11D910DE)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (["nvmlDeviceGetHandleByIndex", 1], None),
        (["nvmlDeviceGetHandleByIndex", 2], 2),
        (["nvmlDeviceGetHandleByUUID", "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d802"], None),
        (["nvmlDeviceGetHandleByUUID", "GPU-00000000"], 6),
        (["nvmlDeviceGetHandleBySerial", "0324818070002"], None),
        (["nvmlDeviceGetHandleByPciBusId", "0000:84:00.0"], None),
        (["nvmlDeviceGetHandleByPciBusId", "00000000:84:00.0"], None),
        (["nvmlDeviceGetHandleByPciBusId", "0000:85:00.0"], 6),
        (["nvmlDeviceGetHandleByPciBusId", "elsewhere"], 2),
        (["nvmlDeviceGetTemperature", GPU, 7], 2),
        (["nvmlDeviceGetClockInfo", GPU, 9], 2),
    ],
)
def test_handles_and_bad_arguments(state: State, call: list[object], error: int | None) -> None:
    with state.client() as client:
        assert client.error(*call) == error  # type: ignore[arg-type]


def test_calls_before_initialisation_and_after_shutdown(state: State) -> None:
    client = state.client()
    assert client.error("nvmlDeviceGetCount") == 1
    assert client.error("nvmlInit") is None
    assert client.error("nvmlDeviceGetCount") is None
    assert client.error("nvmlShutdown") is None
    assert client.error("nvmlDeviceGetCount") == 1
    client.process.communicate(timeout=20)


def test_the_index_follows_the_bus_address_not_the_minor(state: State) -> None:
    state.set("gpu0/bus_address", "0000:f0:00.0")
    with state.client() as client:
        assert [client.value("nvmlDeviceGetMinorNumber", f"gpu:{index}") for index in (0, 1)] == [1, 0]


def test_attributes_are_read_afresh_while_a_program_runs(state: State) -> None:
    with state.client() as client:
        state.set("gpu0/temperature_gpu_c", 91)
        assert client.value("nvmlDeviceGetTemperature", GPU, 0) == 91
        state.set("gpu0/temperature_gpu_c", "error 999")
        assert client.error("nvmlDeviceGetTemperature", GPU, 0) == 999
        assert client.value("nvmlDeviceGetTemperature", "gpu:1", 0) == 28
        state.set("gpu0/temperature_gpu_c", "hot")
        assert client.error("nvmlDeviceGetTemperature", GPU, 0) == 999


@pytest.mark.parametrize(("text", "expected"), [("hang 0.4", {"error": 10}), ("hang 0.4 77", {"value": 77})])
def test_an_attribute_that_hangs(state: State, text: str, expected: dict[str, int]) -> None:
    state.set("gpu0/temperature_gpu_c", text)
    with state.client() as client:
        client.value("nvmlDeviceGetCount")
        start = time.monotonic()
        assert client.answer("nvmlDeviceGetTemperature", GPU, 0) == expected
        assert time.monotonic() - start >= 0.4


def test_a_fault_of_one_function_holds_for_every_version_of_its_symbol(state: State) -> None:
    with state.client() as client:
        state.set("calls/nvmlDeviceGetHandleByIndex", "error 15")
        assert client.error("nvmlDeviceGetHandleByIndex", 0) == 15
        state.set("calls/nvmlDeviceGetHandleByIndex", "hang 0.4")
        start = time.monotonic()
        assert client.error("nvmlDeviceGetHandleByIndex", 0) is None
        assert time.monotonic() - start >= 0.4
        (state.directory / "calls/nvmlDeviceGetHandleByIndex").unlink()
        state.set("calls/nvmlDeviceGetName", "error 3")
        assert client.error("nvmlDeviceGetName", GPU) == 3
        assert client.error("nvmlDeviceGetUUID", GPU) is None


@pytest.mark.parametrize("code", [9, 18, 999])
def test_initialisation_can_fail(state: State, code: int) -> None:
    state.set("calls/nvmlInit_v2", f"error {code}")
    client = state.client()
    assert client.error("nvmlInit") == code
    client.process.communicate(timeout=20)


def test_a_library_of_another_version_than_the_loaded_module(state: State) -> None:
    state.set("system/driver_version", "535.261.03")
    client = state.client()
    assert client.error("nvmlInit") == 18
    client.process.communicate(timeout=20)


def test_a_lost_gpu_keeps_its_handle_and_cached_data_but_answers_nothing_live(state: State) -> None:
    with state.client() as client:
        state.set("gpu1/lost", 1)
        lost = "gpu:1"
        assert client.value("nvmlDeviceGetCount") == 2
        cached = [["nvmlDeviceGetName"], ["nvmlDeviceGetUUID"], ["nvmlDeviceGetPciInfo"], ["nvmlDeviceGetPerformanceState"],
                  ["nvmlDeviceGetEnforcedPowerLimit"]]
        live = [["nvmlDeviceGetMemoryInfo"], ["nvmlDeviceGetTemperature", 0], ["nvmlDeviceGetPowerUsage"], ["nvmlDeviceGetUtilizationRates"],
                ["nvmlDeviceGetTotalEccErrors", 1, 0], ["nvmlDeviceGetClockInfo", 0], ["nvmlDeviceGetComputeRunningProcesses"],
                ["nvmlDeviceSetPersistenceMode", 1]]
        assert [client.error(call[0], lost, *call[1:]) for call in cached] == [None] * len(cached)
        assert [client.error(call[0], lost, *call[1:]) for call in live] == [15] * len(live)
        assert client.error("nvmlDeviceGetTemperature", GPU, 0) is None
        state.set("gpu1/handle", "error 15")
        assert client.error("nvmlDeviceGetHandleByIndex", 1) == 15


def test_memory_of_the_second_version_counts_reserved_memory_apart(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "t4")
    version = (2 << 24) | 40
    with state.client() as client:
        second, first = client.value("nvmlDeviceGetMemoryInfo", GPU, version), client.value("nvmlDeviceGetMemoryInfo", GPU)
        assert client.error("nvmlDeviceGetMemoryInfo", GPU, version + 1) == 25
    assert [second[key] // MIB for key in ("total", "reserved", "used", "free")] == [15360, 440, 2, 14918]
    assert first["used"] // MIB == 442


def test_memory_health(state: State) -> None:
    for name, value in {"retired_pages_single_bit": 2, "retired_pages_pending": 1, "ecc_volatile_uncorrected": 4, "remapped_rows_correctable": 1,
                        "remapped_rows_uncorrectable": 0, "remapped_rows_pending": 1, "remapped_rows_failure": 0}.items():
        state.set(f"gpu0/{name}", value)
    with state.client() as client:
        assert len(client.value("nvmlDeviceGetRetiredPages", GPU, 0)) == 2
        assert client.value("nvmlDeviceGetRetiredPagesPendingStatus", GPU) == 1
        assert client.value("nvmlDeviceGetTotalEccErrors", GPU, 1, 0) == 4
        assert client.value("nvmlDeviceGetMemoryErrorCounter", GPU, 1, 0, 2) == 4
        assert client.value("nvmlDeviceGetMemoryErrorCounter", GPU, 1, 0, 7) == 0
        assert client.value("nvmlDeviceGetRemappedRows", GPU) == [1, 0, 1, 0]


def test_processes(state: State) -> None:
    state.set("gpu0/processes", "4711 C 512 /bin/ollama runner\n4712 G 16 Xorg\n4713 C N/A [driver]")
    with state.client() as client:
        compute = client.value("nvmlDeviceGetComputeRunningProcesses", GPU)
        assert [(process["pid"], process["usedGpuMemory"]) for process in compute] == [(4711, 512 * MIB), (4713, None)]
        assert [process["pid"] for process in client.value("nvmlDeviceGetGraphicsRunningProcesses", GPU)] == [4712]
        assert client.value("nvmlSystemGetProcessName", 4711) == "/bin/ollama runner"
        assert client.error("nvmlSystemGetProcessName", 99999999) == 6


def test_nvlink(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "h100", "a100")
    state.set("gpu0/nvlinks", " ".join(["1"] * 17 + ["0"]))
    with state.client() as client:
        assert [client.value("nvmlDeviceGetNvLinkState", GPU, link) for link in range(18)] == [1] * 17 + [0]
        assert client.error("nvmlDeviceGetNvLinkState", GPU, 18) == 2
        assert client.error("nvmlDeviceGetNvLinkState", "gpu:1", 12) == 3
        assert client.value("nvmlDeviceGetNvLinkVersion", GPU, 0) == 4


def test_the_other_end_of_an_nvlink(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "h100", "h100")
    ends = ["0000:07:00.0"] * 16 + [state.get("gpu1/bus_address")] * 2
    state.set("gpu0/nvlink_remotes", " ".join(ends))
    state.set("gpu0/nvlinks", " ".join(["1"] * 15 + ["0", "1", "1"]))
    with state.client() as client:
        assert [client.value("nvmlDeviceGetNvLinkRemotePciInfo", GPU, link)["busId"][4:].lower() for link in (0, 17)] == [ends[0], ends[17]]
        assert [client.value("nvmlDeviceGetNvLinkRemoteDeviceType", GPU, link) for link in (0, 14, 17)] == [2, 2, 0]
        for name in ("nvmlDeviceGetNvLinkRemotePciInfo", "nvmlDeviceGetNvLinkRemoteDeviceType"):
            assert client.error(name, GPU, 15) == 3 and client.error(name, "gpu:1", 0) == 3


@pytest.mark.parametrize(("board", "memory", "graphics"), [("p40", [3615, 405], (1531, 1518, 544)), ("t4", [5001, 405], (1590, 1575, 300)),
                                                           ("a100", [1215], (1410, 1395, 210)), ("h100", [2619, 1593], (1980, 1965, 210))])  # fmt: skip
def test_supported_clocks(tmp_path: Path, board: str, memory: list[int], graphics: tuple[int, int, int]) -> None:
    state = State(tmp_path / "nvml", board)
    with state.client() as client:
        assert client.value("nvmlDeviceGetSupportedMemoryClocks", GPU) == memory
        found = client.value("nvmlDeviceGetSupportedGraphicsClocks", GPU, memory[0])
        assert (found[0], found[1], found[-1]) == graphics and found == sorted(set(found), reverse=True)
        assert client.error("nvmlDeviceGetSupportedGraphicsClocks", GPU, 1) == 6
        default = [client.value("nvmlDeviceGetDefaultApplicationsClock", GPU, kind) for kind in (2, 0)]
        assert default[0] in memory and default[1] in found
        for pair in ((memory[0], found[0] - 1), (memory[0] + 1, found[0])):
            assert client.error("nvmlDeviceSetApplicationsClocks", GPU, *pair) == 2
        assert client.error("nvmlDeviceSetApplicationsClocks", GPU, memory[0], found[1]) is None
        assert [client.value("nvmlDeviceGetApplicationsClock", GPU, kind) for kind in (2, 0)] == [memory[0], found[1]]
        assert client.error("nvmlDeviceResetApplicationsClocks", GPU) is None
        assert [client.value("nvmlDeviceGetApplicationsClock", GPU, kind) for kind in (2, 0)] == default


def test_structures_that_carry_several_values(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "a100", "h100", "p40")
    wanted = {91: 12, 186: 52000, 82: 31, 143: 0, 94: 0}  # links, instant power, memory temperature, remapped rows, replays
    with state.client() as client:
        fields = client.value("nvmlDeviceGetFieldValues", GPU, [*wanted, 12345])
        assert [(field["nvmlReturn"], field["value"]["ullVal"]) for field in fields[:-1]] == [(0, value) for value in wanted.values()]
        assert fields[-1]["nvmlReturn"] == 3
        assert client.value("nvmlDeviceGetFieldValues", "gpu:2", [91])[0]["value"]["ullVal"] == 0
        assert client.value("nvmlDeviceGetRowRemapperHistogram", GPU)["max"] == 640


def test_topology(tmp_path: Path) -> None:
    state = State(tmp_path / "nvml", "p40", "p40", "p40")
    state.set("gpu0/upstream", "0000:80:00.0")
    state.set("gpu2/numa_node", 1)
    with state.client() as client:

        def level(first: str, second: str) -> int:
            return client.value("nvmlDeviceGetTopologyCommonAncestor", first, second)

        assert [level("gpu:0", "gpu:0"), level("gpu:0", "gpu:1"), level("gpu:0", "gpu:2")] == [0, 10, 50]


def test_settings_are_written_back_within_the_constraints(state: State) -> None:
    with state.client() as client:
        assert client.error("nvmlDeviceSetPowerManagementLimit", GPU, 124999) == 2
        assert client.error("nvmlDeviceSetPowerManagementLimit", GPU, 250001) == 2
        client.value("nvmlDeviceSetPowerManagementLimit", GPU, 180000)
        client.value("nvmlDeviceSetPersistenceMode", GPU, 1)
        client.value("nvmlDeviceSetComputeMode", GPU, 3)
        client.value("nvmlDeviceSetEccMode", GPU, 0)
        assert client.error("nvmlDeviceSetComputeMode", GPU, 4) == 2
        assert client.error("nvmlDeviceSetPersistenceMode", GPU, 2) == 2
        assert client.value("nvmlDeviceGetEnforcedPowerLimit", GPU) == 180000
        assert client.value("nvmlDeviceGetPersistenceMode", GPU) == 1
        assert client.value("nvmlDeviceGetComputeMode", GPU) == 3
        assert client.value("nvmlDeviceGetEccMode", GPU) == [1, 0]
        assert client.value("nvmlDeviceGetEnforcedPowerLimit", "gpu:1") == 250000
    assert state.get("gpu0/compute_mode") == "exclusive_process"


def test_every_attribute_that_can_be_set_is_read_by_the_library() -> None:
    sources = "".join(file.read_text() for file in (build.HERE / "library").glob("*.c"))
    families = {"clock_", "max_clock_", "application_clock_", "default_application_clock_", "boost_clock_"}
    unread = [name for name in nvml_state.attributes() if f'"{name}"' not in sources and not name.startswith(tuple(families)) and not name.startswith("ecc_")]
    assert unread == []


@pytest.mark.parametrize("where", ["board", "gpu"])
def test_an_unknown_attribute_is_refused(tmp_path: Path, where: str) -> None:
    profile = hardware("p40")
    target = profile["gpus"][0]["board"]["nvml"] if where == "board" else profile["gpus"][0]["nvml"]
    target["temprature_gpu_c"] = 3
    with pytest.raises(ValueError, match=r"unknown NVML attribute temprature_gpu_c; the known ones are in"):
        nvml_state.write_state(profile, tmp_path / "nvml")
    assert not (tmp_path / "nvml").exists()


@pytest.mark.parametrize("board", ["p40", "t4", "a100", "h100"])
def test_boards_answer_every_fact(tmp_path: Path, board: str) -> None:
    state = State(tmp_path / "nvml", board)
    with state.client() as client:
        errors = {tuple(call): client.error(call[0], GPU, *call[1:]) for call, _ in FACTS}
    retired = {call: 3 for call in errors if "Retired" in call[0] and board in {"a100", "h100"}}  # rows are remapped there instead
    assert errors == {**dict.fromkeys(errors, None), **retired}


def test_symbols_of_older_bindings_and_buffers_that_are_too_small(state: State) -> None:
    state.set("gpu0/processes", "4711 C 512 /bin/ollama\n4712 C 16 /bin/other")
    program = """
import ctypes
n = ctypes.CDLL("libnvidia-ml.so.1")
assert n.nvmlInit() == 0
count, handle = ctypes.c_uint(), ctypes.c_void_p()
assert n.nvmlDeviceGetCount(ctypes.byref(count)) == 0 and count.value == 2
assert n.nvmlDeviceGetHandleByIndex(0, ctypes.byref(handle)) == 0
name = ctypes.create_string_buffer(96)
assert n.nvmlDeviceGetName(handle, name, 9) == 7
assert n.nvmlDeviceGetName(handle, name, 10) == 0 and name.value == b"Tesla P40"
assert n.nvmlDeviceGetName(handle, None, 10) == 2
assert n.nvmlDeviceGetName(None, name, 10) == 2
for function, size in (("nvmlDeviceGetPciInfo", 32), ("nvmlDeviceGetPciInfo_v2", 52), ("nvmlDeviceGetPciInfo_v3", 68)):
    pci = (ctypes.c_ubyte * 100)(*[0xAA] * 100)
    assert getattr(n, function)(handle, pci) == 0
    assert bytes(pci[:12]) == b"0000:04:00.0", function
    assert set(pci[size:]) == {0xAA}, f"{function} wrote past its structure"
for function, size in (("", 16), ("_v2", 24), ("_v3", 24)):
    infos, number = (ctypes.c_ubyte * (3 * size))(), ctypes.c_uint(1)
    call = getattr(n, "nvmlDeviceGetComputeRunningProcesses" + function)
    assert call(handle, ctypes.byref(number), infos) == 7 and number.value == 2
    assert call(handle, ctypes.byref(number), infos) == 0
    assert int.from_bytes(bytes(infos[size:size + 4]), "little") == 4712, function
assert not hasattr(n, "nvmlDeviceGetNothing")
print("done")
"""
    done = subprocess.run([sys.executable, "-c", program], env=state.environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_cuda_says_that_there_is_no_device() -> None:
    cuda = ctypes.CDLL(str(root() / build.LIBRARY_DIRECTORY / f"libcuda.so.{VERSION}"))
    version, count = ctypes.c_int(), ctypes.c_int(-1)
    assert cuda.cuInit(0) == 100
    assert cuda.cuDeviceGetCount(ctypes.byref(count)) == 3
    assert cuda.cuDriverGetVersion(ctypes.byref(version)) == 0
    assert version.value == 13000


def test_device_nodes_decide_which_gpus_a_process_has(state: State, tmp_path: Path) -> None:
    nodes = tmp_path / "dev"
    nodes.mkdir()
    client = state.client(LAB_NVML_DEV=str(nodes))
    assert client.error("nvmlInit") == 9
    client.process.communicate(timeout=20)
    (nodes / "nvidiactl").touch()
    (nodes / "nvidia1").touch()
    with state.client(LAB_NVML_DEV=str(nodes)) as client:
        assert client.value("nvmlDeviceGetCount") == 1
        assert client.value("nvmlDeviceGetMinorNumber", GPU) == 1
        assert client.value("nvmlDeviceGetIndex", GPU) == 0


def test_the_device_cgroup_denies(state: State, tmp_path: Path) -> None:
    """An immutable file answers EPERM to a program that wants to write, as the device cgroup does."""
    nodes = tmp_path / "dev"
    nodes.mkdir()
    for name in ("nvidiactl", "nvidia0", "nvidia1"):
        (nodes / name).touch()

    def immutable(name: str, sign: str) -> bool:
        return subprocess.run(["chattr", f"{sign}i", str(nodes / name)], capture_output=True, check=False).returncode == 0

    if not immutable("nvidia0", "+"):
        pytest.skip("needs chattr +i: root, on a file system that has it")
    try:
        with state.client(LAB_NVML_DEV=str(nodes)) as client:
            assert [client.value("nvmlDeviceGetCount"), client.value("nvmlDeviceGetMinorNumber", GPU)] == [1, 1]
        immutable("nvidiactl", "+")
        denied = Client(state.environment(LAB_NVML_DEV=str(nodes)))
        assert denied.error("nvmlInit") == 999
        denied.process.communicate(timeout=20)
    finally:
        for name in ("nvidia0", "nvidiactl"):
            immutable(name, "-")
