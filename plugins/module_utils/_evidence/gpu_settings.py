# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of GPUs, read through pynvml or nvidia-smi. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import importlib
import importlib.util
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Child, Emit
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.nvml_answer import CODES, LOST, NOT_SUPPORTED, bus_address

Run = t.Callable[..., t.Tuple[int, str, str]]
Gpu = t.Dict[str, t.Any]

COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
# Key of a GPU → column of `nvidia-smi --query-gpu`. Frequencies in MHz, limits in watts.
COLUMNS = (
    ("index", "index"),
    ("uuid", "uuid"),
    ("bus_address", "pci.bus_id"),
    ("name", "name"),
    ("persistence_mode", "persistence_mode"),
    ("power_limit_watts", "power.limit"),
    ("min_power_limit_watts", "power.min_limit"),
    ("max_power_limit_watts", "power.max_limit"),
    ("compute_mode", "compute_mode"),
    ("ecc_mode", "ecc.mode.current"),
    ("ecc_mode_pending", "ecc.mode.pending"),
    ("memory_clock_mhz", "clocks.applications.memory"),
    ("graphics_clock_mhz", "clocks.applications.graphics"),
    ("max_memory_clock_mhz", "clocks.max.memory"),
    ("max_graphics_clock_mhz", "clocks.max.graphics"),
    # Settings come from the driver's memory even when the GPU is lost; a temperature comes from the GPU.
    ("celsius", "temperature.gpu"),
)
# Key → NVML query and its arguments after the handle, conversion.
QUERIES: t.Tuple[t.Tuple[t.Tuple[str, ...], t.Tuple[t.Any, ...], t.Callable[[t.Any], t.Any]], ...] = (
    (("persistence_mode",), ("nvmlDeviceGetPersistenceMode",), bool),
    (("power_limit_watts",), ("nvmlDeviceGetPowerManagementLimit",), lambda value: value / 1000.0),
    (("min_power_limit_watts", "max_power_limit_watts"), ("nvmlDeviceGetPowerManagementLimitConstraints",), lambda value: value / 1000.0),
    (("compute_mode",), ("nvmlDeviceGetComputeMode",), lambda value: COMPUTE_MODES[value]),
    (("ecc_mode", "ecc_mode_pending"), ("nvmlDeviceGetEccMode",), bool),
    (("memory_clock_mhz",), ("nvmlDeviceGetApplicationsClock", 2), int),
    (("graphics_clock_mhz",), ("nvmlDeviceGetApplicationsClock", 0), int),
    (("max_memory_clock_mhz",), ("nvmlDeviceGetMaxClockInfo", 2), int),
    (("max_graphics_clock_mhz",), ("nvmlDeviceGetMaxClockInfo", 0), int),
    (("celsius",), ("nvmlDeviceGetTemperature", 0), int),
)


def read(run: Run, timeout_seconds: float = 20, reader: str = "auto") -> t.Tuple[str, t.List[Gpu]]:
    """`(reader, GPUs)`: a dict a GPU with the keys of COLUMNS (None where not known) and `unavailable` {key: reason}; `lost` for a lost one.

    `run` as in `read_gpu`. Raises EvidenceError when NVML does not answer at all.
    """
    if reader == "auto":
        reader = "pynvml" if importlib.util.find_spec("pynvml") is not None else "nvidia-smi"
    if reader == "pynvml":
        values, error = Child(_ask, timeout_seconds).results()
        gpus = [value for value in values if "failed" not in value]
        error = error or next((value["failed"] for value in values if "failed" in value), "")
    else:
        gpus, error = _query(run, timeout_seconds)
    if error or not gpus:
        raise EvidenceError("the settings of the GPUs cannot be read through %s: %s" % (reader, error or "no GPU"), reader=reader)
    return reader, gpus


def add_supported_clocks(run: Run, reader: str, gpus: t.Sequence[Gpu], timeout_seconds: float = 20) -> None:
    """Give each GPU `supported_clocks`: `[(memory MHz, [graphics MHz])]`, highest first; None when it does not tell. `reader` as from `read`."""
    if reader == "pynvml":
        found = dict(Child(lambda emit: _ask_clocks(emit, [gpu["index"] for gpu in gpus]), timeout_seconds).results()[0])
        for gpu in gpus:
            gpu["supported_clocks"] = found.get(gpu["index"]) or None
        return
    query = "--query-supported-clocks=gpu_uuid,memory,graphics"
    _rc, out, _err = run(["nvidia-smi", query, "--format=csv,noheader,nounits"], timeout_seconds=timeout_seconds)
    listed: t.Dict[str, t.Dict[int, t.List[int]]] = {}
    for line in out.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) == 3 and cells[1].isdigit() and cells[2].isdigit():
            listed.setdefault(cells[0], {}).setdefault(int(cells[1]), []).append(int(cells[2]))
    for gpu in gpus:
        gpu["supported_clocks"] = list(listed.get(gpu["uuid"], {}).items()) or None


def _ask_clocks(emit: Emit, indices: t.Sequence[int]) -> None:
    binding = importlib.import_module("pynvml")
    binding.nvmlInit()
    for index in indices:
        try:
            handle = binding.nvmlDeviceGetHandleByIndex(index)
            memory = [int(mhz) for mhz in binding.nvmlDeviceGetSupportedMemoryClocks(handle)]
            emit((index, [(mhz, [int(one) for one in binding.nvmlDeviceGetSupportedGraphicsClocks(handle, mhz)]) for mhz in memory]))
        except Exception:  # a GPU that lists no clocks refuses a pair by itself
            emit((index, None))


def refusal(error: Exception) -> str:
    """NVML's refusal in words. By `value`: NVMLError cannot be hashed, and fails to compare with other types."""
    code = getattr(error, "value", None)
    return CODES.get(code, "NVML error %d" % code) if isinstance(code, int) else "%s: %s" % (type(error).__name__, error)


def _ask(emit: Emit) -> None:
    try:
        binding = importlib.import_module("pynvml")
        binding.nvmlInit()
        for index in range(binding.nvmlDeviceGetCount()):
            emit(_asked(binding, index))
    except Exception as error:  # a broken binding fails in its own ways
        emit({"failed": refusal(error)})


def _asked(binding: t.Any, index: int) -> Gpu:
    gpu: Gpu = dict(dict.fromkeys(key for key, _column in COLUMNS), index=index, lost=False, unavailable={})
    try:
        handle = binding.nvmlDeviceGetHandleByIndex(index)
        gpu["bus_address"] = bus_address(_text(binding.nvmlDeviceGetPciInfo(handle).busId))
        gpu["uuid"], gpu["name"] = _text(binding.nvmlDeviceGetUUID(handle)), _text(binding.nvmlDeviceGetName(handle))
    except Exception as error:
        gpu.update(lost=refusal(error) == LOST, unavailable={"handle": refusal(error)})
        return gpu
    for keys, (name, *arguments), convert in QUERIES:
        try:
            value = getattr(binding, name)(handle, *arguments)
            gpu.update(zip(keys, (convert(one) for one in (value if isinstance(value, (list, tuple)) else [value]))))
        except Exception as error:
            gpu["lost"] = gpu["lost"] or refusal(error) == LOST
            gpu["unavailable"].update(dict.fromkeys(keys, refusal(error)))
    return gpu


def _text(value: t.Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _query(run: Run, timeout_seconds: float) -> t.Tuple[t.List[Gpu], str]:
    query = "--query-gpu=" + ",".join(column for _key, column in COLUMNS)
    rc, out, err = run(["nvidia-smi", query, "--format=csv,noheader,nounits"], timeout_seconds=timeout_seconds)
    if rc == 127:
        return [], "nvidia-smi is not installed"
    if rc == 124:
        return [], "no answer within %g s" % timeout_seconds
    rows = [line.split(", ") for line in out.splitlines() if line.count(", ") == len(COLUMNS) - 1]
    if not rows:
        return [], "%s (rc %d)" % (" ".join((out or err).split())[:300] or "no output", rc)
    return [_row(cells) for cells in rows], ""


def _row(cells: t.Sequence[str]) -> Gpu:
    gpu: Gpu = {"lost": False, "unavailable": {}}
    for (key, _column), cell in zip(COLUMNS, cells):
        try:
            gpu[key] = _cell(key, cell.strip())
        except ValueError:
            # The cell holds a reason in place of a value: [N/A], [Not Supported], [GPU is lost], [Unknown Error] …
            reason = cell.strip().strip("[]")
            gpu[key] = None
            gpu["unavailable"][key] = NOT_SUPPORTED if reason.lower() in ("n/a", "not supported") else reason
            gpu["lost"] = gpu["lost"] or reason.lower() == LOST.lower()
    return gpu


def _cell(key: str, text: str) -> t.Any:
    if key in ("uuid", "name"):
        if text.startswith("["):
            raise ValueError(text)
        return text
    if key == "bus_address":
        address = bus_address(text)
        if address is None:
            raise ValueError(text)
        return address
    if key in ("persistence_mode", "ecc_mode", "ecc_mode_pending"):
        if text not in ("Enabled", "Disabled"):
            raise ValueError(text)
        return text == "Enabled"
    if key == "compute_mode":
        return COMPUTE_MODES[COMPUTE_MODES.index(text.lower())]
    if not re.match(r"[0-9]{1,9}(\.[0-9]+)?\Z", text):
        raise ValueError(text)
    return float(text) if key.endswith("_watts") else int(text)
