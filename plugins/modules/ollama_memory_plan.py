#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_memory_plan
short_description: Plan whether a model fits on the GPUs, and how Ollama would spread it
description:
  - Computes, before anything is deployed, how much memory of each GPU the weights, the KV cache and the compute graph of a model take, and how many of
    its layers each GPU gets. Reads the header of a file only, never the weights.
  - C(ollama.memory) is V(pass) when every layer fits on the GPUs, else V(fail), or V(warn) with O(allow_partial) where at least one layer fits.
  - Several models that are to stay in memory at the same time are planned together (O(models)), because what one of them takes the next one lacks. The
    one check is then about all of them.
  - The figures are estimates within some percent. The proof is M(gpuops.fleet.ollama_placement_check) after loading.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
options:
  file:
    description:
      - Path of a GGUF file on the target. The exact way.
      - Exactly one of O(file), O(model), O(show) and O(models) must be set.
    type: path
  model:
    description:
      - Name of a model of the built-in catalogue, in the default quantisation of the Ollama library.
      - V(qwen3:8b), V(qwen3:14b), V(qwen3:30b), V(qwen3:32b), V(llama3.1:8b), V(llama3.1:70b), V(gemma3:27b), V(gpt-oss:20b) or V(gpt-oss:120b).
    type: str
  show:
    description: What Ollama's C(/api/show) returned for the model, asked with C(verbose) so that it lists the tensors.
    type: dict
  models:
    description:
      - The models that one server is to keep in memory at the same time, in the order in which they are loaded. The other options are those of the server.
      - An entry without O(models[].file), O(models[].model) and O(models[].show) is a model whose size is not known. The check says that it was not counted.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the model.
        type: str
        required: true
      file:
        description: As O(file), or a path that O(headers) has.
        type: path
      model:
        description: As O(model).
        type: str
      show:
        description: As O(show).
        type: dict
      num_ctx:
        description:
          - As O(num_ctx).
          - When omitted, that one.
        type: int
  headers:
    description: Headers of files that need not be on the target, as M(gpuops.fleet.gguf_info) returned them in RV(gpuops.fleet.gguf_info#module:files).
    type: dict
  max_loaded_models:
    description: The server's setting C(OLLAMA_MAX_LOADED_MODELS), how many models it keeps in memory. V(0) means 3 for each GPU.
    type: int
    default: 0
  engine:
    description: The engine that places the model, V(0.17) for Ollama up to 0.24, V(0.30) for Ollama from 0.30 on.
    type: str
    choices: ["0.17", "0.30"]
    required: true
  num_ctx:
    description: Length of the context in tokens, of one request.
    type: int
    required: true
  num_parallel:
    description: How many requests the server answers at once, each with its own context.
    type: int
    default: 1
  kv_cache_type:
    description: Type of the values in the KV cache. Anything but V(f16) needs O(flash_attention).
    type: str
    choices: [f16, q8_0, q4_0]
    default: f16
  flash_attention:
    description: Whether flash attention is used, as Ollama does by itself on GPUs of compute capability 6.0 and newer.
    type: bool
    default: true
  sched_spread:
    description: The server's setting C(OLLAMA_SCHED_SPREAD), which spreads a model over all GPUs even where fewer would do.
    type: bool
    default: false
  gpus:
    description:
      - The GPUs that the server gets.
      - When omitted, all GPUs of the facts.
    type: list
    elements: dict
    suboptions:
      uuid:
        description: UUID of the GPU.
        type: str
        required: true
      free_mib:
        description:
          - Memory that is free for a model, in MiB.
          - When omitted, what is free according to the facts, less 205 MiB for the server's CUDA context.
        type: float
  reserve_mib:
    description:
      - Memory that stays free on each GPU, in MiB.
      - When omitted, what the engine keeps by itself, 457 with O(engine=0.17), 1024 with O(engine=0.30).
      - Where the server has C(OLLAMA_GPU_OVERHEAD) (engine V(0.17)) or C(LLAMA_ARG_FIT_TARGET) (engine V(0.30)), state 457 more than the former, or the latter.
    type: int
  allow_partial:
    description: With V(true), a model of which only a part fits on the GPUs is V(warn) instead of V(fail). It is never V(pass).
    type: bool
    default: false
  facts:
    description:
      - The facts to judge, as M(gpuops.fleet.gpu_facts) returned them in C(ansible_facts.gpu).
      - When omitted, they are read now, unless O(gpus) tells the free memory of every GPU.
    type: dict
seealso:
  - module: gpuops.fleet.gguf_info
  - module: gpuops.fleet.gpu_facts
  - module: gpuops.fleet.ollama_placement_check
"""

EXAMPLES = r"""
- name: Check that the model fits on the GPUs of this host
  gpuops.fleet.ollama_memory_plan:
    model: qwen3:32b
    engine: "0.30"
    num_ctx: 32768
    kv_cache_type: q8_0

- name: Check that two models fit beside each other
  gpuops.fleet.ollama_memory_plan:
    engine: "0.30"
    num_ctx: 8192
    models:
      - name: qwen3:32b
        model: qwen3:32b
        num_ctx: 32768
      - name: qwen3:8b
        model: qwen3:8b

- name: Look on the controller how a file would be spread over two cards that are still to be bought
  gpuops.fleet.ollama_memory_plan:
    file: /srv/models/model.gguf
    engine: "0.17"
    num_ctx: 8192
    num_parallel: 4
    gpus:
      - uuid: first
        free_mib: 22700
      - uuid: second
        free_mib: 22700
    fail_on: []
  delegate_to: localhost
"""

RETURN = r"""
checks:
  description: The one check, C(ollama.memory).
  returned: always, except when a parameter is not valid or the file cannot be read
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      sample: ollama.memory
    subject:
      description: The model.
      type: str
      sample: qwen3:32b
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: fail
    summary:
      description: What is true, in one line.
      type: str
      sample: "only 53/65 layers fit on the GPUs (context 32768, 1 parallel, KV cache f16)"
    expected:
      description: What the rule wants.
      type: str
      sample: "all 65 layers on GPUs"
    evidence:
      description: What was computed. The value is null when it could not be.
      type: list
      elements: dict
      contains:
        source:
          description: Where it comes from.
          type: str
          sample: "plan of engine 0.17 by GPU, with reserve"
        value:
          description: What was there.
          type: raw
          sample: "GPU-11111111-2222-3333-4444-555555555555: 22545 of 22938 MiB, 53 layers"
    remedy:
      description: What to do; empty when there is nothing to do.
      type: str
      sample: "one of: kv_cache_type q4_0; num_ctx 12288; 1 more GPU with 22938 MiB free"
status:
  description: The worst status; the order is V(fail), V(unknown), V(warn), V(pass), V(skipped).
  returned: always, except when a parameter is not valid or the file cannot be read
  type: str
  sample: fail
msg:
  description: The statuses counted, and one line a check that is neither V(pass) nor V(skipped). On failure, one line a check that made the task fail.
  returned: always
  type: str
  sample: 1 pass
plan:
  description: The plan.
  returned: always, except when a parameter is not valid or the file cannot be read
  type: dict
  contains:
    gpus:
      description: One entry a GPU, in the order of O(gpus) or of the facts. With the verdict V(unknown), C(uuid) and C(free_mib) only.
      type: list
      elements: dict
      contains:
        uuid:
          description: UUID of the GPU.
          type: str
        layers:
          description: Number of layers on it.
          type: int
        weights_mib:
          description: Weights of these layers.
          type: int
        kv_mib:
          description: KV cache of these layers.
          type: int
        graph_mib:
          description: Compute graph; 0 on a GPU without layers.
          type: int
        reserve_mib:
          description: What stays free; 0 on a GPU without layers.
          type: int
        total_mib:
          description: Sum of the four.
          type: int
        free_mib:
          description: Memory that is free for a model; null when not known.
          type: int
      sample:
        - {uuid: GPU-1, layers: 33, weights_mib: 9386, kv_mib: 4224, graph_mib: 317, reserve_mib: 457, total_mib: 14384, free_mib: 22938}
    total_layers:
      description: The model's blocks, and the output.
      type: int
      sample: 65
    layers_on_gpus:
      description: How many of them the GPUs hold; null with the verdict V(unknown).
      type: int
      sample: 65
    verdict:
      description: V(fits), V(partial), V(no) or V(unknown).
      type: str
      sample: fits
    models:
      description: With several O(models), one entry a model of known size with C(name), C(gpus), C(total_layers), C(layers_on_gpus), C(verdict).
      type: list
      elements: dict
    uncounted:
      description: With several O(models), names of those whose size is not known.
      type: list
      elements: str
    advice:
      description: Changes of which each alone makes the model fit. Empty when it fits, or when none of them would do.
      type: list
      elements: str
      sample: [kv_cache_type q8_0, num_ctx 16384]
"""

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.now import read_now
from ansible_collections.gpuops.fleet.plugins.module_utils._module import CHECK_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import memory_fit, memory_model

SOURCE_ARGUMENTS: t.Dict[str, t.Any] = {"file": {"type": "path"}, "model": {"type": "str"}, "show": {"type": "dict"}}
MODEL_ARGUMENTS: t.Dict[str, t.Any] = dict(SOURCE_ARGUMENTS, name={"type": "str", "required": True}, num_ctx={"type": "int"})
TOGETHER_ARGUMENTS: t.Dict[str, t.Any] = {
    "models": {"type": "list", "elements": "dict", "options": MODEL_ARGUMENTS, "mutually_exclusive": [list(SOURCE_ARGUMENTS)]},
    "headers": {"type": "dict"},
    "max_loaded_models": {"type": "int", "default": 0},
}
OPTION_ARGUMENTS: t.Dict[str, t.Any] = {
    "engine": {"type": "str", "choices": list(memory_fit.ENGINES), "required": True},
    "num_ctx": {"type": "int", "required": True},
    "num_parallel": {"type": "int", "default": 1},
    "kv_cache_type": {"type": "str", "choices": list(memory_fit.KV_BYTES), "default": "f16"},
    "flash_attention": {"type": "bool", "default": True},
    "sched_spread": {"type": "bool", "default": False},
    "reserve_mib": {"type": "int"},
}
GPU_ARGUMENTS: t.Dict[str, t.Any] = {
    "gpus": {"type": "list", "elements": "dict", "options": {"uuid": {"type": "str", "required": True}, "free_mib": {"type": "float"}}},
    "allow_partial": {"type": "bool", "default": False},
}


def check(fleet: FleetModule) -> None:
    """Plan, judge, end the task."""
    params = fleet.params
    options = memory_fit.Options(**{name: params[name] for name in OPTION_ARGUMENTS})
    wanted = [wanted_of(one, options, params["headers"] or {}) for one in params["models"] or [dict(params, name=None)]]
    given = params["gpus"]
    stated = given is not None and all(gpu["free_mib"] is not None for gpu in given)
    seen = None if stated else fleet.facts(read_now)
    gpus = memory_fit.gpus_from(given, seen)
    if len(wanted) == 1 and wanted[0].model is not None:
        alone, options = wanted[0].model, wanted[0].options
        plan = memory_fit.plan(alone, gpus, options)
        fleet.finish_checks([memory_fit.check(alone, plan, options, params["allow_partial"])], plan=plan)
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import memory_together  # most servers have one model

    plan = memory_together.plan(wanted, gpus)
    fleet.finish_checks([memory_together.check(wanted, plan, params["max_loaded_models"], params["allow_partial"])], plan=plan)


def wanted_of(one: t.Dict[str, t.Any], options: memory_fit.Options, headers: t.Dict[str, t.Any]) -> memory_fit.Wanted:
    """A model with the options that the server runs it with. `one`: an entry of `models`, or the parameters of the task, `name` being None then."""
    if one.get("num_ctx") is not None:
        options = dataclasses.replace(options, num_ctx=one["num_ctx"])
    model = model_of(one, headers)
    if model is None:
        return memory_fit.Wanted(one["name"], None, options)
    return memory_fit.Wanted(one["name"] or model.name, dataclasses.replace(model, name=one["name"] or model.name), options, one["file"] or one["model"])


def model_of(one: t.Dict[str, t.Any], headers: t.Dict[str, t.Any]) -> t.Optional[memory_model.Model]:
    """The model from the one source that is given; None without one."""
    if one["model"]:
        return memory_model.from_catalogue(one["model"])
    if one["show"]:
        return memory_model.from_metadata("the shown model", one["show"].get("model_info"), one["show"].get("tensors"))
    if not one["file"]:
        return None
    known = headers.get(one["file"])
    if known is not None:
        if known.get("error"):
            raise EvidenceError(str(known["error"]), path=one["file"])
        return memory_model.from_metadata(one["file"], known.get("metadata"), known.get("tensors"), known.get("size"))
    # Imported here: a plan from the catalogue needs no reader of files.
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf

    header = gguf.read(one["file"])
    return memory_model.from_metadata(header.path, header.metadata, header.tensors, header.size)


def main() -> None:
    """Run the module."""
    FleetModule(
        dict(CHECK_ARGUMENTS, **SOURCE_ARGUMENTS, **TOGETHER_ARGUMENTS, **OPTION_ARGUMENTS, **GPU_ARGUMENTS),
        required_one_of=[list(SOURCE_ARGUMENTS) + ["models"]],
        mutually_exclusive=[list(SOURCE_ARGUMENTS) + ["models"]],
    ).run(check)


if __name__ == "__main__":
    main()
