# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what an Ollama server logs about GPUs and model loads. Private to gpuops.fleet: the names may change in any release.

Ollama has no API that tells which GPUs it took or where the layers of a model lie; the log is the only witness. Three dialects:

* the server itself (logfmt: `time=… level=… msg="inference compute" id=…`), Ollama 0.11 to 0.33 (discover/types.go, ml/device.go);
* its own engine, which repeats placements while it tries them out (only `Operation:commit` counts, DEBUG lines are probes);
* llama.cpp inside it (`load_tensors: offloaded 65/65 layers to GPU`), up to 0.24 in the server's process, from 0.30 as `llama-server`.

Server and engine write at the same time, so blocks are interleaved: every line is read for itself, and source lines, times and prefixes of
Docker or journald are passed over. A buffer can be printed twice (probe, then load): the last value of a key is the one that holds, as in
Ollama's own reader (llama_server.go). A load begins with the server's `starting runner … --model …/sha256-<digest>`.
"""

from __future__ import annotations

import re
import typing as t

PAIR = re.compile(r'("(?:[^"\\]|\\.)+"|[A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)')
MODEL_BLOB = re.compile(r"--model \S*?sha256[-:]([0-9a-f]{64})")
OFFLOADED = re.compile(r"\boffloaded (\d+)/(\d+) layers to GPU")
BUFFER = re.compile(r"(\w+): +(\S+) +(model|KV|RS|compute) buffer size *= *([\d.]+) MiB")
CUDA_DEVICE = re.compile(r"\bDevice (\d+): (.+?), compute capability [\d.]+.*\bID: (GPU-[0-9a-f-]+)")
SPREAD = re.compile(r"\bOLLAMA_SCHED_SPREAD:(true|false)\b")
# Both are the tokens of all parallel requests together.
CONTEXT = re.compile(r"\bParallel:(\d+) .*\bKvSize:(\d+)")
LLAMA_TOKENS, LLAMA_SLOTS = re.compile(r" (?:-c|--ctx-size) (\d+)"), re.compile(r" (?:-np|--parallel) (\d+)")
OPERATION = re.compile(r"\bOperation:(\w+)")
GPU_LAYERS = re.compile(r"\bID:(\S+) Layers:(\d+)[(\[]")
REQUIRED = re.compile(r"required\.(\w+)\.(Weights|Cache|Graph)$")
SIZE = re.compile(r"^([\d.]+) ?(B|KiB|MiB|GiB|TiB)$")
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
DEVICE_KINDS = {"model weights": "model", "kv cache": "KV", "compute graph": "compute"}

# A model that was placed and then failed is no loaded model.
FAILURES = (
    "CUDA error",
    "runner process has terminated",
    "server process has terminated",
    "runner process no longer running",
    "error starting runner",
    "error loading model",
    "memory layout cannot be allocated",
)
# Said by the server on the way to a poorer placement; shown as evidence, never judged alone.
NOTES = (
    "failure during GPU discovery",
    "failure during llama-server GPU discovery",
    "compute capability not in compiled architectures",
    "user overrode visible devices",
    "model layout did not fit, applying backoff",
    "model requires more gpu memory than is currently available",
    "unable to refresh free memory, using old values",
    "no per-device buffer sizes were parsed",
    "truncating input prompt",
)


def parse(text: str, blob: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    """What the log says about the server and about one load.

    `blob` is the SHA-256 (hexadecimal) of the model's weights: its last load is returned. Without it: the last load of any model.

    Returned: `library` (CUDA, Vulkan, cpu, …, None when nothing tells), `gpus` (number, or None), `accepted` (a list of {id, uuid, name,
    description, library, available}; None when the server's discovery is not in the log; `available`: bytes free before a load, or None),
    `spread` (OLLAMA_SCHED_SPREAD; None when not logged), `context` (tokens a request of the load, or None),
    `driver_too_old` (number of GPUs dropped), `required_driver`,
    `notes` (text → count), `load_found` (bool), `offloaded` ([n, m] or None), `committed` (bool), `gpu_layers` (UUID → number),
    `gpu_bytes` (device name → bytes), `cpu_model_bytes`, `model_bytes` (bytes or None), `device_uuids` (device name → UUID), `failure` (line or None).
    """
    server = _Server()
    loads = [_Load(None)]
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        fields = _fields(line)
        message = fields.get("msg", "")
        started = MODEL_BLOB.search(line) if message.startswith("starting ") else None
        if started:
            loads.append(_Load(started.group(1)))
        server.read(line, message, fields)
        loads[-1].read(line, message, fields)
    # A log without the start of any load (cut off, or of llama.cpp alone) is one load of an unknown model.
    if len(loads) > 1:
        loads = loads[1:]
    wanted = [load for load in loads if blob is None or load.blob == blob]
    return _result(server, wanted[-1] if wanted else None)


def _result(server: _Server, load: t.Optional[_Load]) -> t.Dict[str, t.Any]:
    load_found = load is not None
    load = load or _Load(None)
    buffers = {device: size for device, size in load.sizes(host=False).items() if size}
    library = server.library
    if library is None:
        named = re.match(r"[A-Za-z]+", next(iter(buffers), ""))
        library = named.group(0) if named else ("CUDA" if load.cuda_devices else None)
    gpus = server.gpus
    if gpus is None and load.cuda_devices:
        gpus = len(load.cuda_devices)
    uuids = {item["name"]: item["uuid"] for item in server.accepted or () if item["name"] and item["uuid"]}
    # The engine numbers devices in CUDA's order, the server's list is sorted by free memory: the engine's own table wins. From 0.30 on an
    # engine confined to one GPU of several calls it CUDA0 whichever it is, and nothing tells which.
    if load.single_device and (server.gpus or 0) > 1:
        uuids = {}
    uuids.update(load.cuda_devices)
    return {
        "library": library,
        "gpus": gpus,
        "accepted": server.accepted,
        "spread": server.spread,
        "driver_too_old": server.driver_too_old,
        "required_driver": server.required_driver,
        "notes": server.notes,
        "load_found": load_found,
        "offloaded": load.offloaded,
        "committed": load.committed,
        "gpu_layers": load.gpu_layers,
        "gpu_bytes": buffers,
        "cpu_model_bytes": load.model_bytes(host=True),
        "model_bytes": load.model_bytes(host=None),
        "device_uuids": {device: uuids[device] for device in buffers if device in uuids},
        "context": load.context,
        "failure": load.failure,
    }


class _Server:
    """What the server found when it started."""

    def __init__(self) -> None:
        self.accepted: t.Optional[t.List[t.Dict[str, t.Any]]] = None
        self.spread: t.Optional[bool] = None
        self.cpu_only = False
        self.driver_too_old = 0
        self.required_driver: t.Optional[str] = None
        self.notes: t.Dict[str, int] = {}

    @property
    def library(self) -> t.Optional[str]:
        libraries = sorted({item["library"] for item in self.accepted or ()})
        return "+".join(libraries) if libraries else ("cpu" if self.cpu_only else None)

    @property
    def gpus(self) -> t.Optional[int]:
        return None if self.accepted is None else len(self.accepted)

    def read(self, line: str, message: str, fields: t.Dict[str, str]) -> None:
        if message == "inference compute":
            self.accepted = self.accepted or []
            if fields.get("library", "cpu") == "cpu":
                self.cpu_only = True
            else:
                ids = (fields.get("id", ""), fields.get("filter_id", ""))
                uuid = next((value for value in ids if value.startswith(("GPU-", "MIG-"))), "")
                self.accepted.append(
                    {"id": ids[0], "uuid": uuid, "name": fields.get("name", ""), "description": fields.get("description", ""), "library": fields["library"],
                     "available": _bytes(fields.get("available", ""))}
                )  # fmt: skip
        elif message == "gpu memory":
            for item in self.accepted or ():
                if fields.get("id") in (item["uuid"], item["id"]):
                    item["available"] = _bytes(fields.get("available", "")) or item["available"]
        elif message == "server config":
            spread = SPREAD.search(line)
            self.spread = spread.group(1) == "true" if spread else None
        elif message == "NVIDIA driver too old":
            self.driver_too_old += 1
            self.required_driver = fields.get("required_driver") or self.required_driver
        for note in NOTES:
            if note in line:
                self.notes[note] = self.notes.get(note, 0) + 1


class _Load:
    """One load of one model."""

    def __init__(self, blob: t.Optional[str]) -> None:
        self.blob = blob
        self.offloaded: t.Optional[t.List[int]] = None
        self.committed = False
        self.gpu_layers: t.Dict[str, int] = {}
        self.cuda_devices: t.Dict[str, str] = {}
        self.single_device = False
        self.context: t.Optional[int] = None
        self.failure: t.Optional[str] = None
        # (component, device, kind) → bytes, best source first: allocated by llama.cpp, told by the server, asked for by a probe.
        self._allocated: t.Dict[t.Tuple[str, str, str], int] = {}
        self._told: t.Dict[t.Tuple[str, str, str], int] = {}
        self._required: t.Dict[t.Tuple[str, str, str], int] = {}

    def read(self, line: str, message: str, fields: t.Dict[str, str]) -> None:
        if message.startswith("starting ") and "--split-mode none" in line:
            self.single_device = True
        if message == "starting llama-server":
            tokens, slots = LLAMA_TOKENS.search(line), LLAMA_SLOTS.search(line)
            self.context = int(tokens.group(1)) // max(int(slots.group(1)) if slots else 1, 1) if tokens else None
        if message == "load" and not (self.committed and "Operation:commit" not in line):
            self._placement(fields.get("request", ""))
        elif message == "memory":
            self._requirements(fields)
        elif message in DEVICE_KINDS and fields.get("level") != "DEBUG":
            size = _bytes(fields.get("size", ""))
            if size is not None:
                self._told["", fields.get("device") or fields.get("buffer", ""), DEVICE_KINDS[message]] = size
        offloaded = OFFLOADED.search(line)
        if offloaded and fields.get("level") != "DEBUG":
            self.offloaded = [int(offloaded.group(1)), int(offloaded.group(2))]
        buffer = BUFFER.search(line)
        if buffer:
            component, name, kind, size_mib = buffer.groups()
            self._allocated[component, name, kind] = int(float(size_mib) * UNITS["MiB"])
        device = CUDA_DEVICE.search(line)
        if device:
            self.cuda_devices["CUDA" + device.group(1)] = device.group(3)
        if self.failure is None and any(text in line for text in FAILURES):
            self.failure = " ".join((fields.get("error") or fields.get("msg") or line).split())[:300]

    def _placement(self, request: str) -> None:
        operation = OPERATION.search(request)
        self.committed = self.committed or bool(operation and operation.group(1) == "commit")
        tokens = CONTEXT.search(request)
        if tokens:
            self.context = int(tokens.group(2)) // max(int(tokens.group(1)), 1)
        self.gpu_layers = {uuid: int(number) for uuid, number in GPU_LAYERS.findall(request)}

    def _requirements(self, fields: t.Dict[str, str]) -> None:
        for key, value in fields.items():
            name = REQUIRED.match(key)
            if name:
                kind = {"Weights": "model", "Cache": "KV", "Graph": "compute"}[name.group(2)]
                self._required["", name.group(1), kind] = sum(int(number) for number in re.findall(r"\d+", value))
            elif key == "required.InputWeights":
                self._required["input", "CPU", "model"] = int(value or 0)

    def _sizes(self) -> t.Dict[t.Tuple[str, str, str], int]:
        return self._allocated or self._told or self._required

    def sizes(self, host: bool) -> t.Dict[str, int]:
        """Bytes a device, all kinds together, of host memory or of GPUs."""
        total: t.Dict[str, int] = {}
        for (_component, device, _kind), size in self._sizes().items():
            if _is_host(device) is host:
                total[_device(device)] = total.get(_device(device), 0) + size
        return total

    def model_bytes(self, host: t.Optional[bool]) -> t.Optional[int]:
        """Bytes of weights in host memory (True), on GPUs (False) or both (None); None when no line tells."""
        found = [size for (_component, device, kind), size in self._sizes().items() if kind == "model" and (host is None or _is_host(device) is host)]
        return sum(found) if found or self._sizes() else None


def _is_host(device: str) -> bool:
    return device.startswith("CPU") or device.endswith("_Host") or device == "BLAS"


def _device(name: str) -> str:
    return re.sub(r"_(Mapped|REPACK|Private)$", "", name)


def _bytes(text: str) -> t.Optional[int]:
    """`9.2 GiB` as bytes, rounded down."""
    match = SIZE.match(text)
    return int(float(match.group(1)) * UNITS[match.group(2)]) if match else None


def _fields(line: str) -> t.Dict[str, str]:
    """The key=value pairs of a logfmt line; empty for any other line (and for the web server's access lines)."""
    if "msg=" not in line:
        return {}
    return {_unquoted(key): _unquoted(value) for key, value in PAIR.findall(line)}


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
