# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does Ollama compute on the GPUs it was given. Private to gpuops.fleet: the names may change in any release.

Ollama falls back to the processor without an error. So success needs two witnesses that agree: the server's log of the load, and the
running list (`/api/ps`). The list alone can be wrong: it repeats the size of the file where the log could not be read, and still names a
model whose process was just killed.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, UNKNOWN, WARN, Check, evidence

Json = t.Dict[str, t.Any]
FULL, PARTIAL, CPU, INCOMPLETE, FAILED = "full", "partial", "cpu", "incomplete", "failed"

# The input embedding always stays in host memory: 2 to 3 % of a model of 24 to 32 billion weights. Used where its true size is not known.
HOST_SHARE = 0.05
REDISCOVER = "the server looks for GPUs only when it starts: restart the container after the fault is mended"


def embedding_bytes(tensors: t.Optional[t.Sequence[Json]]) -> t.Optional[int]:
    """Bytes of the input embedding, from the `tensors` of `/api/show` ({name, type, shape}); None when they do not tell."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ggml_types import tensor_bytes  # only loads with tensors to weigh come here

    total = 0
    for tensor in tensors or ():
        if "token_embd" not in str(tensor.get("name")) or "norm" in str(tensor.get("name")):
            continue
        weights = 1
        for dimension in tensor.get("shape") or ():
            weights *= dimension
        size = tensor_bytes(str(tensor.get("type")), weights)
        if size is None:
            return None
        total += size
    return total or None


def conclude(log: Json, embedding: t.Optional[int] = None) -> str:
    """One word for what the log (as `_evidence.ollama_log.parse` returns it) says about a load.

    `full`: every layer on GPUs; `partial`: some; `cpu`: none; `failed`: placed, then broken; `incomplete`: the log does not tell.
    `offloaded N/N` is not enough for `full`: with expert tensors kept in host memory it is N/N too, so the weights in host memory
    must not be more than the input embedding (`embedding`, bytes).
    """
    if log["failure"]:
        return FAILED
    if log["library"] == "cpu":
        return CPU
    if log["offloaded"]:
        done, total = log["offloaded"]
        if done == 0:
            return CPU
        if done < total:
            return PARTIAL
        if log["cpu_model_bytes"] is None or not log["model_bytes"] or not log["gpu_bytes"]:
            return INCOMPLETE
        limit = HOST_SHARE * log["model_bytes"] if embedding is None else max(embedding * 1.05, HOST_SHARE * log["model_bytes"])
        return FULL if log["cpu_model_bytes"] <= limit else PARTIAL
    if log["committed"] and not log["gpu_layers"]:
        return CPU
    return INCOMPLETE


@dataclasses.dataclass(frozen=True)
class Ask:
    """What is asked: which GPUs (`expected_uuids` None: any) must which container use for which model (`digest`: what its name stands for now).

    `num_ctx`: with which context length, in tokens; None: any.
    """

    container: str
    model: str
    digest: t.Optional[str] = None
    expected_uuids: t.Optional[t.Sequence[str]] = None
    require_gpu: bool = True
    num_ctx: t.Optional[int] = None

    @property
    def without_gpu(self) -> str:
        """The status of work on the processor: a failure, or a warning where the user accepts it. It never is a pass."""
        return FAIL if self.require_gpu else WARN


@dataclasses.dataclass(frozen=True)
class Seen:
    """What was read: `log` (as `_evidence.ollama_log.parse` returns it) and `running` (entries of `/api/ps`), None with a reason when they could not be.

    `embedding`: bytes of the model's input embedding, `trained`: the longest context that the model knows in tokens; None when unknown.
    `witness`: what the driver says of processes on GPUs (`placement_processes.Witness`), None when it was not asked.
    """

    log: t.Optional[Json] = None
    running: t.Optional[t.Sequence[Json]] = None
    embedding: t.Optional[int] = None
    trained: t.Optional[int] = None
    log_reason: str = ""
    api_reason: str = ""
    witness: t.Any = None


class _Answers:
    """Builds the checks of one id about one subject. `fall_back` is for work that the processor does instead of a GPU."""

    def __init__(self, ask: Ask, check_id: str, subject: str, expected: str):
        self._ask, self._id, self._subject, self._expected = ask, check_id, subject, expected

    def answer(self, status: str, summary: str, seen: t.Sequence[Json], remedy: str = "") -> Check:
        return Check(self._id, self._subject, status, summary, self._expected, seen, remedy)

    def fall_back(self, summary: str, seen: t.Sequence[Json], remedy: str) -> Check:
        if not self._ask.require_gpu:
            summary += ", accepted by require_gpu: false"
            remedy = "none as long as the processor is meant; otherwise %s" % remedy
        return self.answer(self._ask.without_gpu, summary, seen, remedy)

    def unread(self, what: str, source: str, why: str) -> Check:
        remedy = "see that the container runs, that the server answers, and that docker logs can read its log"
        return self.answer(UNKNOWN, "%s could not be read%s" % (what, ": " + why if why else ""), [evidence(source, None)], remedy)


def check(ask: Ask, seen: Seen) -> t.List[Check]:
    """The checks `ollama.gpus_accepted`, `ollama.library`, `ollama.offload`, `ollama.balance`, `ollama.context` and `ollama.processes`."""
    loaded = [_of_loaded(ask, seen, name) for name in ("ollama.balance", "ollama.context", "ollama.processes")]
    return [_accepted(ask, seen), _library(ask, seen), _offload(ask, seen)] + loaded


def _of_loaded(ask: Ask, seen: Seen, check_id: str) -> Check:
    """A check that follows ollama.offload: about a model that is loaded."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement_share  # only a loaded model has shares

    to = _Answers(ask, check_id, ask.model, "as for ollama.offload")
    entry = None if seen.running is None else _entry(seen.running, ask)
    if seen.running is None:
        return to.unread("the list of loaded models", "/api/ps", seen.api_reason)
    if entry is None:
        return to.answer(UNKNOWN, "the model is not loaded", [evidence("/api/ps", None)], "as for ollama.offload")
    if check_id == "ollama.context":
        return placement_share.context(ask.model, ask.num_ctx, entry, seen.log, seen.trained)
    if seen.log is None:
        return to.unread("the server's log", "server log", seen.log_reason)
    if check_id == "ollama.processes":
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement_processes

        return placement_processes.check(ask.model, seen.log, seen.witness)
    return placement_share.balance(ask.model, ask.expected_uuids, seen.log)


def _accepted(ask: Ask, seen: Seen) -> Check:
    log, expected = seen.log, ask.expected_uuids
    wanted = "the server takes %s" % (", ".join(sorted(expected)) if expected else "at least one GPU")
    to = _Answers(ask, "ollama.gpus_accepted", ask.container, wanted)
    if log is None:
        return to.unread("the server's log", "server log", seen.log_reason)
    if log["accepted"] is None:
        remedy = "restart the container, so that its log begins with the discovery of GPUs, and check again"
        return to.answer(UNKNOWN, "the log does not hold the server's discovery of GPUs", [evidence("server log: inference compute", None)], remedy)
    source = "server log: inference compute"
    shown = [evidence(source, "%s (%s)" % (_item(item), item["library"])) for item in log["accepted"]] or [evidence(source, "cpu only")]
    if not log["accepted"]:
        return to.fall_back("the server took no GPU", shown + _notes(log), _why_cpu(log))
    found = {item["uuid"] for item in log["accepted"] if item["uuid"]}
    if expected is None:
        return to.answer(PASS, "the server took %d GPUs" % len(log["accepted"]), shown)
    if len(found) < len(log["accepted"]) == len(expected):
        remedy = "address the GPUs by UUID when the container is created"
        return to.answer(UNKNOWN, "the server took %d GPUs, but the log does not tell which" % len(expected), shown, remedy)
    missing, extra = sorted(set(expected) - found), sorted(found - set(expected))
    if missing or extra:
        parts = (["missing %s" % ", ".join(missing)] if missing else []) + (["not asked for %s" % ", ".join(extra)] if extra else [])
        summary = "the server took %d of %d GPUs: %s" % (len(found & set(expected)), len(expected), "; ".join(parts))
        return to.fall_back(summary, shown + _notes(log), _why_cpu(log))
    return to.answer(PASS, "the server took exactly the %d GPUs asked for" % len(found), shown)


def _library(ask: Ask, seen: Seen) -> Check:
    to = _Answers(ask, "ollama.library", ask.container, "CUDA")
    if seen.log is None:
        return to.unread("the server's log", "server log", seen.log_reason)
    library = seen.log["library"]
    shown = [evidence("server log: library", library)]
    if library is None:
        return to.answer(UNKNOWN, "the log does not tell what the server computes with", shown, "restart the container and check again")
    if library == "CUDA":
        return to.answer(PASS, "the server computes with CUDA", shown)
    if library == "cpu":
        return to.fall_back("the server computes on the processor", shown + _notes(seen.log), _why_cpu_again(seen.log))
    remedy = "set OLLAMA_VULKAN=0 and see why CUDA was refused (driver version, compute capability); %s" % REDISCOVER
    return to.fall_back("the server computes with %s instead of CUDA" % library, shown + _notes(seen.log), remedy)


def _offload(ask: Ask, seen: Seen) -> Check:
    to = _Answers(ask, "ollama.offload", ask.model, "every layer on a GPU")
    log = seen.log
    if seen.running is None:
        return to.unread("the list of loaded models", "/api/ps", seen.api_reason)
    entry = _entry(seen.running, ask)
    if entry is None:
        shown = [evidence("/api/ps", ", ".join(str(item.get("name")) for item in seen.running) or "no model")]
        return to.answer(UNKNOWN, "the model is not loaded, so there is no placement to judge", shown, "load it (ollama_model with loaded: true)")
    if log is None:
        return to.unread("the server's log", "server log", seen.log_reason)
    size, in_gpu_memory = entry.get("size") or 0, entry.get("size_vram") or 0
    shown = [evidence("/api/ps: size_vram of size", "%s of %s bytes" % (in_gpu_memory, size))] + _load_evidence(log)
    verdict = conclude(log, seen.embedding)
    if verdict == FAILED:
        return to.answer(FAIL, "the load broke: %s" % log["failure"], shown, "read the lines around it in docker logs, then load the model again")
    if verdict == CPU or (size and not in_gpu_memory):
        return to.fall_back("the model runs on the processor", shown + _notes(log), _why_cpu_again(log))
    if verdict == PARTIAL or in_gpu_memory < size:
        remedy = "a smaller num_ctx, a quantised KV cache, a smaller quantisation or a further GPU; leave num_gpu unset"
        return to.fall_back("part of the model runs on the processor: %s" % _layers(log), shown, remedy)
    if verdict == INCOMPLETE:
        remedy = "unload the model, load it again, check again"
        return to.answer(UNKNOWN, "the log since the start of the container does not hold the whole load of this model", shown, remedy)
    return to.answer(PASS, _layers(log), shown)


def _entry(running: t.Sequence[Json], ask: Ask) -> t.Optional[Json]:
    """The running entry of the model: same name, and same digest where it is known (a model made anew under its name is not the one in memory)."""
    return next((entry for entry in running if entry.get("name") == ask.model and ask.digest in (None, entry.get("digest"))), None)


def _layers(log: Json) -> str:
    """`65/65 layers on GPU: GPU-… 33 layers 13.4 GiB, GPU-… 32 layers 13.4 GiB`."""
    count = "%d/%d layers on GPU" % tuple(log["offloaded"]) if log["offloaded"] else "number of layers unknown"
    names = {device: log["device_uuids"].get(device, device) for device in log["gpu_bytes"]}
    parts = []
    for device, size in sorted(log["gpu_bytes"].items()):
        layers = log["gpu_layers"].get(names[device])
        parts.append("%s%s %.1f GiB" % (names[device], "" if layers is None else " %d layers" % layers, size / 2.0**30))
    return count + (": " + ", ".join(parts) if parts else "")


def _load_evidence(log: Json) -> t.List[Json]:
    found = []
    if log["offloaded"]:
        found.append(evidence("server log: offloaded layers", "%d/%d" % tuple(log["offloaded"])))
    if log["cpu_model_bytes"] is not None:
        found.append(evidence("server log: weights in host memory", "%.1f MiB" % (log["cpu_model_bytes"] / 2.0**20)))
    return found or [evidence("server log: load of the model", None)]


def _notes(log: Json) -> t.List[Json]:
    notes = [evidence("server log", "%s (%d times)" % (text, number)) for text, number in sorted(log["notes"].items())]
    if log["driver_too_old"]:
        notes.insert(0, evidence("server log: NVIDIA driver too old", "%d GPUs dropped, required %s" % (log["driver_too_old"], log["required_driver"])))
    return notes


def _why_cpu(log: Json) -> str:
    """What to do about GPUs that the server did not take."""
    if log["driver_too_old"]:
        return "install driver branch %s; %s" % (log["required_driver"] or "that this version of Ollama asks for", REDISCOVER)
    causes = "see that the GPUs are inside the container (gpu_container_check) and not excluded by OLLAMA_LLM_LIBRARY or CUDA_VISIBLE_DEVICES"
    return "%s; %s" % (causes, REDISCOVER)


def _why_cpu_again(log: Json) -> str:
    """The same for the checks that follow from it."""
    return "as for ollama.gpus_accepted" if log["accepted"] == [] else _why_cpu(log)


def _item(item: t.Dict[str, str]) -> str:
    return " ".join(part for part in (item["uuid"] or item["id"], item["description"]) if part)
