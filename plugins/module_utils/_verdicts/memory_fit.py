# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does a model fit on these GPUs, and how would Ollama spread it. Private to gpuops.fleet: the names may change in any release.

Two engines place models, and each is computed as it does so itself:

- `0.17` (up to Ollama 0.24): Ollama assigns layers: the fewest GPUs that hold all, filled evenly (`assignLayers` in llm/server.go).
- `0.30` (from Ollama 0.30 on): one GPU when a rough prediction is at most 80 % of its free memory (server/sched.go), else all of them with
  layers in proportion to free memory (llama.cpp's llama-model.cpp), fewer where that leaves less than the margin.

Sizes are bytes inside, MiB (2**20 bytes) outside.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, UNKNOWN, WARN, Check, PolicyError, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_model import Model

Json = t.Dict[str, t.Any]
Place = t.List[t.List[int]]  # a list of layers a GPU; layer number `len(blocks)` is the output
MIB = 2**20
ENGINES = ("0.17", "0.30")
FITS, PARTIAL, NO, NOT_KNOWN = "fits", "partial", "no", "unknown"
# Bytes of a value in the KV cache (ggml block structures q8_0: 34 bytes for 32 values, q4_0: 18).
KV_BYTES = {"f16": 2.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
BATCH = 512
# What the engine keeps free on each GPU: minimum of a CUDA device in ml/device.go; LLAMA_ARG_FIT_TARGET.
RESERVE_MIB = {"0.17": 457, "0.30": 1024}
# The CUDA context of the server itself, which facts read before it started do not show (Tesla P40: 22.4 GiB free, 22.2 GiB for Ollama).
CONTEXT_MIB = 205
# Architectures that engine 0.17 computes without llama.cpp; for all others it keeps one more layer free.
OWN_ENGINE = ("qwen3", "qwen3moe", "qwen35", "qwen35moe", "qwen3vl", "qwen3next", "gemma3", "gptoss", "gpt-oss", "mistral3", "llama4")
ONE_GPU_SHARE = 0.8
MOST_GPUS = 64
MORE_GPUS = 8


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A GPU and the memory that is free for a model; None: not known."""

    uuid: str
    free_mib: t.Optional[float]


@dataclasses.dataclass(frozen=True)
class Options:
    """How the server is to run the model. `reserve_mib`: instead of what the engine keeps free on each GPU."""

    engine: str
    num_ctx: int
    num_parallel: int = 1
    kv_cache_type: str = "f16"
    flash_attention: bool = True
    sched_spread: bool = False
    reserve_mib: t.Optional[int] = None

    def __post_init__(self) -> None:
        for name, lowest, highest in (("num_ctx", 1, 2**24), ("num_parallel", 1, 1024), ("reserve_mib", 0, 2**24)):
            value = getattr(self, name)
            if value is not None and not lowest <= value <= highest:
                raise PolicyError("%s is %s: it must be from %d to %d" % (name, value, lowest, highest), option=name)
        if self.engine not in ENGINES or self.kv_cache_type not in KV_BYTES:
            raise PolicyError("engine %s, kv_cache_type %s: not known" % (self.engine, self.kv_cache_type))
        if self.kv_cache_type != "f16" and not self.flash_attention:
            raise PolicyError("kv_cache_type %s needs flash attention: set flash_attention to true" % self.kv_cache_type, option="kv_cache_type")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A model that is to stay in memory. `model` None: its size is not known. `weights`: equal for models of the same weights, None when not known."""

    name: str
    model: t.Optional[Model]
    options: Options
    weights: t.Optional[str] = None


def gpus_from(given: t.Optional[t.Sequence[Json]], seen: t.Any) -> t.List[Gpu]:
    """The GPUs to plan for: those `given` ({uuid, free_mib}), their free memory from the facts `seen` where it is missing; else all of the facts.

    PolicyError for one that is named twice or that the facts do not have. Free in facts: total less reserved, used, and a CUDA context.
    """
    devices = facts.devices(seen)
    free = {str(device.get("uuid")): _free(device) for device in devices if facts.text(device.get("uuid"))}
    if given is None and facts.count(seen) is None:
        found = [Gpu(facts.HOST, None)]  # how many GPUs there are is not known
    elif given is None:
        found = [Gpu(facts.text(device.get("uuid")) or facts.subject(device), _free(device)) for device in devices]
    else:
        found = [Gpu(str(one["uuid"]), free.get(str(one["uuid"])) if one.get("free_mib") is None else one["free_mib"]) for one in given]
        for gpu in found:
            if gpu.free_mib is None and gpu.uuid not in free:
                raise PolicyError("gpus: the host has no GPU %s (it has %s)" % (gpu.uuid, ", ".join(sorted(free)) or "none"), option="gpus")
            if gpu.free_mib is not None and not 0 <= gpu.free_mib <= 2**24:
                raise PolicyError("gpus: free_mib of %s is %s" % (gpu.uuid, gpu.free_mib), option="gpus")
    if len({gpu.uuid for gpu in found}) < len(found) or len(found) > MOST_GPUS:
        raise PolicyError("gpus: each GPU once, and at most %d" % MOST_GPUS, option="gpus")
    return found


def _free(device: Json) -> t.Optional[float]:
    total, used = (facts.number(facts.get(device, "memory", key)) for key in ("total_mib", "used_mib"))
    reserved = facts.number(facts.get(device, "memory", "reserved_mib")) or 0.0  # older drivers count it as used
    return None if total is None or used is None or total > 2**24 else max(0.0, total - used - reserved - CONTEXT_MIB)


def kv_bytes(model: Model, options: Options) -> t.List[int]:
    """Bytes of the KV cache of each block."""
    context = min(options.num_ctx, model.context or options.num_ctx)  # both engines stop at the context that the model was trained for
    whole = context * options.num_parallel
    window = min(whole, model.window * options.num_parallel + BATCH)
    each = KV_BYTES[options.kv_cache_type]
    return [int((window if sliding else whole) * width * each) for width, sliding in zip(model.kv_width, model.sliding)]


def graph_bytes(model: Model, options: Options) -> int:
    """Bytes of the compute graph, on every GPU that is used. Without flash attention the scores of the whole context are held at once."""
    if options.flash_attention:
        return 4 * BATCH * (model.vocabulary + 2 * model.embedding)
    scores = 4 * BATCH * (1 + 4 * model.embedding + min(options.num_ctx, model.context or options.num_ctx) * options.num_parallel * (1 + model.heads))
    return max(scores, 4 * BATCH * (model.embedding + model.vocabulary))


def place(model: Model, gpus: t.Sequence[Gpu], options: Options) -> Json:
    """The plan without advice: gpus [{uuid, layers, weights_mib, kv_mib, graph_mib, reserve_mib, total_mib, free_mib}], total_layers,
    layers_on_gpus, verdict (`fits`, `partial`, `no`). `gpus` with known memory only."""
    kv, graph = kv_bytes(model, options) + [0], graph_bytes(model, options)
    weights = list(model.blocks) + [model.output]
    layers = [weight + cache for weight, cache in zip(weights, kv)]
    reserve = int((RESERVE_MIB[options.engine] if options.reserve_mib is None else options.reserve_mib) * MIB)
    if options.engine == "0.17" and model.architecture not in OWN_ENGINE:
        reserve += max(layers[:-1])
    free = [int((gpu.free_mib or 0) * MIB) for gpu in gpus]
    room = [max(0, one - reserve - graph) for one in free]
    held = _assign_017(layers, free, room, options) if options.engine == "0.17" else _assign_030(model, layers, free, room, options)
    rows = []
    for number, gpu in enumerate(gpus):
        mine = held[number]
        parts = {
            "weights_mib": sum(weights[layer] for layer in mine),
            "kv_mib": sum(kv[layer] for layer in mine),
            "graph_mib": graph if mine else 0,
            "reserve_mib": reserve if mine else 0,
        }
        row: Json = {"uuid": gpu.uuid, "layers": len(mine)}
        row.update({name: round(size / MIB) for name, size in parts.items()}, total_mib=round(sum(parts.values()) / MIB), free_mib=round(gpu.free_mib or 0))
        rows.append(row)
    placed = sum(row["layers"] for row in rows)
    verdict = FITS if placed == len(layers) else PARTIAL if placed else NO
    return {"gpus": rows, "total_layers": len(layers), "layers_on_gpus": placed, "verdict": verdict}


def _fill(layers: t.Sequence[int], room: t.Sequence[int], share: float = 1.0) -> Place:
    """Layers from the last to the first, on GPUs from the last to the first, each filled up to `share` of its room."""
    held: Place = [[] for _one in room]
    number = len(room) - 1
    left = room[number] * share if room else 0
    for layer in range(len(layers) - 1, -1, -1):
        while number >= 0 and layers[layer] > left:
            number -= 1
            left = room[number] * share if number >= 0 else 0
        if number < 0:
            break
        held[number].insert(0, layer)
        left -= layers[layer]
    return held


def _even(layers: t.Sequence[int], room: t.Sequence[int]) -> Place:
    """As many layers as `_fill` places, with the smallest share of each GPU that still places them."""
    best = _fill(layers, room)
    most, low, high = _placed(best), 0.0, 1.0
    while most and high - low > 1e-6:
        middle = (low + high) / 2
        tried = _fill(layers, room, middle)
        if _placed(tried) == most:
            best, high = tried, middle
        else:
            low = middle
    return best


def _placed(held: Place) -> int:
    return sum(map(len, held))


def _assign_017(layers: t.Sequence[int], free: t.Sequence[int], room: t.Sequence[int], options: Options) -> Place:
    # The GPU with the most free memory comes first.
    order = sorted(range(len(free)), key=lambda number: -free[number])
    room = [room[number] for number in order]
    held: Place = []
    # All layers, and when they do not fit, rather the blocks without the output.
    for wanted in (layers, layers[:-1]):
        for number in range(len(room) if options.sched_spread else 1, len(room) + 1):
            held = _even(wanted, room[:number])
            if _placed(held) == len(wanted):
                break
        if _placed(held) == len(layers):
            break
    found: Place = [[] for _one in room]
    for number, mine in zip(order, held):
        found[number] = mine
    return found


def _assign_030(model: Model, layers: t.Sequence[int], free: t.Sequence[int], room: t.Sequence[int], options: Options) -> Place:
    # llama.cpp goes by the order of the devices; only the choice of a single one by free memory.
    if free and not options.sched_spread and predicted_bytes(model, options) <= ONE_GPU_SHARE * max(free):
        only = free.index(max(free))
        free, room = ([one if number == only else 0 for number, one in enumerate(sizes)] for sizes in (free, room))
    held: Place = [[] for _one in free]
    total, limit, number = sum(free), 0.0, 0
    if not total:
        return held
    limit = free[0] / total
    for layer in range(len(layers)):
        while number < len(free) - 1 and layer / len(layers) >= limit:
            number += 1
            limit = sum(free[: number + 1]) / total
        held[number].append(layer)
    if all(sum(layers[layer] for layer in mine) <= most for mine, most in zip(held, room)):
        return held
    return _fill(layers, room)


def predicted_bytes(model: Model, options: Options) -> float:
    """What Ollama 0.30 takes for the need of a model when it chooses between one GPU and all: KV always f16, and width from the embedding."""
    width = model.embedding // model.heads
    context = min(options.num_ctx, model.context or options.num_ctx)
    return model.file + 2 * len(model.blocks) * model.kv_heads * width * context * options.num_parallel * 2


def plan(model: Model, gpus: t.Sequence[Gpu], options: Options) -> Json:
    """The plan, with `advice`: a list of single changes, each of which makes the model fit; verdict `unknown` where free memory is not known."""
    if model.recurrent or any(gpu.free_mib is None for gpu in gpus):
        return not_known(gpus, [model])
    found = place(model, gpus, options)
    return dict(found, advice=[] if found["verdict"] == FITS else advice(model, gpus, options))


def not_known(gpus: t.Sequence[Gpu], models: t.Sequence[Model]) -> Json:
    """What stands for a plan where there cannot be one."""
    rows = [{"uuid": gpu.uuid, "free_mib": gpu.free_mib} for gpu in gpus]
    layers = sum(len(model.blocks) + 1 for model in models)
    return {"gpus": rows, "total_layers": layers, "layers_on_gpus": None, "verdict": NOT_KNOWN, "advice": []}


def advice(model: Model, gpus: t.Sequence[Gpu], options: Options) -> t.List[str]:
    """Single changes that make the model fit; where none does, changes with an 8-bit KV cache and one request at a time."""

    def fits(**change: t.Any) -> bool:
        return place(model, gpus, dataclasses.replace(options, **change))["verdict"] == FITS

    found = []
    if not options.sched_spread and len(gpus) > 1 and fits(sched_spread=True):
        found.append("sched_spread true: all %d GPUs together hold it" % len(gpus))
    found.extend(server_settings(options, fits))
    context = largest(min(options.num_ctx, model.context or options.num_ctx) // 1024, lambda number: fits(num_ctx=1024 * number))
    if context:
        found.append("num_ctx %d" % (1024 * context))
    found.extend(more_gpus(gpus, lambda cards: place(model, cards, options)["verdict"] == FITS))
    if found:
        return found
    smallest = dataclasses.replace(options, kv_cache_type="q8_0", flash_attention=True, num_parallel=1)
    context = largest(options.num_ctx // 1024, lambda number: place(model, gpus, dataclasses.replace(smallest, num_ctx=1024 * number))["verdict"] == FITS)
    return ["num_ctx %d with kv_cache_type q8_0, flash_attention true and num_parallel 1" % (1024 * context)] if context else []


def server_settings(options: Options, fits: t.Callable[..., bool]) -> t.List[str]:
    """Settings of the server, other than `options`, with each of which alone `fits(name=value)` is true."""
    found = []
    if not options.flash_attention and fits(flash_attention=True):
        found.append("flash_attention true")
    for kind in ("q8_0", "q4_0") if options.flash_attention else ():
        if KV_BYTES[kind] < KV_BYTES[options.kv_cache_type] and fits(kv_cache_type=kind):
            found.append("kv_cache_type %s" % kind)
            break
    fewer = largest(options.num_parallel - 1, lambda number: fits(num_parallel=number))
    return found + (["num_parallel %d" % fewer] if fewer else [])


def largest(most: int, good: t.Callable[[int], bool]) -> int:
    """The largest number from 1 to `most` that is good, where smaller is never worse; 0 when none is."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if good(middle):
            low = middle
        else:
            high = middle - 1
    return low


def more_gpus(gpus: t.Sequence[Gpu], fits: t.Callable[[t.Sequence[Gpu]], bool]) -> t.List[str]:
    """How many GPUs as the largest of `gpus` have to come along until `fits(all of them)` is true; nothing when too many would have to."""
    size = max((gpu.free_mib or 0 for gpu in gpus), default=0)
    for more in range(1, MORE_GPUS + 1) if size else ():
        added = [Gpu("added-%d" % number, size) for number in range(more)]
        if fits(list(gpus) + added):
            return ["%d more %s with %d MiB free" % (more, "GPU" if more == 1 else "GPUs", round(size))]
    return []


def check(model: Model, found: Json, options: Options, allow_partial: bool = False) -> Check:
    """`ollama.memory` for a plan: fits: pass; partial: fail, or warn with `allow_partial`; no layer on a GPU: fail; memory not known: unknown."""
    asked = "context %d, %d parallel, KV cache %s" % (options.num_ctx, options.num_parallel, options.kv_cache_type)
    if model.context and options.num_ctx > model.context:
        asked = asked.replace(",", " (the model stops at %d)," % model.context, 1)
    shown = ["%s: %d of %d MiB, %d layers" % (row["uuid"], row["total_mib"], row["free_mib"], row["layers"]) for row in found["gpus"] if "layers" in row]
    source = evidence("plan of engine %s by GPU, with reserve" % options.engine, "; ".join(shown) or ("no GPU" if not found["gpus"] else None))
    expected = "all %d layers on GPUs" % found["total_layers"]
    verdict, done = found["verdict"], "%s/%s layers" % (found["layers_on_gpus"], found["total_layers"])
    remedy = "one of: %s" % "; ".join(found["advice"]) if found["advice"] else "a smaller quantisation, a smaller model or larger GPUs"
    if verdict == NOT_KNOWN:
        why = "its recurrent layers are not part of the formulas" if model.recurrent else "the free memory of a GPU is not known"
        look = "load it and look with ollama_placement_check" if model.recurrent else "state free_mib of every GPU in gpus, or load the driver"
        return Check("ollama.memory", model.name, UNKNOWN, "cannot be planned: %s" % why, expected, [source], look)
    if verdict == FITS:
        return Check("ollama.memory", model.name, PASS, "fits on the GPUs (%s)" % asked, expected, [source])
    if verdict == PARTIAL:
        return Check("ollama.memory", model.name, WARN if allow_partial else FAIL, "only %s fit on the GPUs (%s)" % (done, asked), expected, [source], remedy)
    if not found["gpus"]:
        return Check("ollama.memory", model.name, FAIL, "there is no GPU for it", expected, [source], "gpu_health_check tells why there is none")
    return Check("ollama.memory", model.name, FAIL, "no layer fits on a GPU (%s)" % asked, expected, [source], remedy)
