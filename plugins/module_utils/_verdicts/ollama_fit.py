# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to ask ollama_memory_plan about the models of a server. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_models import MODELS
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_settings import LLAMA_SERVER_SINCE
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_fit import CONTEXT_MIB, ENGINES
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import is_process

Json = t.Dict[str, t.Any]


def questions(server: Json) -> t.List[Json]:
    """What to ask about the models that `server` (as in `ollama_instances.resolve`) is to keep in memory at the same time: one question, or none.

    `server` (its name), `models` (names), `on_host` and `on_controller` (paths of their files), and `options`, those of the module ollama_memory_plan. A
    file is read where it is: on the host, or on the controller when it is still to be uploaded. A model that is pulled is known when the catalogue has it;
    of the others only the name is told. A model that is not to be loaded takes no memory.
    """
    version = ollama_settings.version(server.get("image"))
    settings = server["environment"]
    found: t.List[Json] = []
    files: t.Dict[str, t.List[str]] = {"file": [], "upload": []}
    for model in server["models"]:
        parameters = model.get("parameters") or {}
        # Whoever keeps a model off the GPUs on purpose is not told that it does not fit on them.
        if model.get("loaded", True) is False or str(parameters.get("num_gpu")) == "0":
            continue
        for key, paths in files.items():
            if model.get(key):
                paths.append(model[key])
        found.append(dict(_source(model), name=model["name"], num_ctx=int(parameters.get("num_ctx") or server.get("context_length") or 4096)))
    if not any("file" in one or "model" in one for one in found):
        return []
    options: Json = {
        "engine": ENGINES[1] if version is None or version >= LLAMA_SERVER_SINCE else ENGINES[0],
        "num_ctx": int(server.get("context_length") or 4096),
        "num_parallel": int(settings.get("OLLAMA_NUM_PARALLEL") or 1),
        "kv_cache_type": settings.get("OLLAMA_KV_CACHE_TYPE") or "f16",
        "flash_attention": str(settings.get("OLLAMA_FLASH_ATTENTION", "1")).lower() not in ("0", "false"),
        "sched_spread": settings.get("OLLAMA_SCHED_SPREAD") == "1",
        "max_loaded_models": int(settings.get("OLLAMA_MAX_LOADED_MODELS") or 0),
        "allow_partial": bool(server.get("allow_partial")),
        "models": found,
    }
    free = _free(server["devices"])
    if free is not None:
        options["gpus"] = free
    names = [one["name"] for one in found]
    return [{"server": server["name"], "models": names, "on_host": files["file"], "on_controller": files["upload"], "options": options}]


def _source(model: Json) -> Json:
    file = model.get("file") or model.get("upload")
    if file:
        return {"file": file}
    name = str(model.get("source") or model["name"])
    return {"model": name} if name in MODELS else {}


def _free(devices: t.Sequence[Json]) -> t.Optional[t.List[Json]]:
    """MiB that each GPU has for a model once the server's own processes let go of theirs, as they do to load one anew; None when a GPU does not tell."""
    found = []
    for device in devices:
        memory = device.get("memory") or {}
        if not device.get("uuid") or memory.get("total_mib") is None or memory.get("used_mib") is None:
            return None
        own = sum(one.get("used_memory_mib") or 0 for one in device.get("processes") or () if is_process(one.get("name")))
        free = memory["total_mib"] - (memory.get("reserved_mib") or 0) - max(0, memory["used_mib"] - own) - CONTEXT_MIB
        found.append({"uuid": device["uuid"], "free_mib": max(0, free)})
    return found
