# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Do several models fit on the GPUs of one server at the same time. Private to gpuops.fleet: the names may change in any release.

Ollama loads one model after the other, each into what the ones before left free. A model that does not fit beside the others takes the place of one of
them (server/sched.go): nothing breaks, but the models keep putting each other out of memory. It keeps no more than OLLAMA_MAX_LOADED_MODELS of them, 3 a
GPU when that is 0, and one of those that were made from the same weights.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import memory_fit
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_fit import CONTEXT_MIB, FITS, NO, NOT_KNOWN, PARTIAL, Gpu, Wanted

Json = t.Dict[str, t.Any]
PARTS = ("weights_mib", "kv_mib", "graph_mib")
LOADED_PER_GPU = 3


def plan(wanted: t.Sequence[Wanted], gpus: t.Sequence[Gpu]) -> Json:
    """The plan of all models whose size is known, in the order in which they are loaded.

    As `memory_fit.plan`, `gpus` being sums (`layers`, `weights_mib`, `kv_mib`, `graph_mib`, `total_mib` with the largest `reserve_mib`), with `models`:
    [{name, gpus, total_layers, layers_on_gpus, verdict}], and `uncounted`: names of models whose size is not known.
    """
    known = [one for one in wanted if one.model is not None]
    uncounted = [one.name for one in wanted if one.model is None]
    if not known or any(gpu.free_mib is None for gpu in gpus) or any(one.model and one.model.recurrent for one in known):
        return dict(memory_fit.not_known(gpus, [one.model for one in known if one.model]), models=[], uncounted=uncounted)
    found = place(known, gpus)
    return dict(found, advice=[] if found["verdict"] == FITS else advice(known, gpus), uncounted=uncounted)


def place(known: t.Sequence[Wanted], gpus: t.Sequence[Gpu]) -> Json:
    """`plan` without advice and `uncounted`, for models of known size and GPUs of known memory."""
    left, models = list(gpus), []
    for one in known:
        found = memory_fit.place(t.cast("memory_fit.Model", one.model), left, one.options)
        models.append(dict(found, name=one.name))
        left = [Gpu(gpu.uuid, _rest(gpu.free_mib or 0, row)) for gpu, row in zip(left, found["gpus"])]
    rows = []
    for number, gpu in enumerate(gpus):
        mine = [model["gpus"][number] for model in models]
        row: Json = {"uuid": gpu.uuid, "layers": sum(one["layers"] for one in mine)}
        row.update({part: sum(one[part] for one in mine) for part in PARTS}, reserve_mib=max(one["reserve_mib"] for one in mine))
        rows.append(dict(row, total_mib=sum(row[part] for part in PARTS) + row["reserve_mib"], free_mib=round(gpu.free_mib or 0)))
    verdicts = [model["verdict"] for model in models]
    return {
        "gpus": rows,
        "total_layers": sum(model["total_layers"] for model in models),
        "layers_on_gpus": sum(model["layers_on_gpus"] for model in models),
        "verdict": NO if NO in verdicts else PARTIAL if PARTIAL in verdicts else FITS,
        "models": models,
    }


def _rest(free_mib: float, row: Json) -> float:
    """What a model leaves free on a GPU: every model is computed by a process with a CUDA context of its own."""
    return max(0.0, free_mib - sum(row[part] for part in PARTS) - CONTEXT_MIB) if row["layers"] else free_mib


def advice(known: t.Sequence[Wanted], gpus: t.Sequence[Gpu]) -> t.List[str]:
    """Single changes, each of which makes all models fit, and the models without which the others do."""

    def fits(models: t.Sequence[Wanted], cards: t.Sequence[Gpu] = gpus) -> bool:
        return place(models, cards)["verdict"] == FITS

    def changed(only: t.Optional[int] = None, **change: t.Any) -> t.List[Wanted]:
        return [
            dataclasses.replace(one, options=dataclasses.replace(one.options, **change)) if only in (None, number) else one
            for number, one in enumerate(known)
        ]  # fmt: skip

    options, found = known[0].options, []
    if not options.sched_spread and len(gpus) > 1 and fits(changed(sched_spread=True)):
        found.append("sched_spread true")
    found.extend(memory_fit.server_settings(options, lambda **change: fits(changed(**change))))
    for place_of, one in enumerate(known):
        most = min(one.options.num_ctx, (one.model.context if one.model else None) or one.options.num_ctx) // 1024
        context = memory_fit.largest(most, lambda number, place_of=place_of: fits(changed(place_of, num_ctx=1024 * number)))  # type: ignore[misc]
        if context:
            found.append("num_ctx %d for %s" % (1024 * context, one.name))
    found.extend(memory_fit.more_gpus(gpus, lambda cards: fits(known, cards)))
    for place_of, one in enumerate(known):
        others = [other for number, other in enumerate(known) if number != place_of]
        if others and fits(others):
            found.append("loaded false for %s" % one.name)
    return found


def check(wanted: t.Sequence[Wanted], found: Json, max_loaded: int = 0, allow_partial: bool = False) -> Check:
    """`ollama.memory` for all models of a server together; `max_loaded`: OLLAMA_MAX_LOADED_MODELS."""
    names, options = [one.name for one in wanted], wanted[0].options
    contexts = ", ".join("%s with context %d" % (one.name, one.options.num_ctx) for one in wanted)
    asked = "%s; %d parallel, KV cache %s" % (contexts, options.num_parallel, options.kv_cache_type)
    shown = [evidence("plan of engine %s by GPU, with reserve" % options.engine, "; ".join(_shown(found)) or None)]
    if found["uncounted"]:
        shown.append(evidence("not counted, for their size is not known", ", ".join(found["uncounted"])))

    def answer(status: str, summary: str, remedy: str = "") -> Check:
        return Check("ollama.memory", " + ".join(names), status, summary, "all models in GPU memory at the same time, with every layer", shown, remedy)

    most = max_loaded or LOADED_PER_GPU * max(1, len(found["gpus"]))
    if len(names) > most:
        remedy = "OLLAMA_MAX_LOADED_MODELS %d, or loaded false for %d of them" % (len(names), len(names) - most)
        return answer(FAIL, "%d models are to stay in memory, and the server keeps %d at most" % (len(names), most), remedy)
    weights = [one.weights for one in wanted]
    twins = [one.name for one in wanted if one.weights is not None and weights.count(one.weights) > 1]
    if twins:
        remedy = "loaded false for all of them but one, or an instance of its own for each"
        return answer(FAIL, "%s are made from the same weights, and the server keeps only one such model in memory" % " and ".join(twins), remedy)
    if found["verdict"] == NOT_KNOWN:
        return answer(UNKNOWN, "cannot be planned: a size or the free memory of a GPU is not known", "load them and look with ollama_placement_check")
    if found["verdict"] == FITS:
        without = ", without %s" % ", ".join(found["uncounted"]) if found["uncounted"] else ""
        return answer(PASS, "fit on the GPUs together%s (%s)" % (without, asked), "")
    layers = ", ".join("%d/%d layers of %s" % (one["layers_on_gpus"], one["total_layers"], one["name"]) for one in found["models"])
    summary = "do not fit on the GPUs together: %s (%s); the server would keep putting one out of memory for another" % (layers, asked)
    remedy = "one of: %s" % "; ".join(found["advice"]) if found["advice"] else "smaller quantisations of %s, or larger GPUs" % " and ".join(names)
    return answer(WARN if allow_partial and found["layers_on_gpus"] else FAIL, summary, remedy)


def _shown(found: Json) -> t.List[str]:
    lines = []
    for number, row in enumerate(found["gpus"]):
        if "layers" in row:
            parts = ["%s %d layers" % (model["name"], model["gpus"][number]["layers"]) for model in found["models"]]
            lines.append("%s: %d of %d MiB (%s)" % (row["uuid"], row["total_mib"], row["free_mib"], ", ".join(parts)))
    return lines
