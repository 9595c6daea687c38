#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_placement_check
short_description: Check that an Ollama server computes a model on the GPUs
description:
  - Ollama falls back to the processor without an error. This module reads the server's log since the container was started, and the list of loaded
    models, and tells where the model really is.
  - C(ollama.gpus_accepted) compares the GPUs that the server took with O(expected_uuids).
  - C(ollama.library) tells what the server computes with, C(CUDA) expected.
  - C(ollama.offload) tells how many layers of O(model) are on GPUs, and how much on which. It is V(pass) only when log and list agree that all are.
  - C(ollama.balance) compares the bytes on each GPU with its free memory before the load, and tells of GPUs without any. V(skipped) without any on GPUs.
  - C(ollama.processes) asks the driver, as a witness beside the server, for processes of the container on each GPU where the log puts the model. It is
    V(unknown) when the driver sees none at all, and V(skipped) when the log puts nothing on GPUs.
  - C(ollama.context) compares the context length of the loaded model with O(num_ctx). V(skipped) when that is omitted.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
requirements:
  - The C(docker) command on the target
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
  - gpuops.fleet.checks
options:
  container:
    description:
      - Name or id of the container that Ollama runs in.
      - Exactly one of O(container) and O(servers) must be set.
    type: str
  model:
    description:
      - Name of the model. It must be loaded, or C(ollama.offload) is V(unknown).
      - Required with O(container).
    type: str
  servers:
    description: Several servers, checked in one task, with all their models that are to be in memory. The suboptions are as the options of these names.
    type: list
    elements: dict
    suboptions:
      container:
        description: Name or id of the container.
        type: str
        required: true
      base_url:
        description: Address of the server, as seen from the target.
        type: str
        default: http://127.0.0.1:11434
      expected_uuids:
        description: UUIDs of the GPUs that the server must take.
        type: list
        elements: str
      require_gpu:
        description: As O(require_gpu).
        type: bool
        default: true
      models:
        description: The models.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the model.
            type: str
            required: true
          num_ctx:
            description: As O(num_ctx).
            type: int
  base_url:
    description: Address of the server, as seen from the target.
    type: str
    default: http://127.0.0.1:11434
  expected_uuids:
    description: UUIDs of the GPUs that the server must take. When omitted, any GPU will do.
    type: list
    elements: str
  require_gpu:
    description: With V(false), a model that is computed on the processor is V(warn) instead of V(fail). It is never V(pass).
    type: bool
    default: true
  num_ctx:
    description: Context length, in tokens, that the model must be loaded with.
    type: int
  measure_tokens:
    description:
      - Length in tokens of a short answer that the loaded model is asked for, to measure its speed. It never loads a model.
      - With V(0) it is not asked. A model for embeddings is never asked.
    type: int
    default: 0
  facts:
    description:
      - Facts that were gathered after the model was loaded, as M(gpuops.fleet.gpu_facts) returned them in C(ansible_facts.gpu), for C(ollama.processes).
      - When omitted, the driver is asked now.
    type: dict
  timeout_seconds:
    description: Longest time that one command may take, in seconds.
    type: float
    default: 60
seealso:
  - module: gpuops.fleet.gpu_container_check
  - module: gpuops.fleet.ollama_model
"""

EXAMPLES = r"""
- name: Check that the model is on the server's GPUs
  gpuops.fleet.ollama_placement_check:
    container: ollama
    model: qwen3:32b
    expected_uuids: "{{ ansible_facts.gpu.devices | map(attribute='uuid') }}"
    fail_on: [fail, unknown]

- name: Check two models of a server in one task
  gpuops.fleet.ollama_placement_check:
    servers:
      - container: ollama
        models:
          - name: qwen3:32b
            num_ctx: 32768
          - name: nomic-embed-text
"""

RETURN = r"""
checks:
  description: One entry a check, in the order of checking.
  returned: always, except when a parameter is not valid
  type: list
  elements: dict
  contains:
    id:
      description: Name of the check.
      type: str
      sample: ollama.offload
    subject:
      description: The container, or the model.
      type: str
      sample: qwen3:32b
    status:
      description: One of V(pass), V(warn), V(fail), V(unknown), V(skipped). Missing evidence is V(unknown).
      type: str
      sample: fail
    summary:
      description: What is true, in one line.
      type: str
      sample: "part of the model runs on the processor: 60/65 layers on GPU"
    expected:
      description: What the rule wants.
      type: str
      sample: "every layer on a GPU"
    evidence:
      description: What was read. The value is null when it could not be read.
      type: list
      elements: dict
      contains:
        source:
          description: Where it was read.
          type: str
          sample: "server log: offloaded layers"
        value:
          description: What was there.
          type: raw
          sample: "60/65"
    remedy:
      description: What to do; empty when there is nothing to do.
      type: str
      sample: "a smaller num_ctx, a quantised KV cache, a smaller quantisation or a further GPU; leave num_gpu unset"
status:
  description: The worst status; the order is V(fail), V(unknown), V(warn), V(pass), V(skipped).
  returned: always, except when a parameter is not valid
  type: str
  sample: fail
msg:
  description: The statuses counted, and one line a check that is neither V(pass) nor V(skipped). On failure, one line a check that made the task fail.
  returned: always
  type: str
  sample: 2 pass
placement:
  description: What the log says about the last load of the model; null when it could not be read. The first one with O(servers).
  returned: always, except when a parameter is not valid
  type: dict
  contains:
    verdict:
      description: One of V(full), V(partial), V(cpu), V(failed), V(incomplete).
      type: str
      sample: partial
    library:
      description: What the server computes with.
      type: str
      sample: CUDA
    offloaded:
      description: Layers on GPUs, and all layers; null when the log does not tell.
      type: list
      elements: int
      sample: [60, 65]
    gpu_layers:
      description: Number of layers by GPU UUID, where the log tells it.
      type: dict
      sample: {"GPU-11111111-2222-3333-4444-555555555555": 60}
    gpu_bytes:
      description: Bytes of GPU memory by Ollama's name of the device.
      type: dict
      sample: {"CUDA0": 14423372594}
    gpu_mib:
      description: MiB of GPU memory by GPU UUID, or by Ollama's name of the device where the log does not tell the UUID.
      type: dict
      sample: {"GPU-11111111-2222-3333-4444-555555555555": 13755}
    tokens_per_second:
      description: Speed of the short answer; null when the model was not asked, or did not answer.
      type: float
      sample: 11.4
placements:
  description: One entry a model of a server.
  returned: always, except when a parameter is not valid
  type: list
  elements: dict
  contains:
    container:
      description: The container, as it was given.
      type: str
    model:
      description: The model, as it was given.
      type: str
    placement:
      description: As RV(placement).
      type: dict
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import Check, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import containers, ollama_log
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import OllamaApi
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FAIL_ON_ARGUMENTS, FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_names, placement

MODEL_ARGUMENTS: t.Dict[str, t.Any] = {"name": {"type": "str", "required": True}, "num_ctx": {"type": "int"}}
SERVER_ARGUMENTS: t.Dict[str, t.Any] = {
    "container": {"type": "str", "required": True},
    "base_url": {"type": "str", "default": "http://127.0.0.1:11434"},
    "expected_uuids": {"type": "list", "elements": "str"},
    "require_gpu": {"type": "bool", "default": True},
    "models": {"type": "list", "elements": "dict", "required": True, "options": MODEL_ARGUMENTS},
}
ARGUMENTS: t.Dict[str, t.Any] = {
    "container": {"type": "str"},
    "model": {"type": "str"},
    "base_url": {"type": "str", "default": "http://127.0.0.1:11434"},
    "expected_uuids": {"type": "list", "elements": "str"},
    "require_gpu": {"type": "bool", "default": True},
    "num_ctx": {"type": "int"},
    "servers": {"type": "list", "elements": "dict", "options": SERVER_ARGUMENTS},
    "measure_tokens": {"type": "int", "default": 0, "no_log": False},
    "facts": {"type": "dict"},
    "timeout_seconds": {"type": "float", "default": 60},
}
PLACEMENT_KEYS = ("library", "offloaded", "gpu_layers", "gpu_bytes")
Json = t.Dict[str, t.Any]


class Witnesses:
    """What the driver says of the processes on GPUs: it is asked once for all containers, and Docker once for each, when the first model needs it."""

    def __init__(self, fleet: FleetModule) -> None:
        self._fleet = fleet
        self._processes: t.Any = None
        self._found: t.Dict[str, t.Any] = {}

    def of(self, container: str) -> t.Any:
        """The processes on GPUs and those of the container, as a `placement_processes.Witness`."""
        # Imported here: most answers need no further witness.
        from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gpu_processes
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement_processes

        fleet, limit = self._fleet, self._fleet.params["timeout_seconds"]
        if self._processes is None:
            given = fleet.params["facts"] is not None
            self._processes = gpu_processes.of_facts(fleet.facts(lambda run: {})) if given else gpu_processes.read(fleet.run_command, limit)
        if container not in self._found:
            found, reason = self._processes
            self._found[container] = placement_processes.Witness(found, gpu_processes.of_container(fleet.run_command, container, limit), reason)
        return self._found[container]


def check(fleet: FleetModule) -> None:
    """Read API and log of each server, judge, end the task."""
    params = fleet.params
    alone = dict(params, models=[{"name": params["model"], "num_ctx": params["num_ctx"]}])
    checks: t.List[Check] = []
    placements: t.List[Json] = []
    witnesses = Witnesses(fleet)
    for server in [alone] if params["servers"] is None else params["servers"]:
        log = read_log(fleet, server["container"], params["timeout_seconds"])
        for model in server["models"]:
            found, placed = of_model(fleet, server, model, log, witnesses)
            # What is about the container is the same for all its models.
            checks += [one for one in found if one not in checks]
            placements.append({"container": server["container"], "model": model["name"], "placement": placed})
    fleet.finish_checks(checks, placement=placements[0]["placement"] if placements else None, placements=placements)


def of_model(
    fleet: FleetModule, server: Json, one: Json, log: t.Tuple[t.Optional[str], str], witnesses: Witnesses
) -> t.Tuple[t.List[Check], t.Optional[Json]]:
    """The checks of one model, and its placement. `log`: text of the server's log, or None and the reason."""
    params, model, (text, log_reason) = fleet.params, ollama_names.full_name(one["name"]), log
    digest, shown, running, api_reason = read_api(server["base_url"], params["timeout_seconds"], model)
    parsed = None if text is None else ollama_log.parse(text, ollama_names.weights(shown))
    embedding = placement.embedding_bytes((shown or {}).get("tensors"))
    ask = placement.Ask(server["container"], model, digest, server["expected_uuids"], server["require_gpu"], one["num_ctx"])
    info = (shown or {}).get("model_info") or {}
    trained = info.get("%s.context_length" % info.get("general.architecture"))
    # Where the log puts nothing on GPUs, the driver is not asked.
    seen = witnesses.of(server["container"]) if parsed and parsed["gpu_bytes"] else None
    checks = placement.check(ask, placement.Seen(parsed, running, embedding, trained, log_reason, api_reason, seen))
    if parsed is None:
        return checks, None
    mib = {parsed["device_uuids"].get(device, device): round(size / 2**20) for device, size in parsed["gpu_bytes"].items()}
    speed = measure(params, server["base_url"], model, running, shown)
    placed = dict({key: parsed[key] for key in PLACEMENT_KEYS}, verdict=placement.conclude(parsed, embedding), gpu_mib=mib, tokens_per_second=speed)
    return checks, placed


def measure(params: Json, base_url: str, model: str, running: t.Any, shown: t.Any) -> t.Optional[float]:
    """Tokens a second of a short answer; None when none is asked for, the model is not in memory, or it does not answer."""
    loaded = any(entry.get("name") == model for entry in running or ())
    if params["measure_tokens"] < 1 or not loaded or "completion" not in ((shown or {}).get("capabilities") or ["completion"]):
        return None
    try:
        speed = OllamaApi(base_url, params["timeout_seconds"]).measure(model, params["measure_tokens"])
    except ServiceError:
        return None
    return None if speed is None else round(speed, 1)


def read_api(base_url: str, timeout_seconds: float, model: str) -> t.Tuple[t.Any, t.Any, t.Any, str]:
    """The model's digest, what the server shows about it, the loaded models, and why any of them is None."""
    digest = shown = None
    try:
        api = OllamaApi(base_url, timeout_seconds)
        digest = (api.models().get(model) or {}).get("digest")
        # Ollama 0.30 and newer list tensors, which tell the size of the embedding, only when asked for details.
        shown = api.show(model, verbose=True) if digest else None
        return digest, shown, api.running(), ""
    except ServiceError as error:
        return digest, shown, None, error.message


def read_log(fleet: FleetModule, container: str, timeout_seconds: float) -> t.Tuple[t.Optional[str], str]:
    """The container's log since its start, or None and the reason."""
    state = containers.inspect(fleet.run_command, container, timeout_seconds)
    return containers.log(fleet.run_command, container, state["started_at"], timeout_seconds) if state["found"] else (None, state["reason"])


def main() -> None:
    """Run the module."""
    FleetModule(
        dict(ARGUMENTS, **FAIL_ON_ARGUMENTS),
        required_one_of=[("container", "servers")],
        required_together=[("container", "model")],
        mutually_exclusive=[("container", "servers"), ("model", "servers")],
    ).run(check)


if __name__ == "__main__":
    main()
