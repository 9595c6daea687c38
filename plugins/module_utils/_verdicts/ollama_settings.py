# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a setting that somebody wrote down does on the engine that is deployed. Private to gpuops.fleet: the names may change in any release.

A name that is read is checked and passed on. A name that circulates in guides but is read by nothing is taken for what its writer wants: the
setting that has this effect is set in its place, or the reason is told why none is needed. Other names are refused.
"""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_settings import INTENTIONS, LLAMA_SERVER_SINCE, OWN, SETTINGS

MIB = 1024 * 1024


def version(text: t.Optional[str]) -> t.Optional[t.Tuple[int, ...]]:
    """The version in an image reference or an answer of `/api/version`: `ollama/ollama:0.17.4@sha256:…` is (0, 17, 4); None without one."""
    found = re.search(r"(?:^|[:v])(\d+\.\d+(?:\.\d+)?)(?![\d.])", str(text or "").partition("@")[0])
    return tuple(int(part) for part in found.group(1).split(".")) if found else None


def translate(settings: t.Dict[str, t.Any], engine: t.Optional[t.Tuple[int, ...]]) -> t.Dict[str, t.Any]:
    """The effect of `settings` (name → value) on a server of version `engine`; None is taken for the newest.

    Returns `environment` (name → text, for the server), `parameters` (options that every model gets where it names none itself), `gpus` (the
    choice of GPUs that was meant, or None), `sched_spread` (True when it was meant, else None), `notices` (one line a setting that is read by
    nothing: what was done in its place, and why) and `problems` (one line a setting that cannot be taken).
    """
    result: t.Dict[str, t.Any] = {"environment": {}, "parameters": {}, "gpus": None, "sched_spread": None, "notices": [], "problems": []}
    for name, value in settings.items():
        _Setting(str(name), value, engine is None or engine >= LLAMA_SERVER_SINCE, result).take()
    return result


class _Setting:
    """One setting. `llama`: the engine reads LLAMA_ARG_*. `result` as `translate` returns it."""

    def __init__(self, name: str, value: t.Any, llama: bool, result: t.Dict[str, t.Any]):
        self.written, self.llama, self.result = name, llama, result
        self.name = name.lstrip("-").replace("-", "_") if name.startswith("-") else name
        self.text = _text(value)

    def take(self) -> None:
        if self.name in OWN:
            self._refuse("is set by the role: use %s" % OWN[self.name])
        elif self.name in INTENTIONS:
            getattr(self, "_" + INTENTIONS[self.name])()
        elif self.name not in SETTINGS:
            near = difflib.get_close_matches(self.name.upper(), list(SETTINGS) + list(OWN), n=1, cutoff=0.6)
            self._refuse("is no setting of the server; %s" % ("did you mean %s?" % near[0] if near else "known are %s" % ", ".join(sorted(SETTINGS))))
        elif not re.match("(?:%s)$" % SETTINGS[self.name], self.text):
            harm = "the server would ignore it or compute on the processor, without an error"
            self._refuse("is %s: it must match %s; otherwise %s" % (self.text or "empty", SETTINGS[self.name], harm))
        elif self.name.startswith("LLAMA_ARG_") and not self.llama:
            self._not_yet()
        elif self.name == "OLLAMA_GPU_OVERHEAD" and self.llama:
            self._overhead()
        else:
            self.result["environment"][self.name] = self.text
            if self.name == "LLAMA_ARG_N_GPU_LAYERS":
                self._note("passed on, and it turns the automatic fit off: what does not fit ends in out of memory instead of fewer layers on the GPUs")

    def _refuse(self, why: str) -> None:
        self.result["problems"].append("%s %s" % (self.written, why))

    def _note(self, why: str) -> None:
        self.result["notices"].append("%s=%s: %s" % (self.written, self.text, why))

    def _number(self) -> t.Optional[int]:
        """The value as a whole number; refuses and returns None when it is not one."""
        if re.match(r"-?\d+$", self.text):
            return int(self.text)
        self._refuse("is %s: a whole number was expected" % (self.text or "empty"))
        return None

    def _layers(self) -> None:
        number = self._number()
        if number == 0:
            self.result["parameters"]["num_gpu"] = 0
            self._note("the engine does not read it; done with num_gpu: 0 in the parameters of every model, which keeps it on the processor")
        elif number is not None:
            self._note("the engine does not read it, and nothing is needed in its place: every layer that fits goes to the GPUs. "
                       "A fixed number would leave layers on the processor or end in out of memory; to want that, set num_gpu in the parameters of a model")

    def _offload(self) -> None:
        if self.text in ("0", "false", "False"):
            self.result["parameters"]["num_gpu"] = 0
            self._note("the engine does not read it; done with num_gpu: 0 in the parameters of every model, which keeps it on the processor")
        else:
            self._note("Ollama does not read it, and needs nothing in its place: layers go to the GPUs by themselves")

    def _split(self) -> None:
        if not re.match(SETTINGS["LLAMA_ARG_TENSOR_SPLIT"] + "$", self.text):
            self._refuse("is %s: proportions such as 1,1 were expected" % (self.text or "empty"))
            return
        self.result["sched_spread"] = True
        if self.llama:
            self.result["environment"]["LLAMA_ARG_TENSOR_SPLIT"] = self.text
            self._note("Ollama does not read it; done with LLAMA_ARG_TENSOR_SPLIT=%s and OLLAMA_SCHED_SPREAD=1 for the whole server" % self.text)
        else:
            self._note("this engine splits by free memory only; OLLAMA_SCHED_SPREAD=1 makes it use every GPU, proportions need Ollama 0.30 or newer")

    def _devices(self) -> None:
        items = [item.strip() for item in self.text.split(",") if item.strip()]
        if items == ["all"]:
            items = []
        elif not items or not all(re.match(r"(\d+|GPU-[0-9a-fA-F-]{4,36})$", item) for item in items):
            self._refuse("is %s: indices or UUIDs of GPUs were expected, or all" % (self.text or "empty"))
            return
        if self.result["gpus"] is not None and self.result["gpus"] != items:
            self._refuse("names other GPUs than the setting before it")
            return
        self.result["gpus"] = items
        self._note("taken for the choice of GPUs; the container gets %s and no other" % ("every GPU" if not items else "GPU " + ", ".join(items) + " by UUID"))

    def _device_count(self) -> None:
        self._note("Ollama does not read it; the GPUs of a server are chosen with gpus, for example {count: %s}" % self.text)

    def _memory_limit(self) -> None:
        instead = "LLAMA_ARG_FIT_TARGET (MiB that stay free on each GPU)" if self.llama else "OLLAMA_GPU_OVERHEAD (bytes that stay free on each GPU)"
        self._note("Ollama does not read it; what limits memory is %s, a smaller context, or fewer parallel requests" % instead)

    def _tensor_parallel(self) -> None:
        self.result["sched_spread"] = True
        self._note("Ollama has no tensor parallelism; done with OLLAMA_SCHED_SPREAD=1, which spreads the layers of a model over all GPUs")

    def _threads(self) -> None:
        number = self._number()
        if number is not None:
            self.result["parameters"]["num_thread"] = number
            self._note("Ollama does not read it; done with num_thread: %d in the parameters of every model" % number)

    def _nccl(self) -> None:
        self.result["environment"][self.name] = self.text
        self._note("passed on, and without effect: the engine of GGUF models does not use NCCL. The server's log names the GPUs of each model by itself")

    def _nothing(self) -> None:
        self._note("no version since 0.17 reads it; left out")

    def _not_yet(self) -> None:
        if self.name == "LLAMA_ARG_FIT_TARGET":
            free = max(int(part) for part in self.text.split(","))
            self.result["environment"]["OLLAMA_GPU_OVERHEAD"] = str(free * MIB)
            self._note("this engine does not read it; done with OLLAMA_GPU_OVERHEAD=%d, as many bytes stay free on each GPU" % (free * MIB))
        elif self.name == "LLAMA_ARG_TENSOR_SPLIT":
            self._split()
        elif self.name == "LLAMA_ARG_N_GPU_LAYERS":
            self._layers()
        elif self.name == "LLAMA_ARG_THREADS":
            self.result["parameters"]["num_thread"] = int(self.text)
            self._note("this engine does not read it; done with num_thread: %s in the parameters of every model" % self.text)
        else:
            self._note("this engine does not read it, Ollama 0.30 and newer does; left out")

    def _overhead(self) -> None:
        free = -(-int(self.text) // MIB)
        self.result["environment"]["LLAMA_ARG_FIT_TARGET"] = str(max(free, 1024))
        self._note("since Ollama 0.30 it no longer moves layers; done with LLAMA_ARG_FIT_TARGET=%d, the MiB that stay free on each GPU" % max(free, 1024))


def _text(value: t.Any) -> str:
    """A value as it goes into an environment: YAML's booleans become 1 and 0, a list is joined with commas."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (list, tuple)):
        return ",".join(str(item).strip() for item in value)
    return str(value).strip()
