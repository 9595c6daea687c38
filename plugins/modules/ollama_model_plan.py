#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_model_plan
short_description: Tell which models of which Ollama servers need work
description:
  - Compares the models of several servers with what is asked for, as M(gpuops.fleet.ollama_model) does for one, and tells what that module would do. One
    task for a whole host then tells for which models it is needed.
  - Reads only. A model file is not opened, its SHA-256 must have been remembered by M(gpuops.fleet.ollama_model).
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
options:
  servers:
    description: The servers and their models.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What the server is called in the answer.
        type: str
        required: true
      base_url:
        description: Address of the server, as seen from the target.
        type: str
        default: http://127.0.0.1:11434
      models:
        description: The models asked for. The suboptions are options of M(gpuops.fleet.ollama_model), and mean the same.
        type: list
        elements: dict
        required: true
        suboptions:
          name:
            description: Name of the model.
            type: str
            required: true
          file:
            description: GGUF file on the target.
            type: path
          source:
            description: Reference to pull.
            type: str
          parameters:
            description: Default options of the model.
            type: dict
          template:
            description: Prompt template of the model.
            type: str
          loaded:
            description: Whether the model is in memory.
            type: bool
  cache_directory:
    description: As for M(gpuops.fleet.ollama_model).
    type: path
    default: /var/lib/gpuops/ollama
seealso:
  - module: gpuops.fleet.ollama_model
"""

EXAMPLES = r"""
- name: Find out which models need work
  gpuops.fleet.ollama_model_plan:
    servers:
      - name: chat
        base_url: http://127.0.0.1:11434
        models:
          - name: qwen3:32b
            loaded: true
  register: wanted

- name: Have these models
  gpuops.fleet.ollama_model:
    name: "{{ item.model }}"
    loaded: true
  loop: "{{ wanted.plans | selectattr('steps') }}"
"""

RETURN = r"""
plans:
  description: One entry a model of a server, in the order in which they were given.
  returned: always, except on failure
  type: list
  elements: dict
  contains:
    server:
      description: The server's name, as it was given.
      type: str
    model:
      description: The model's name, as it was given.
      type: str
    steps:
      description:
        - What M(gpuops.fleet.ollama_model) would do, in order; empty when there is nothing to do. V(read) first where the checksum of a file is not remembered,
          and the other steps are not known.
      type: list
      elements: str
  sample:
    - {server: chat, model: "qwen3:32b", steps: [pull, load]}
error:
  description: Set when the task failed.
  returned: on failure
  type: dict
  contains:
    kind:
      description: Class of the error, V(policy) for a parameter, V(unreachable) or V(service) for a server.
      type: str
      sample: service
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf_file
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import QUICK_SECONDS, Json, OllamaApi, UnreachableError
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_model as verdicts
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import full_name

MODEL_ARGUMENTS: t.Dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "file": {"type": "path"},
    "source": {"type": "str"},
    "parameters": {"type": "dict"},
    "template": {"type": "str"},
    "loaded": {"type": "bool"},
}
SERVER_ARGUMENTS: t.Dict[str, t.Any] = {
    "name": {"type": "str", "required": True},
    "base_url": {"type": "str", "default": "http://127.0.0.1:11434"},
    "models": {"type": "list", "elements": "dict", "required": True, "options": MODEL_ARGUMENTS, "mutually_exclusive": [("file", "source")]},
}
ARGUMENTS: t.Dict[str, t.Any] = {
    "servers": {"type": "list", "elements": "dict", "required": True, "options": SERVER_ARGUMENTS},
    "cache_directory": {"type": "path", "default": "/var/lib/gpuops/ollama"},
}


def tell(fleet: FleetModule) -> None:
    """Read every server once, compare its models, end the task."""
    plans: t.List[Json] = []
    for server in fleet.params["servers"]:
        api = OllamaApi(server["base_url"], QUICK_SECONDS)
        wishes = [wish_of(model, fleet.params["cache_directory"]) for model in server["models"]]
        stored: t.Dict[str, Json] = {}
        running: t.List[Json] = []
        try:
            stored, running = api.models(), api.running()
        except UnreachableError as error:
            if not fleet.check_mode:
                raise
            fleet.warn("%s; in check mode it is taken for a server that is yet to be installed" % error.message)
        for model, wish in zip(server["models"], wishes):
            plans.append({"server": server["name"], "model": model["name"], "steps": ["read"] if wish is None else steps(api, wish, stored, running)})
    fleet.finish(plans=plans)


def wish_of(model: Json, cache_directory: str) -> t.Optional[verdicts.Wish]:
    """The model asked for; None while the checksum of its file is not known."""
    name, options = full_name(model["name"]), verdicts.parameters(model["parameters"])
    sha256 = gguf_file.remembered(model["file"], cache_directory) if model["file"] else None
    if model["file"] and sha256 is None:
        return None
    source = full_name(model["source"]) if model["source"] else None
    return verdicts.Wish(name=name, sha256=sha256, source=source, parameters=options, template=model["template"], loaded=model["loaded"])


def steps(api: OllamaApi, wish: verdicts.Wish, stored: t.Dict[str, Json], running: t.List[Json]) -> t.List[str]:
    """What is left to do for a model."""
    shown = api.show(wish.name) if wish.name in stored else None
    base = api.show(wish.source) if wish.source and wish.source in stored else None
    # Whether the weights have been sent matters only to a model that is not there as wished.
    return verdicts.plan(wish, verdicts.Have(models=stored, shown=shown, base=base, running=running))


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(tell)


if __name__ == "__main__":
    main()
