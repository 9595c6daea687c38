# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVML through its Python binding (`pynvml`, any version from 11.450 on). Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import importlib
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml_answer as nvml
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Emit

MIB = 1024 * 1024
NO_VALUE = 0xFFFFFFFFFFFFFFFF

# Integers instead of the binding's constants: old bindings lack some of them.
COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
ARCHITECTURES = {2: "kepler", 3: "maxwell", 4: "pascal", 5: "volta", 6: "turing", 7: "ampere", 8: "ada", 9: "hopper", 10: "blackwell"}
MAX_LINKS = 64


class _RefusedError(Exception):
    """NVML or its binding did not answer a query."""

    def __init__(self, reason: str, code: t.Optional[int] = None):
        super().__init__(reason)
        self.reason = reason
        self.code = code


def ask(emit: Emit, inforom: bool = False) -> None:
    """Ask NVML everything and emit parts of an `nvml_answer.answer`: the system first, then device by device.

    `inforom`: also have the InfoROM's checksum computed, for which the driver reads the flash memory.
    """
    try:
        binding = importlib.import_module("pynvml")
    except Exception as error:  # a broken binding fails in its own ways
        emit({"error": "pynvml cannot be imported: %s" % error})
        return
    try:
        _call(binding, "nvmlInit")
        emit(
            {
                "driver_version": _or_none(binding, "nvmlSystemGetDriverVersion", _text),
                "cuda_version": _or_none(binding, "nvmlSystemGetCudaDriverVersion", _cuda),
            }
        )
        count = _call(binding, "nvmlDeviceGetCount")
    except _RefusedError as refused:
        emit({"error": "NVML: %s" % refused.reason, "code": refused.code})
        return
    for index in range(count):
        emit({"device": device(binding, index, QUERIES + INFOROM if inforom else QUERIES).to_dict()})


def device(binding: t.Any, index: int, queries: t.Optional[t.Sequence[t.Any]] = None) -> nvml.Device:
    """Every answer (to `queries`, default QUERIES) of the GPU with NVML index `index`; one attempt a field, none after it turned out to be lost."""
    found = nvml.Device(index, None)
    try:
        handle = _call(binding, "nvmlDeviceGetHandleByIndex", index)
        info = _call(binding, "nvmlDeviceGetPciInfo", handle)
    except _RefusedError as refused:
        found.reason = refused.reason
        found.lost = refused.code == nvml.GPU_IS_LOST
        return found
    found.bus_address = nvml.bus_address(_text(info.busId))
    found.pci = nvml.pci_ids(info.pciDeviceId, info.pciSubSystemId)
    found.architecture = ARCHITECTURES.get(_or_none(binding, "nvmlDeviceGetArchitecture", int, handle))
    for fields, query, convert in QUERIES if queries is None else queries:
        try:
            if callable(query):
                found.note(fields, query(binding, handle))
            else:
                found.note(fields, _converted(convert, _call(binding, query[0], handle, *query[1:])))
        except _RefusedError as refused:
            if refused.code == nvml.GPU_IS_LOST:
                found.mark_lost()
                return found
            found.refuse(fields, refused.reason)
    return found


def _call(binding: t.Any, name: str, *args: t.Any) -> t.Any:
    function = getattr(binding, name, None)
    if function is None:
        raise _RefusedError("not offered by this version of nvidia-ml-py", nvml.FUNCTION_NOT_FOUND)
    try:
        return function(*args)
    except Exception as error:
        # `value`, never a comparison: NVMLError is not hashable and fails to compare with other types.
        code = getattr(error, "value", None)
        if isinstance(code, int):
            raise _RefusedError(nvml.CODES.get(code, "NVML error %s" % code), code) from None
        raise _RefusedError("%s: %s" % (type(error).__name__, error)) from None


def _converted(convert: t.Callable[[t.Any], t.Any], value: t.Any) -> t.List[t.Any]:
    try:
        return [convert(item) for item in value] if isinstance(value, (list, tuple)) else [convert(value)]
    except (TypeError, ValueError) as error:
        raise _RefusedError("not understood: %s" % error) from None


def _or_none(binding: t.Any, name: str, convert: t.Callable[[t.Any], t.Any], *args: t.Any) -> t.Any:
    try:
        return convert(_call(binding, name, *args))
    except (_RefusedError, TypeError, ValueError):
        return None


def _text(value: t.Any) -> str:
    # Bindings up to 11.510 return bytes, later ones text.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _cuda(value: int) -> str:
    return "%d.%d" % (value // 1000, value % 1000 // 10)


def _watts(milliwatts: int) -> float:
    return round(milliwatts / 1000.0, 2)


def _compute_mode(value: int) -> t.Optional[str]:
    return COMPUTE_MODES[value] if 0 <= value < len(COMPUTE_MODES) else None


def _virtualization(value: int) -> t.Optional[str]:
    return nvml.VIRTUALIZATION_MODES[value] if 0 <= value < len(nvml.VIRTUALIZATION_MODES) else None


def _memory_temperature(binding: t.Any, handle: t.Any) -> t.List[int]:
    # NVML_FI_DEV_MEMORY_TEMP: a field value, for which there is no function of its own.
    answer = _call(binding, "nvmlDeviceGetFieldValues", handle, [82])[0]
    if answer.nvmlReturn:
        raise _RefusedError(nvml.CODES.get(answer.nvmlReturn, "NVML error %d" % answer.nvmlReturn), answer.nvmlReturn)
    return [int(answer.value.uiVal)]


def _inforom(binding: t.Any, handle: t.Any) -> t.List[bool]:
    try:
        _call(binding, "nvmlDeviceValidateInforom", handle)
    except _RefusedError as refused:
        if refused.code != nvml.CORRUPTED_INFOROM:
            raise
        return [False]
    return [True]


def _event_reasons(bits: int) -> t.List[str]:
    return [name for bit, name in nvml.EVENT_REASONS if bits & bit]


def _memory(binding: t.Any, handle: t.Any) -> t.List[t.Optional[int]]:
    # Version 2 (driver 510) tells reserved memory from used, as nvidia-smi does; version 1 counts it as used.
    try:
        info = _call(binding, "nvmlDeviceGetMemoryInfo", handle, 2 << 24 | 40) if hasattr(binding, "nvmlMemory_v2") else _memory_v2(binding, handle)
        return [info.total // MIB, info.reserved // MIB, info.used // MIB]
    except _RefusedError as refused:
        if refused.code not in (nvml.FUNCTION_NOT_FOUND, 25, None):
            raise
    info = _call(binding, "nvmlDeviceGetMemoryInfo", handle)
    return [info.total // MIB, None, info.used // MIB]


def _memory_v2(binding: t.Any, handle: t.Any) -> t.Any:
    """nvmlDeviceGetMemoryInfo_v2 for bindings before 11.510, which do not know it (nvmlMemory_v2_t, nvml.h)."""
    import ctypes

    class Memory(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint)] + [(name, ctypes.c_ulonglong) for name in ("total", "reserved", "free", "used")]

    info = Memory(2 << 24 | ctypes.sizeof(Memory))
    code = _call(binding, "_nvmlGetFunctionPointer", "nvmlDeviceGetMemoryInfo_v2")(handle, ctypes.byref(info))
    if code:
        raise _RefusedError(nvml.CODES.get(code, "NVML error %d" % code), code)
    return info


def _bar1(binding: t.Any, handle: t.Any) -> t.List[int]:
    info = _call(binding, "nvmlDeviceGetBAR1MemoryInfo", handle)
    return [info.bar1Total // MIB, info.bar1Used // MIB]


def _utilization(binding: t.Any, handle: t.Any) -> t.List[int]:
    info = _call(binding, "nvmlDeviceGetUtilizationRates", handle)
    return [int(info.gpu), int(info.memory)]


def _reasons(binding: t.Any, handle: t.Any) -> t.List[t.List[str]]:
    try:
        return [_event_reasons(_call(binding, "nvmlDeviceGetCurrentClocksEventReasons", handle))]
    except _RefusedError as refused:
        # The same query under its name before 535.54.03.
        if refused.code != nvml.FUNCTION_NOT_FOUND:
            raise
        return [_event_reasons(_call(binding, "nvmlDeviceGetCurrentClocksThrottleReasons", handle))]


def _retired(cause: int) -> t.Callable[[t.Any, t.Any], t.List[int]]:
    return lambda binding, handle: [len(_call(binding, "nvmlDeviceGetRetiredPages", handle, cause))]


def _remapped(binding: t.Any, handle: t.Any) -> t.List[t.Any]:
    correctable, uncorrectable, pending, failure = _call(binding, "nvmlDeviceGetRemappedRows", handle)
    return [correctable, uncorrectable, bool(pending), bool(failure)]


def _nvlinks(binding: t.Any, handle: t.Any) -> t.List[t.List[t.Dict[str, t.Any]]]:
    # How many links there may be changed with the version (12, 18, 36): the first refusal is the end.
    links = []
    for link in range(MAX_LINKS):
        try:
            links.append({"link": link, "active": bool(_call(binding, "nvmlDeviceGetNvLinkState", handle, link))})
        except _RefusedError as refused:
            if refused.code in (2, 3):
                break
            raise
    return [links]


def _processes(binding: t.Any, handle: t.Any) -> t.List[t.List[t.Dict[str, t.Any]]]:
    seen = {}
    for name in ("nvmlDeviceGetComputeRunningProcesses", "nvmlDeviceGetGraphicsRunningProcesses"):
        try:
            running = _call(binding, name, handle)
        except _RefusedError as refused:
            if refused.code != 3:
                raise
            continue
        for process in running:
            used = process.usedGpuMemory
            seen[int(process.pid)] = None if used is None or used >= NO_VALUE else used // MIB
    return [[{"pid": pid, "name": _or_none(binding, "nvmlSystemGetProcessName", _text, pid), "used_memory_mib": seen[pid]} for pid in sorted(seen)]]


# (fields, NVML function and arguments after the handle, conversion), or (fields, a function of its own, None). Identity first: a lost
# GPU may still know who it is.
QUERIES: t.Tuple[t.Tuple[t.Tuple[str, ...], t.Any, t.Any], ...] = (
    (("name",), ("nvmlDeviceGetName",), _text),
    (("uuid",), ("nvmlDeviceGetUUID",), _text),
    (("serial",), ("nvmlDeviceGetSerial",), _text),
    (("board_part_number",), ("nvmlDeviceGetBoardPartNumber",), _text),
    (("vbios_version",), ("nvmlDeviceGetVbiosVersion",), _text),
    (("inforom_version",), ("nvmlDeviceGetInforomImageVersion",), _text),
    (("compute_capability.major", "compute_capability.minor"), ("nvmlDeviceGetCudaComputeCapability",), int),
    (("virtualization_mode",), ("nvmlDeviceGetVirtualizationMode",), _virtualization),
    (("memory.total_mib", "memory.reserved_mib", "memory.used_mib"), _memory, None),
    (("bar1.total_mib", "bar1.used_mib"), _bar1, None),
    (("power.draw_watts",), ("nvmlDeviceGetPowerUsage",), _watts),
    (("power.enforced_limit_watts",), ("nvmlDeviceGetEnforcedPowerLimit",), _watts),
    (("power.default_limit_watts",), ("nvmlDeviceGetPowerManagementDefaultLimit",), _watts),
    (("power.min_limit_watts", "power.max_limit_watts"), ("nvmlDeviceGetPowerManagementLimitConstraints",), _watts),
    (("temperature.gpu_celsius",), ("nvmlDeviceGetTemperature", 0), int),
    (("temperature.memory_celsius",), _memory_temperature, None),
    (("temperature.gpu_max_celsius",), ("nvmlDeviceGetTemperatureThreshold", 3), int),
    (("temperature.shutdown_celsius",), ("nvmlDeviceGetTemperatureThreshold", 0), int),
    (("temperature.slowdown_celsius",), ("nvmlDeviceGetTemperatureThreshold", 1), int),
    (("clocks.graphics_mhz",), ("nvmlDeviceGetClockInfo", 0), int),
    (("clocks.sm_mhz",), ("nvmlDeviceGetClockInfo", 1), int),
    (("clocks.memory_mhz",), ("nvmlDeviceGetClockInfo", 2), int),
    (("clocks.max_graphics_mhz",), ("nvmlDeviceGetMaxClockInfo", 0), int),
    (("clocks.max_memory_mhz",), ("nvmlDeviceGetMaxClockInfo", 2), int),
    (("pcie.generation_current",), ("nvmlDeviceGetCurrPcieLinkGeneration",), int),
    (("pcie.generation_max",), ("nvmlDeviceGetMaxPcieLinkGeneration",), int),
    (("pcie.generation_gpu_max",), ("nvmlDeviceGetGpuMaxPcieLinkGeneration",), int),
    (("pcie.width_current",), ("nvmlDeviceGetCurrPcieLinkWidth",), int),
    (("pcie.width_max",), ("nvmlDeviceGetMaxPcieLinkWidth",), int),
    (("pcie.replay_count",), ("nvmlDeviceGetPcieReplayCounter",), int),
    (("utilization.gpu_percent", "utilization.memory_percent"), _utilization, None),
    (("persistence_mode",), ("nvmlDeviceGetPersistenceMode",), bool),
    (("compute_mode",), ("nvmlDeviceGetComputeMode",), _compute_mode),
    (("mig_mode.current", "mig_mode.pending"), ("nvmlDeviceGetMigMode",), bool),
    (("ecc.mode_current", "ecc.mode_pending"), ("nvmlDeviceGetEccMode",), bool),
    # Second argument: 0 corrected, 1 uncorrected; third: 0 since the driver was loaded, 1 for life.
    ((nvml.ECC_COUNTS[0],), ("nvmlDeviceGetTotalEccErrors", 0, 0), int),
    ((nvml.ECC_COUNTS[1],), ("nvmlDeviceGetTotalEccErrors", 1, 0), int),
    ((nvml.ECC_COUNTS[2],), ("nvmlDeviceGetTotalEccErrors", 0, 1), int),
    ((nvml.ECC_COUNTS[3],), ("nvmlDeviceGetTotalEccErrors", 1, 1), int),
    (("retired_pages.single_bit",), _retired(0), None),
    (("retired_pages.double_bit",), _retired(1), None),
    (("retired_pages.pending",), ("nvmlDeviceGetRetiredPagesPendingStatus",), bool),
    (nvml.REMAPPED_ROWS, _remapped, None),
    (("nvlinks",), _nvlinks, None),
    (("processes",), _processes, None),
    (("event_reasons",), _reasons, None),
)
INFOROM = (((nvml.INFOROM_VALID,), _inforom, None),)
