# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVML through `nvidia-smi -q -x`. Private to gpuops.fleet: the names may change in any release.

The exit code does not tell a healthy GPU from a lost one (0 for both): the texts inside the fields do.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvidia_smi_values as written
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml_answer as nvml
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.board import board
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.child import Emit

Run = t.Callable[..., t.Tuple[int, str, str]]

Texts = t.Dict[str, str]

READER = "nvidia-smi"
PROCESS = ["processes", "process_info"]
LINKS = ["nvlink", "-s"]
CAPABILITIES = ["--query-gpu=pci.bus_id,compute_cap", "--format=csv,noheader"]
# What nvidia-smi prints in place of a value → the reason (nvidia-smi 470 to 580 put some of them in brackets).
NO_VALUES = {
    "n/a": nvml.NOT_SUPPORTED,
    "not supported": nvml.NOT_SUPPORTED,
    "gpu is lost": nvml.LOST,
    "insufficient permissions": nvml.CODES[4],
    "gpu requires reset": nvml.CODES[16],
    "unknown error": nvml.CODES[999],
    "function not found": nvml.CODES[13],
    "requested functionality has been deprecated": "not offered by this driver",
}
EXIT_CODES = {9: 9, 12: 12, 15: 15, 18: 18}


class _NoValueError(Exception):
    """The field holds no value."""


def ask(run: Run, timeout_seconds: float, emit: Emit, inforom: bool = False) -> None:
    """Run nvidia-smi and emit one `nvml_answer.answer`.

    The XML has neither links nor compute capabilities: both are asked for where the board catalogue does not settle them, as each start
    of nvidia-smi can take a second. `inforom`: also have the InfoROM checked, which only nvidia-smi without options does.
    """
    rc, out, err = run(["nvidia-smi", "-q", "-x"], timeout_seconds=timeout_seconds)
    failure = failed(rc, out, err, timeout_seconds)
    if failure is not None:
        emit(failure)
        return
    found = parse(out)
    linked, strange = [], []
    for one in found["devices"]:
        known = board(one["pci"])
        if one["lost"]:
            continue
        if known and known["nvlink_max"] == 0:
            one["values"]["nvlinks"] = []
        else:
            linked.append(one)
        if not known:
            strange.append(one)
    for devices, arguments, add in ((linked, LINKS, add_links), (strange, CAPABILITIES, add_capabilities)):
        if devices:
            rc, out, err = run(["nvidia-smi"] + arguments, timeout_seconds=timeout_seconds)
            add(devices, out if rc == 0 else None)
    if inforom:
        rc, out, _err = run(["nvidia-smi"], timeout_seconds=timeout_seconds)
        add_inforom([one for one in found["devices"] if not one["lost"]], rc, out)
    emit(found)


def failed(rc: int, out: str, err: str, timeout_seconds: float) -> t.Optional[t.Dict[str, t.Any]]:
    """The answer when `nvidia-smi -q -x` did not give a log; None when it did."""
    if rc == 127:
        return nvml.answer(READER, error="nvidia-smi is not installed")
    if rc == 124:
        return nvml.answer(READER, error="nvidia-smi: no answer within %g s" % timeout_seconds)
    if "<nvidia_smi_log" in out:
        return None
    code = EXIT_CODES.get(rc)
    said = " ".join((out or err).split())[:300]
    reason = nvml.CODES[code] if code else said or "no output"
    return nvml.answer(READER, error="nvidia-smi: %s (rc %d)" % (reason, rc), code=code)


def parse(text: str) -> t.Dict[str, t.Any]:
    """`nvml_answer.answer` from the text of `nvidia-smi -q -x`. What is not there or not understood is unavailable; never raises."""
    from xml.parsers import expat  # a tenth of what ElementTree costs to import, and only this path pays

    try:
        log, gpus = texts(text, expat)
    except (expat.ExpatError, ValueError) as error:
        return nvml.answer(READER, error="nvidia-smi: the log is not XML: %s" % error)
    devices = [device(gpu, index) for index, gpu in enumerate(gpus)]
    return nvml.answer(READER, driver_version=_or_none(log, "driver_version"), cuda_version=_or_none(log, "cuda_version"), devices=devices)


def texts(text: str, expat: t.Any) -> t.Tuple[Texts, t.List[Texts]]:
    """The log's own texts and those of each GPU: path below the GPU (`pci/pci_bus_id`) → text, the first one of a path.

    `@id` is the attribute of the `gpu` element; each `processes/process_info` counts: `processes/process_info/0/pid`.
    """
    log: Texts = {}
    gpus: t.List[Texts] = []
    path: t.List[str] = []
    heard: t.List[str] = []
    processes = [0]

    def start(name: str, attributes: t.Dict[str, str]) -> None:
        path.append(name)
        del heard[:]
        if len(path) == 2 and name == "gpu":
            gpus.append({"@id": attributes.get("id", "")})
            processes[0] = 0

    def end(name: str) -> None:
        keys = path[2:] if len(path) > 1 and path[1] == "gpu" else path[1:]
        found = gpus[-1] if len(path) > 1 and path[1] == "gpu" else log
        if keys[:2] == PROCESS:
            keys = PROCESS + [str(processes[0])] + keys[2:]
            processes[0] += len(path) == 4
        if keys:
            found.setdefault("/".join(keys), "".join(heard).strip())
        path.pop()
        del heard[:]

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, heard.append
    parser.Parse(text, True)
    return log, gpus


def device(gpu: Texts, index: int) -> nvml.Device:
    """The answers in the texts of one GPU."""
    found = nvml.Device(index, nvml.bus_address(gpu["@id"] or _or_none(gpu, "pci/pci_bus_id") or ""))
    try:
        found.pci = nvml.pci_ids(int(_value(gpu, "pci/pci_device_id"), 16), int(_value(gpu, "pci/pci_sub_system_id"), 16))
    except (_NoValueError, ValueError):
        found.pci = {}
    words = (_or_none(gpu, "product_architecture") or "").lower().split()
    found.architecture = words[0] if words else None
    for field, paths, convert in FIELDS:
        try:
            found.note([field], [convert(_first(gpu, paths))])
        except _NoValueError as reason:
            found.refuse([field], str(reason))
        except (ValueError, IndexError):
            found.refuse([field], "not understood: %.60s" % _or_none(gpu, paths[0]))
    for fields, read in ((nvml.ECC_COUNTS, _ecc_counts), (("processes",), _processes), (("event_reasons",), _event_reasons)):
        try:
            found.note(fields, read(gpu))
        except _NoValueError as reason:
            found.refuse(fields, str(reason))
        except ValueError as error:
            found.refuse(fields, "not understood: %.60s" % error)
    # A field of its own cannot be trusted: the lost GPU's other fields repeat what was last known.
    if any(_reason(text) == nvml.LOST for text in gpu.values()):
        found.mark_lost()
    return found


def add_links(devices: t.Sequence[t.Dict[str, t.Any]], text: t.Optional[str]) -> None:
    """Set `nvlinks` from `nvidia-smi nvlink -s`: a line `GPU 0: NAME (UUID: …)`, then ` Link 0: 26.562 GB/s` or ` Link 1: <inactive>`."""
    links: t.Dict[int, t.List[t.Dict[str, t.Any]]] = {}
    current = -1
    for line in (text or "").splitlines():
        head = re.match(r"GPU (\d+):", line)
        if head:
            current = int(head.group(1))
        link = re.match(r"\s+Link (\d+):\s*(.*)", line)
        if link and current >= 0:
            links.setdefault(current, []).append({"link": int(link.group(1)), "active": "inactive" not in link.group(2).lower()})
    for one in devices:
        if text is None:
            one["unavailable"]["nvlinks"] = "not offered by this nvidia-smi"
        else:
            one["values"]["nvlinks"] = links.get(one["index"], [])


def add_capabilities(devices: t.Sequence[t.Dict[str, t.Any]], text: t.Optional[str]) -> None:
    """Set the compute capability from lines `bus address, major.minor` (nvidia-smi from 510 on)."""
    rows = dict(line.split(", ", 1) for line in (text or "").splitlines() if ", " in line)
    capabilities = {nvml.bus_address(address): capability for address, capability in rows.items()}
    for one in devices:
        match = re.match(r"(\d+)\.(\d+)$", capabilities.get(one["bus_address"], "").strip())
        if match:
            one["values"].update({"compute_capability.major": int(match.group(1)), "compute_capability.minor": int(match.group(2))})


def add_inforom(devices: t.Sequence[t.Dict[str, t.Any]], rc: int, text: str) -> None:
    """Set `inforom_valid` from plain `nvidia-smi`: it ends with 14 and names each GPU whose InfoROM is corrupted.

    `-q -x` does neither, which is why it is not read from there.
    """
    corrupted = {nvml.bus_address(address) for address in re.findall(r"infoROM is corrupted at gpu ([0-9A-Fa-f:.]+)", text)}
    for one in devices:
        if one["bus_address"] in corrupted:
            one["values"][nvml.INFOROM_VALID] = False
        elif rc == 0 or (rc == nvml.CORRUPTED_INFOROM and corrupted):
            if "inforom_version" in one["values"]:
                one["values"][nvml.INFOROM_VALID] = True
            else:
                one["unavailable"][nvml.INFOROM_VALID] = one["unavailable"].get("inforom_version", "not reported")
        else:
            one["unavailable"][nvml.INFOROM_VALID] = "nvidia-smi: rc %d" % rc


def _reason(text: t.Optional[str]) -> t.Optional[str]:
    """The reason when `text` stands in place of a value, else None."""
    return NO_VALUES.get((text or "").strip().strip("[]").lower())


def _value(gpu: Texts, path: str) -> str:
    text = gpu.get(path)
    if text is None:
        # A whole group can be replaced by one text: <remapped_rows>N/A</remapped_rows>.
        raise _NoValueError(_reason(gpu.get(path.rpartition("/")[0])) or "not reported")
    reason = _reason(text)
    if reason or not text:
        raise _NoValueError(reason or "not reported")
    return text


def _first(gpu: Texts, paths: t.Sequence[str]) -> str:
    """The first of `paths` that has a value; the reason of the first one that is there at all."""
    reasons = []
    for path in paths:
        try:
            return _value(gpu, path)
        except _NoValueError as reason:
            reasons.append(str(reason))
    raise _NoValueError(next((reason for reason in reasons if reason != "not reported"), "not reported"))


def _or_none(gpu: Texts, path: str) -> t.Optional[str]:
    try:
        return _value(gpu, path)
    except _NoValueError:
        return None


def _below(gpu: Texts, group: str) -> t.Dict[str, str]:
    """Name → text of what lies directly in `group`."""
    found = (path.rpartition("/") for path in gpu)
    return {name: gpu["%s/%s" % (above, name)] for above, _slash, name in found if above == group}


def _ecc_counts(gpu: Texts) -> t.List[t.Optional[int]]:
    """Totals as nvmlDeviceGetTotalEccErrors counts them: one total before Ampere, DRAM and SRAM apart since."""
    counts: t.List[t.Optional[int]] = []
    reason = "not reported"
    for period in ("ecc_errors/volatile", "ecc_errors/aggregate"):
        places = _below(gpu, period)
        for bits, word in (("single_bit", "correctable"), ("double_bit", "uncorrectable")):
            total = gpu.get("%s/%s/total" % (period, bits))
            parts = [text for name, text in places.items() if re.match(r"[sd]ram_%s" % word, name)] if total is None else [total]
            for why in filter(None, map(_reason, parts)):
                # A place that this GPU does not have adds nothing; one that could not be read leaves the sum open.
                if why != nvml.NOT_SUPPORTED:
                    raise _NoValueError(why)
                reason = why
            numbers = [written.count(text) for text in parts if not _reason(text)]
            counts.append(sum(numbers) if numbers else None)
    if counts == [None] * 4:
        raise _NoValueError(reason)
    return counts


def _processes(gpu: Texts) -> t.List[t.List[t.Dict[str, t.Any]]]:
    reason = _reason(gpu.get("processes"))
    if reason or "processes" not in gpu:
        raise _NoValueError(reason or "not reported")
    found = {}
    for path in gpu:
        if path.startswith("processes/process_info/") and path.endswith("/pid"):
            base = path[: -len("pid")]
            used = _or_none(gpu, base + "used_memory")
            pid = written.count(_value(gpu, path))
            found[pid] = {"pid": pid, "name": _or_none(gpu, base + "process_name"), "used_memory_mib": None if used is None else written.mib(used)}
    return [[found[pid] for pid in sorted(found)]]


def _event_reasons(gpu: Texts) -> t.List[t.List[str]]:
    for group, prefix in (("clocks_event_reasons", "clocks_event_reason_"), ("clocks_throttle_reasons", "clocks_throttle_reason_")):
        if group in gpu:
            texts_below = _below(gpu, group)
            if _reason(gpu[group]) or not texts_below:
                raise _NoValueError(_reason(gpu[group]) or "not reported")
            odd = [_reason(text) or "not understood: %.60s" % text for text in texts_below.values() if text not in ("Active", "Not Active")]
            # One reason that this GPU does not have says nothing of the others; an error says that none of them is known.
            if len(odd) == len(texts_below) or any(one != nvml.NOT_SUPPORTED for one in odd):
                raise _NoValueError(next((one for one in odd if one != nvml.NOT_SUPPORTED), nvml.NOT_SUPPORTED))
            # Every branch lists this one: a group without it is none.
            if prefix + "hw_slowdown" not in texts_below:
                raise _NoValueError("not reported")
            active = {name[len(prefix) :] for name, text in texts_below.items() if text == "Active"}
            return [[name for _bit, name in nvml.EVENT_REASONS if name in active]]
    raise _NoValueError("not reported")


POWER = ("gpu_power_readings/", "power_readings/")
LINK = "pci/pci_gpu_link_info/"
# (field, paths: the newest name first, conversion)
FIELDS: t.Tuple[t.Tuple[str, t.Tuple[str, ...], t.Callable[[str], t.Any]], ...] = (
    ("name", ("product_name",), str),
    ("uuid", ("uuid",), written.uuid),
    ("serial", ("serial",), str),
    ("board_part_number", ("board_part_number",), str),
    ("vbios_version", ("vbios_version",), written.vbios),
    ("inforom_version", ("inforom_version/img_version",), written.inforom),
    ("virtualization_mode", ("gpu_virtualization_mode/virtualization_mode",), written.virtualization),
    ("memory.total_mib", ("fb_memory_usage/total",), written.mib),
    ("memory.reserved_mib", ("fb_memory_usage/reserved",), written.mib),
    ("memory.used_mib", ("fb_memory_usage/used",), written.mib),
    ("bar1.total_mib", ("bar1_memory_usage/total",), written.mib),
    ("bar1.used_mib", ("bar1_memory_usage/used",), written.mib),
    ("power.draw_watts", tuple(group + name for group in POWER for name in ("power_draw", "average_power_draw", "instant_power_draw")), written.watts),
    ("power.enforced_limit_watts", tuple(group + name for group in POWER for name in ("current_power_limit", "enforced_power_limit")), written.watts),
    ("power.default_limit_watts", tuple(group + "default_power_limit" for group in POWER), written.watts),
    ("power.min_limit_watts", tuple(group + "min_power_limit" for group in POWER), written.watts),
    ("power.max_limit_watts", tuple(group + "max_power_limit" for group in POWER), written.watts),
    ("temperature.gpu_celsius", ("temperature/gpu_temp",), written.celsius),
    ("temperature.memory_celsius", ("temperature/memory_temp",), written.celsius),
    ("temperature.gpu_max_celsius", ("temperature/gpu_temp_max_gpu_threshold",), written.celsius),
    ("temperature.shutdown_celsius", ("temperature/gpu_temp_max_threshold",), written.celsius),
    ("temperature.slowdown_celsius", ("temperature/gpu_temp_slow_threshold",), written.celsius),
    ("clocks.graphics_mhz", ("clocks/graphics_clock",), written.mhz),
    ("clocks.sm_mhz", ("clocks/sm_clock",), written.mhz),
    ("clocks.memory_mhz", ("clocks/mem_clock",), written.mhz),
    ("clocks.max_graphics_mhz", ("max_clocks/graphics_clock",), written.mhz),
    ("clocks.max_memory_mhz", ("max_clocks/mem_clock",), written.mhz),
    ("pcie.generation_current", (LINK + "pcie_gen/current_link_gen",), written.count),
    ("pcie.generation_max", (LINK + "pcie_gen/max_link_gen",), written.count),
    ("pcie.generation_gpu_max", (LINK + "pcie_gen/max_device_link_gen",), written.count),
    ("pcie.width_current", (LINK + "link_widths/current_link_width",), written.lanes),
    ("pcie.width_max", (LINK + "link_widths/max_link_width",), written.lanes),
    ("pcie.replay_count", ("pci/replay_counter",), written.count),
    ("utilization.gpu_percent", ("utilization/gpu_util",), written.percent),
    ("utilization.memory_percent", ("utilization/memory_util",), written.percent),
    ("persistence_mode", ("persistence_mode",), written.enabled),
    ("compute_mode", ("compute_mode",), written.compute_mode),
    ("mig_mode.current", ("mig_mode/current_mig",), written.enabled),
    ("mig_mode.pending", ("mig_mode/pending_mig",), written.enabled),
    ("ecc.mode_current", ("ecc_mode/current_ecc",), written.enabled),
    ("ecc.mode_pending", ("ecc_mode/pending_ecc",), written.enabled),
    ("retired_pages.single_bit", ("retired_pages/multiple_single_bit_retirement/retired_count",), written.count),
    ("retired_pages.double_bit", ("retired_pages/double_bit_retirement/retired_count",), written.count),
    ("retired_pages.pending", ("retired_pages/pending_retirement", "retired_pages/pending_blacklist"), written.yes),
    ("remapped_rows.correctable", ("remapped_rows/remapped_row_corr",), written.count),
    ("remapped_rows.uncorrectable", ("remapped_rows/remapped_row_unc",), written.count),
    ("remapped_rows.pending", ("remapped_rows/remapped_row_pending",), written.yes),
    ("remapped_rows.failure", ("remapped_rows/remapped_row_failure",), written.yes),
)
