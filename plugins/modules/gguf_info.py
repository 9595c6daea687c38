#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gguf_info
short_description: Read the headers of GGUF files
description:
  - Reads metadata and the list of tensors of model files, never their weights, and tells of each file that is not there, no GGUF, damaged or cut.
  - M(gpuops.fleet.ollama_memory_plan) takes what this module returns, so that files of several hosts can be planned together.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
options:
  paths:
    description: Paths of the files on the target.
    type: list
    elements: path
    required: true
seealso:
  - module: gpuops.fleet.ollama_memory_plan
"""

EXAMPLES = r"""
- name: Know the model files of the host
  gpuops.fleet.gguf_info:
    paths:
      - /srv/models/qwen3-32b-q4_k_m.gguf
  register: models

- name: Plan two of them on one server
  gpuops.fleet.ollama_memory_plan:
    engine: "0.30"
    num_ctx: 8192
    headers: "{{ models.files }}"
    models:
      - name: large
        file: /srv/models/qwen3-32b-q4_k_m.gguf
      - name: qwen3:8b
        model: qwen3:8b
"""

RETURN = r"""
files:
  description: One entry a file, by its path as it was given.
  returned: always, except when a parameter is not valid
  type: dict
  sample: {/srv/models/tiny.gguf: {size: 487072, metadata: {general.architecture: llama}, tensors: [], error: ""}}
  contains:
    size:
      description: Size of the file in bytes; null when it could not be read.
      type: int
    metadata:
      description: The metadata; null in place of long values such as vocabularies.
      type: dict
    tensors:
      description: Name, type and shape of every tensor.
      type: list
      elements: dict
    error:
      description: Why the file is no usable model, in one line; empty when it is one.
      type: str
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule

ARGUMENTS = {"paths": {"type": "list", "elements": "path", "required": True}}


def read(fleet: FleetModule) -> None:
    """Read each file, end the task."""
    fleet.finish(files={path: of(path) for path in fleet.params["paths"]})


def of(path: str) -> t.Dict[str, t.Any]:
    """What the file at `path` says of itself, or why it says nothing."""
    try:
        header = gguf.read(path)
    except EvidenceError as error:
        return {"size": None, "metadata": {}, "tensors": [], "error": error.message}
    return {"size": header.size, "metadata": header.metadata, "tensors": header.tensors, "error": ""}


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(read)


if __name__ == "__main__":
    main()
