# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has every GPU its share of a model, and has the model the context asked for. Private to gpuops.fleet: the names may change in any release.

Both engines give each GPU layers in proportion to its free memory, so equal cards with unequal loads mean that something else used them.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence

Json = t.Dict[str, t.Any]
# A share of the model may differ from the share of free memory by this much, and by one layer: layers are not divided, and the last one is larger.
TOLERANCE = 0.10
GIB = 2.0**30


def balance(model: str, expected: t.Optional[t.Sequence[str]], log: Json) -> Check:
    """`ollama.balance` of a loaded model, from `log` as `_evidence.ollama_log.parse` returns it; `expected`: UUIDs of the server's GPUs, None: any."""

    def answer(status: str, summary: str, remedy: str = "") -> Check:
        return Check("ollama.balance", model, status, summary, "every GPU of the server holds its share of the model", shown, remedy)

    sizes = {log["device_uuids"].get(device, device): size for device, size in log["gpu_bytes"].items()}
    total = sum(sizes.values())
    shown = [evidence("server log: bytes on %s" % gpu, size) for gpu, size in sorted(sizes.items())] or [evidence("server log: bytes on GPUs", None)]
    if not sizes:
        return answer(SKIPPED, "no GPU is known to hold a part of the model, which ollama.offload judges")
    gpus = _gpus(log, expected)
    if not gpus:
        remedy = "restart the container, so that its log begins with the discovery of GPUs, load the model and check again"
        return answer(UNKNOWN, "the log does not tell which GPUs the server has; the model is on %s" % ", ".join(sorted(sizes)), remedy)
    # Devices without a UUID can only be counted.
    unused = sorted(set(gpus) - set(sizes)) if set(sizes) <= set(gpus) else ["%d GPUs" % (len(gpus) - len(sizes))] * (len(sizes) < len(gpus))
    if unused and len(sizes) == 1 and not log["spread"]:
        return answer(PASS, "the model is on one of %d GPUs, as Ollama has it for a model that fits there" % len(gpus))
    if unused:
        number = "one" if len(gpus) - len(sizes) == 1 else str(len(gpus) - len(sizes))
        remedy = "see that the GPU is free when the model is loaded; leave main_gpu and LLAMA_ARG_TENSOR_SPLIT unset, and load the model again"
        return answer(WARN, "%s of %d GPUs unused: %s" % (number, len(gpus), ", ".join(unused)), remedy)
    parts = ", ".join("%s %.1f GiB (%d %%)" % (gpu, size / GIB, round(100.0 * size / total)) for gpu, size in sorted(sizes.items()))
    if len(sizes) == 1:
        return answer(PASS, "the model is on the only GPU: %s" % parts)
    free = {gpu: gpus.get(gpu) for gpu in sizes}
    if not all(free.values()):
        remedy = "restart the container, load the model and check again, so that the log tells the free memory of each GPU"
        return answer(UNKNOWN, "the log does not tell the free memory of each GPU; the model has %s" % parts, remedy)
    memory = sum(size for size in free.values() if size)
    limit = TOLERANCE + 1.0 / max((log["offloaded"] or [1, len(sizes)])[1], 1)
    worst = max(sizes, key=lambda gpu: abs(sizes[gpu] / float(total) - (free[gpu] or 0) / float(memory)))
    if abs(sizes[worst] / float(total) - (free[worst] or 0) / float(memory)) <= limit:
        return answer(PASS, "the GPUs share the model as their free memory: %s" % parts)
    summary = "%s holds %d %% of the model with %d %% of the free memory: %s" % (
        worst, round(100.0 * sizes[worst] / total), round(100.0 * (free[worst] or 0) / memory), parts)  # fmt: skip
    return answer(WARN, summary, "see what else uses the GPUs when the model is loaded, leave LLAMA_ARG_TENSOR_SPLIT unset, and load the model again")


def _gpus(log: Json, expected: t.Optional[t.Sequence[str]]) -> t.Dict[str, t.Optional[int]]:
    """UUID (or Ollama's name of the device where the log tells no UUID) → free bytes. The GPUs that the server took, and those it should have."""
    gpus: t.Dict[str, t.Optional[int]] = {item["uuid"] or item["name"] or item["id"]: item["available"] for item in log["accepted"] or ()}
    if gpus and all(item["uuid"] for item in log["accepted"]):
        for uuid in expected or ():
            gpus.setdefault(uuid, None)
    return gpus


def context(model: str, asked: t.Optional[int], entry: Json, log: t.Optional[Json], trained: t.Optional[int]) -> Check:
    """`ollama.context`: the length that the model was loaded with (`entry` of `/api/ps`, else `log`) against the one `asked` for, in tokens.

    `trained`: the longest that the model knows, to which the server cuts; None when unknown.
    """

    def answer(status: str, summary: str, remedy: str = "") -> Check:
        return Check("ollama.context", model, status, summary, wanted, shown, remedy)

    found, source = entry.get("context_length"), "/api/ps: context_length"
    if not found:
        found, source = (log or {}).get("context"), "server log: context of the load"
    shown = [evidence(source, found)]
    wanted = "a context of %s tokens" % ("any number of" if asked is None else asked)
    if asked is None:
        return answer(SKIPPED, "no context length was asked for; the model has %s tokens" % (found or "an unknown number of"))
    if not found:
        return answer(UNKNOWN, "neither list nor log tells the context length", "unload the model, load it again, check again")
    if found == asked:
        return answer(PASS, "the model has a context of %d tokens" % found)
    if trained and found == trained < asked:
        return answer(WARN, "the server cut the context to the %d tokens that the model was trained for" % trained, "ask for at most %d" % trained)
    remedy = "set num_ctx in the parameters of the model and load it anew; a request with another num_ctx makes the server load it with that"
    if found < asked:
        return answer(FAIL, "the model has a context of %d tokens instead of %d: longer input is cut silently" % (found, asked), remedy)
    return answer(WARN, "the model has a context of %d tokens instead of %d, which takes more GPU memory" % (found, asked), remedy)
