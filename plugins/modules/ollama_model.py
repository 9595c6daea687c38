#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ollama_model
short_description: Create, pull, load or remove a model of an Ollama server
description:
  - Works through Ollama's HTTP API, so the server may run in a container or not.
  - A model comes from a GGUF file on the target (O(file)), or from a registry (O(source), or the model's own name).
  - What the server has is compared with what is asked for (digest of the weights, options, template), and only what is missing is done. The
    result is read from the server afresh before the task ends well.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
attributes:
  check_mode:
    support: full
    details:
      - In check mode a server that does not answer is taken for one that is yet to be installed, with a warning. The model is then reported as changed.
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - The second run neither reads the file (its SHA-256 is remembered in O(cache_directory)) nor asks a registry.
options:
  name:
    description:
      - Name of the model on the server, with or without a tag. Without one it is C(latest).
      - Write models of Ollama's own registry without host and without C(library/).
    type: str
    required: true
  state:
    description: Whether the server has the model. V(absent) takes it out of memory too.
    type: str
    choices: [present, absent]
    default: present
  base_url:
    description: Address of the server, as seen from the target.
    type: str
    default: http://127.0.0.1:11434
  file:
    description:
      - Path of a GGUF file on the target. It is sent to the server when the server does not have it yet.
      - Mutually exclusive with O(source).
    type: path
  cache_directory:
    description: Where the SHA-256 of O(file) is remembered, by path, size and modification time.
    type: path
    default: /var/lib/gpuops/ollama
  source:
    description:
      - Reference to pull, if it is not O(name), for example C(mirror.example:5000/library/qwen3:32b). The model keeps this name too; O(name) is a second one
        for the same files, or a model derived from it when O(parameters) or O(template) are given.
      - A model that the server has is not pulled again.
    type: str
  insecure:
    description: Allow a registry that speaks plain HTTP, or HTTPS with a certificate that cannot be verified.
    type: bool
    default: false
  parameters:
    description:
      - Default options of the model, for example C(num_ctx). The server ignores names that it does not know, so this module refuses them.
      - When given with O(file) or O(source), the model has exactly these options, on top of those of its source. Otherwise those not named stay as they are.
      - When omitted, the options of the model are left as they are.
    type: dict
  template:
    description:
      - Prompt template of the model. When omitted, it is left to the server.
      - Its double braces are Ollama's, not Ansible's, so mark the value as C(!unsafe) in a playbook.
    type: str
  loaded:
    description:
      - V(true) loads the model and keeps it in memory for ever (C(keep_alive) of -1), with the options of the model. Requests with other options, or with
        another C(keep_alive), make the server load it anew and forget this.
      - V(false) takes it out of memory. When omitted, this is left as it is.
      - Two models made from the same weights cannot be in memory together.
    type: bool
  pull:
    description:
      - With V(false) nothing is done when it would begin with a pull; RV(pull_needed) tells so. A first task can settle all that is quick, and a second one,
        with C(async), the pulls.
      - In check mode this makes no difference.
    type: bool
    default: true
  pull_attempts:
    description:
      - How often a pull is tried that breaks for a reason that may pass (a connection, a registry that does not answer). It goes on where it was, and is
        counted anew whenever more of the model has come.
    type: int
    default: 4
  progress_file:
    description:
      - "A file on the target that holds, while a pull goes on, one line such as C(qwen3:32b: 43 % of 18.8 GiB). It is replaced as a whole, and gone at
        the end."
      - When omitted, no progress is written.
    type: path
  store_path:
    description:
      - Where the server's model store lies on the target, such as the mount point of the container's volume. An upload or pull for which its file system
        has not enough free space is refused before anything is written.
      - When omitted, free space is not looked at.
    type: path
  timeout_seconds:
    description: Longest wait for one call that moves or loads a model, and longest time without progress of a pull, in seconds.
    type: float
    default: 3600
seealso:
  - module: gpuops.fleet.ollama_placement_check
"""

EXAMPLES = r"""
- name: Have a model from a file, loaded
  gpuops.fleet.ollama_model:
    name: qwen3-32b
    file: /srv/models/qwen3-32b-q4_k_m.gguf
    parameters:
      num_ctx: 32768
    loaded: true

- name: Pull a model from a mirror and give it its short name
  gpuops.fleet.ollama_model:
    name: qwen3:32b
    source: mirror.example:5000/library/qwen3:32b
    insecure: true

- name: Have a model with a template of its own
  gpuops.fleet.ollama_model:
    name: plain
    source: qwen3:8b
    template: !unsafe "{{ .Prompt }}"

- name: Remove a model
  gpuops.fleet.ollama_model:
    name: qwen3:8b
    state: absent
"""

RETURN = r"""
name:
  description: The model's name with its tag, as the server lists it.
  returned: always, except on failure
  type: str
  sample: qwen3-32b:latest
digest:
  description: The model's digest; null when the server does not have it.
  returned: always, except on failure
  type: str
  sample: 23c8500541f1e05d737819e28d4d4d12dfb882d7273c6c0e765ab644d6d0bcbd
size:
  description: Size of the model in bytes; null when the server does not have it.
  returned: always, except on failure
  type: int
  sample: 20201253588
loaded:
  description: Whether the model is in memory.
  returned: always, except on failure
  type: bool
  sample: true
steps:
  description: What was done, or would be in check mode, in order.
  returned: always, except on failure
  type: list
  elements: str
  sample: [upload, create, load]
pull_needed:
  description: With O(pull) of V(false), whether something is left to do that begins with a pull.
  returned: always, except on failure
  type: bool
  sample: false
error:
  description: Set when the task failed.
  returned: on failure
  type: dict
  contains:
    kind:
      description: Class of the error, V(policy) for a parameter, V(evidence) for the file, V(unreachable) or V(service) for the server, V(action).
      type: str
      sample: service
"""

import json
import os
import tempfile
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._actions import ollama_pull
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf_file
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import OllamaApi, UnreachableError
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_model as verdicts
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import full_name

ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "base_url": {"type": "str", "default": "http://127.0.0.1:11434"},
    "file": {"type": "path"},
    "cache_directory": {"type": "path", "default": "/var/lib/gpuops/ollama"},
    "source": {"type": "str"},
    "insecure": {"type": "bool", "default": False},
    "parameters": {"type": "dict"},
    "template": {"type": "str"},
    "loaded": {"type": "bool"},
    "pull": {"type": "bool", "default": True},
    "pull_attempts": {"type": "int", "default": 4},
    "progress_file": {"type": "path"},
    "store_path": {"type": "path"},
    "timeout_seconds": {"type": "float", "default": 3600},
}

# How long the server may take to show what it has confirmed.
SETTLE_SECONDS = 20


class Target:
    """The model on the server: reads it and does single steps."""

    def __init__(self, fleet: FleetModule):
        self._fleet = fleet
        params = fleet.params
        present = params["state"] == "present"
        if params["pull_attempts"] < 1:
            raise PolicyError("pull_attempts is %d: a pull needs at least one" % params["pull_attempts"])
        if not params["name"].strip():
            raise PolicyError("name is empty: name the model")
        if not present and params["loaded"]:
            raise PolicyError("loaded: true contradicts state: absent")
        name = full_name(params["name"])
        self._api = OllamaApi(params["base_url"], params["timeout_seconds"])
        options = verdicts.parameters(params["parameters"])
        self._file = gguf_file.read(params["file"], params["cache_directory"]) if present and params["file"] else None
        self.wish = verdicts.Wish(
            name=name,
            present=present,
            sha256=self._file.sha256 if self._file else None,
            source=full_name(params["source"]) if params["source"] else None,
            parameters=options,
            template=params["template"],
            loaded=params["loaded"],
        )

    def read(self) -> verdicts.Have:
        """The server's state now. Raises ServiceError."""
        wish, api = self.wish, self._api
        models = api.models()
        return verdicts.Have(
            models=models,
            shown=api.show(wish.name) if wish.name in models else None,
            base=api.show(wish.source) if wish.source and wish.source in models else None,
            running=api.running(),
            has_blob=bool(wish.sha256) and api.has_blob(str(wish.sha256)),
        )

    def settled(self) -> t.Tuple[verdicts.Have, t.List[str]]:
        """The server's state after the steps, and what is still left to do.

        The server answers an unload before it has ended the process that held the model, so a remainder is read again for a while.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            have = self.read()
            left = verdicts.plan(self.wish, have)
            if not left or time.monotonic() > deadline:
                return have, left
            time.sleep(0.5)

    def do(self, step: str) -> None:
        """Do one step of a plan. Raises ServiceError with what the server answered."""
        wish, api = self.wish, self._api
        if step == "upload" and self._file:
            ollama_pull.need_room(self._fleet.params["store_path"], self._file.size, wish.name)
            api.upload(self._file.sha256, self._file.path)
        elif step == "create":
            origin: t.Dict[str, t.Any] = {"files": {"model.gguf": "sha256:%s" % wish.sha256}} if wish.sha256 else {"from": wish.source or wish.name}
            api.create(wish.name, parameters=wish.parameters, template=wish.template, **origin)
        elif step == "pull":
            self._pull(wish.source or wish.name)
        elif step == "copy":
            api.copy(str(wish.source), wish.name)
        elif step == "load":
            api.load(wish.name, embedding="embedding" in ((api.show(wish.name) or {}).get("capabilities") or []))
        elif step == "unload":
            api.unload(wish.name)
        elif step == "delete":
            api.delete(wish.name)

    def _pull(self, name: str) -> None:
        params = self._fleet.params
        with ollama_pull.Note(params["progress_file"]) as note:
            note.write("%s: waiting for the server" % name)
            terms = ollama_pull.Terms(name, params["insecure"], params["pull_attempts"], params["timeout_seconds"], params["store_path"])
            ollama_pull.pull(self._api, terms, note)

    def remember_file(self) -> None:
        """Write down the SHA-256 of the file for the next run."""
        if self._file is None or self._file.remembered:
            return
        directory = self._fleet.params["cache_directory"]
        try:
            os.makedirs(directory, mode=0o755, exist_ok=True)
            handle, path = tempfile.mkstemp(dir=self._fleet.ansible.tmpdir)
            with os.fdopen(handle, "w", encoding="utf-8") as note:
                json.dump(self._file.note, note)
        except OSError as error:
            raise ActionError("cache_directory %s cannot be written: %s" % (directory, error.strerror)) from error
        self._fleet.ansible.atomic_move(path, gguf_file.note_path(directory, self._file.path))


def ensure(fleet: FleetModule) -> None:
    """Bring the model into the wished state, prove it, end the task."""
    target = Target(fleet)
    try:
        have = target.read()
    except UnreachableError as error:
        if not fleet.check_mode:
            raise
        fleet.warn("%s; in check mode it is taken for a server that is yet to be installed" % error.message)
        have = verdicts.Have()
    steps = verdicts.plan(target.wish, have)
    pull_needed = "pull" in steps and not fleet.params["pull"] and not fleet.check_mode
    if pull_needed:
        steps = []
    before = verdicts.summary(target.wish, have)
    after = verdicts.expected(target.wish, before, steps) if steps else before
    if not fleet.check_mode:
        target.remember_file()
        for step in steps:
            target.do(step)
        if steps:
            have, left = target.settled()
            if left:
                done = (target.wish.name, ", ".join(steps), ", ".join(left))
                raise ActionError("%s: %s went without an error, but the server still needs: %s" % done, steps=steps, left=left)
            after = verdicts.summary(target.wish, have)
    model = have.models.get(target.wish.name) or {}
    result: t.Dict[str, t.Any] = {
        "name": target.wish.name,
        "digest": model.get("digest"),
        "size": model.get("size"),
        "loaded": verdicts.resident(target.wish, have) is not None,
        "steps": steps,
        "pull_needed": pull_needed,
    }
    if fleet.diff_mode:
        result["diff"] = {"before": before, "after": after, "before_header": target.wish.name, "after_header": target.wish.name}
    fleet.finish(changed=bool(steps), **result)


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS, mutually_exclusive=[("file", "source")]).run(ensure)


if __name__ == "__main__":
    main()
