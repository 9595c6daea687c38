"""NVML's binding as it misbehaves: refusals, missing functions, bytes, odd exceptions, hangs."""

from __future__ import annotations

import sys
import time
import types

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml, nvml_answer
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child

UUID = "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801"
MIB = 1 << 20


class NVMLError(Exception):
    """As in the binding: compares by value, is not hashable, and fails on other types."""

    def __init__(self, value):
        super().__init__(value)
        self.value = value

    def __eq__(self, other):
        return self.value == other.value

    __hash__ = None


def record(**values):
    return types.SimpleNamespace(**values)


def refuse(code):
    def function(*_args, **_options):
        raise NVMLError(code)

    return function


def p40(**changes):
    """A binding on a host with one healthy P40; `changes`: function → another function, or None where the binding lacks it."""
    answers = {
        "nvmlInit": None, "nvmlSystemGetDriverVersion": "580.95.05", "nvmlSystemGetCudaDriverVersion": 13000, "nvmlDeviceGetCount": 1,
        "nvmlDeviceGetHandleByIndex": "handle", "nvmlDeviceGetPciInfo": record(busId="00000000:3B:00.0", pciDeviceId=0x1B3810DE, pciSubSystemId=0x11D910DE),
        "nvmlDeviceGetArchitecture": 4, "nvmlDeviceGetName": "Tesla P40", "nvmlDeviceGetUUID": UUID, "nvmlDeviceGetSerial": "0324818070001",
        "nvmlDeviceGetBoardPartNumber": "900-2G610-0000-000", "nvmlDeviceGetVbiosVersion": "86.02.23.00.01",
        "nvmlDeviceGetInforomImageVersion": "G610.0200.00.03", "nvmlDeviceGetCudaComputeCapability": (6, 1),
        "nvmlDeviceGetMemoryInfo": record(total=23040 * MIB, reserved=180 * MIB, used=3 * MIB),
        "nvmlDeviceGetBAR1MemoryInfo": record(bar1Total=32768 * MIB, bar1Used=2 * MIB), "nvmlDeviceGetPowerUsage": 9803,
        "nvmlDeviceGetEnforcedPowerLimit": 250000, "nvmlDeviceGetPowerManagementDefaultLimit": 250000,
        "nvmlDeviceGetPowerManagementLimitConstraints": [125000, 250000], "nvmlDeviceGetTemperature": 28, "nvmlDeviceGetTemperatureThreshold": 95,
        "nvmlDeviceGetClockInfo": 544, "nvmlDeviceGetMaxClockInfo": 1531, "nvmlDeviceGetCurrPcieLinkGeneration": 1, "nvmlDeviceGetMaxPcieLinkGeneration": 3,
        "nvmlDeviceGetGpuMaxPcieLinkGeneration": 3, "nvmlDeviceGetVirtualizationMode": 1,
        "nvmlDeviceGetFieldValues": [record(nvmlReturn=0, value=record(uiVal=41))],
        "nvmlDeviceGetCurrPcieLinkWidth": 16, "nvmlDeviceGetMaxPcieLinkWidth": 16, "nvmlDeviceGetPcieReplayCounter": 0,
        "nvmlDeviceGetUtilizationRates": record(gpu=0, memory=0), "nvmlDeviceGetPersistenceMode": 0, "nvmlDeviceGetComputeMode": 3,
        "nvmlDeviceGetEccMode": [1, 1], "nvmlDeviceGetTotalEccErrors": 0, "nvmlDeviceGetRetiredPages": [4096, 8192],
        "nvmlDeviceGetRetiredPagesPendingStatus": 0,
        "nvmlDeviceGetComputeRunningProcesses": [record(pid=7, usedGpuMemory=2 * MIB), record(pid=5, usedGpuMemory=None)],
        "nvmlDeviceGetGraphicsRunningProcesses": [], "nvmlSystemGetProcessName": "/usr/bin/ollama", "nvmlDeviceGetCurrentClocksEventReasons": 0x81,
    }  # fmt: skip
    functions = {name: (lambda *_args, _value=value, **_options: _value) for name, value in answers.items()}
    functions.update({name: refuse(3) for name in ("nvmlDeviceGetMigMode", "nvmlDeviceGetRemappedRows", "nvmlDeviceGetNvLinkState")})
    functions.update(changes)
    return types.SimpleNamespace(nvmlMemory_v2=2, **{name: function for name, function in functions.items() if function is not None})


def asked(monkeypatch, binding):
    """What `ask` emits with `binding`, in this process."""
    monkeypatch.setitem(sys.modules, "pynvml", binding)
    parts = []
    nvml.ask(parts.append)
    return parts


def device(binding):
    return nvml.device(binding, 0).to_dict()


def test_a_healthy_p40():
    found = device(p40())
    assert found["bus_address"] == "0000:3b:00.0" and found["architecture"] == "pascal" and not found["lost"]
    assert found["pci"] == {"vendor_id": "10de", "device_id": "1b38", "subsystem_vendor_id": "10de", "subsystem_device_id": "11d9"}
    values = found["values"]
    assert (values["memory.total_mib"], values["memory.reserved_mib"], values["memory.used_mib"]) == (23040, 180, 3)
    assert (values["power.draw_watts"], values["power.min_limit_watts"], values["power.max_limit_watts"]) == (9.8, 125.0, 250.0)
    assert values["persistence_mode"] is False and values["compute_mode"] == "exclusive_process" and values["retired_pages.double_bit"] == 2
    assert values["event_reasons"] == ["gpu_idle", "hw_power_brake_slowdown"] and values["nvlinks"] == []
    assert values["processes"] == [
        {"pid": 5, "name": "/usr/bin/ollama", "used_memory_mib": None},
        {"pid": 7, "name": "/usr/bin/ollama", "used_memory_mib": 2},
    ]
    refused = {"mig_mode.current", "mig_mode.pending", *nvml_answer.REMAPPED_ROWS}
    assert found["unavailable"] == dict.fromkeys(refused, "not supported")


def test_every_field_is_either_a_value_or_a_reason():
    fields = {field for names, _query, _convert in nvml.QUERIES for field in names}
    found = device(p40())
    assert set(found["values"]) | set(found["unavailable"]) == fields and not set(found["values"]) & set(found["unavailable"])


@pytest.mark.parametrize("code", [1, 2, 3, 4, 6, 9, 10, 13, 14, 16, 17, 25, 27, 28, 29, 999, 12345])
def test_a_refused_field_leaves_the_others_alone(code):
    found = device(p40(nvmlDeviceGetPowerUsage=refuse(code)))
    assert found["unavailable"]["power.draw_watts"] == nvml_answer.CODES.get(code, "NVML error %d" % code)
    assert found["values"]["power.enforced_limit_watts"] == 250.0 and not found["lost"]


def test_bytes_of_old_bindings_are_text():
    found = device(p40(nvmlDeviceGetUUID=lambda _handle: UUID.encode(), nvmlDeviceGetName=lambda _handle: b"Tesla P40\xff"))
    assert found["values"]["uuid"] == UUID and found["values"]["name"] == "Tesla P40\ufffd"


def test_what_the_binding_lacks_and_odd_exceptions_are_reasons():
    def wrong_signature(_handle):
        raise TypeError("takes 2 arguments")

    found = device(
        p40(nvmlDeviceGetBoardPartNumber=None, nvmlDeviceGetSerial=wrong_signature, nvmlDeviceGetArchitecture=None, nvmlDeviceGetComputeMode=lambda _handle: 9)
    )
    assert found["unavailable"]["board_part_number"] == "not offered by this version of nvidia-ml-py"
    assert found["unavailable"]["serial"] == "TypeError: takes 2 arguments" and found["unavailable"]["compute_mode"] == "not reported"
    assert found["architecture"] is None


@pytest.mark.parametrize("code", [13, 25])
def test_memory_of_drivers_before_510(code):
    def memory(_handle, version=0):
        if version:
            raise NVMLError(code)
        return record(total=23040 * MIB, used=183 * MIB)

    found = device(p40(nvmlDeviceGetMemoryInfo=memory))
    assert found["values"]["memory.used_mib"] == 183 and found["unavailable"]["memory.reserved_mib"] == "not reported"


def test_memory_of_bindings_before_11_510():
    def pointer(name):
        assert name == "nvmlDeviceGetMemoryInfo_v2"

        def function(_handle, reference):
            info = reference._obj
            assert info.version == 2 << 24 | 40
            info.total, info.reserved, info.used = 23040 * MIB, 180 * MIB, 3 * MIB
            return 0

        return function

    binding = p40(_nvmlGetFunctionPointer=pointer, nvmlDeviceGetMemoryInfo=lambda _handle: record(total=23040 * MIB, used=183 * MIB))
    del binding.nvmlMemory_v2
    assert [device(binding)["values"]["memory." + name] for name in ("total_mib", "reserved_mib", "used_mib")] == [23040, 180, 3]
    for refusal in (refuse(13), lambda _name: lambda *_args: 13, None):
        binding._nvmlGetFunctionPointer = refusal
        assert device(binding)["values"]["memory.used_mib"] == 183


def test_event_reasons_under_their_old_name():
    found = device(p40(nvmlDeviceGetCurrentClocksEventReasons=refuse(13), nvmlDeviceGetCurrentClocksThrottleReasons=lambda _handle: 0x4))
    assert found["values"]["event_reasons"] == ["sw_power_cap"]


@pytest.mark.parametrize("ends_with", [2, 3])
def test_links_end_at_the_first_refusal(ends_with):
    def state(_handle, link):
        if link == 4:
            raise NVMLError(ends_with)
        return link != 1

    links = device(p40(nvmlDeviceGetNvLinkState=state))["values"]["nvlinks"]
    assert links == [{"link": 0, "active": True}, {"link": 1, "active": False}, {"link": 2, "active": True}, {"link": 3, "active": True}]


def test_a_gpu_lost_half_way_keeps_its_identity_and_is_not_asked_again():
    calls = []

    def lost(_handle):
        calls.append(1)
        raise NVMLError(15)

    found = device(p40(nvmlDeviceGetBAR1MemoryInfo=lost, nvmlDeviceGetPowerUsage=lost))
    assert found["lost"] and found["reason"] == "GPU is lost" and calls == [1]
    assert set(found["values"]) == set(nvml_answer.IDENTITY) and found["unavailable"] == {}


def test_a_gpu_lost_before_it_tells_its_address():
    found = device(p40(nvmlDeviceGetHandleByIndex=refuse(15)))
    assert found["lost"] and found["bus_address"] is None and found["values"] == {}


@pytest.mark.parametrize("code, reason", sorted(nvml_answer.CODES.items()))
def test_nvml_that_does_not_start(monkeypatch, code, reason):
    assert asked(monkeypatch, p40(nvmlInit=refuse(code))) == [{"error": "NVML: " + reason, "code": code}]


def test_parts_arrive_one_by_one(monkeypatch):
    parts = asked(monkeypatch, p40(nvmlDeviceGetCount=lambda: 3))
    assert parts[0] == {"driver_version": "580.95.05", "cuda_version": "13.0"} and [part["device"]["index"] for part in parts[1:]] == [0, 1, 2]


def test_a_binding_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    parts = []
    nvml.ask(parts.append)
    assert list(parts[0]) == ["error"] and parts[0]["error"].startswith("pynvml cannot be imported")


def test_a_hang_at_the_second_gpu_keeps_the_first(monkeypatch):
    def handle(index):
        if index:
            time.sleep(60)
        return "handle"

    monkeypatch.setitem(sys.modules, "pynvml", p40(nvmlDeviceGetCount=lambda: 2, nvmlDeviceGetHandleByIndex=handle))
    answer = nvml_answer.whole("pynvml", *Child(nvml.ask, 0.5).results())
    assert [one["index"] for one in answer["devices"]] == [0] and answer["error"] == "NVML: no answer within 0.5 s" and answer["cuda_version"] == "13.0"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("00000000:3B:00.0", "0000:3b:00.0"),
        ("00010000:01:00.0", "10000:01:00.0"),
        ("0000:AF:00.0", "0000:af:00.0"),
        ("", None),
        ("zz:00:00.0", None),
        ("0000:3b", None),
    ],
)
def test_bus_addresses(text, expected):
    assert nvml_answer.bus_address(text) == expected
