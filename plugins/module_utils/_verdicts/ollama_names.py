# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How Ollama names models, their weights and its own processes. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError

# Programs of the server, as the driver lists the processes on a GPU.
PROCESSES = ("ollama", "llama-server")
WEIGHTS = re.compile(r"^FROM \S*sha256[-:]([0-9a-f]{64})\s*$", re.MULTILINE)


def is_process(name: t.Any) -> bool:
    """Whether a process of this name is the server's own."""
    return any(word in str(name) for word in PROCESSES)


def full_name(name: str) -> str:
    """The name as the server lists it, with its tag. Raises PolicyError for what is no name."""
    name = name.strip()
    if not re.match(r"^[\w.:-]+(/[\w.:-]+){0,3}$", name):
        raise PolicyError("%r is not the name of a model (like qwen3:32b or host:5000/library/qwen3:32b)" % name, name=name)
    return name if ":" in name.rsplit("/", 1)[-1] else name + ":latest"


def manifest(name: str, insecure: bool) -> t.Dict[str, str]:
    """Where a model is pulled from: `url` of its manifest in the registry, and `stored`, where a server's store keeps it, below `models/manifests`."""
    path, _colon, tag = full_name(name).rpartition(":")
    parts = ["registry.ollama.ai", "library"][: 3 - min(3, path.count("/") + 1)] + path.split("/")
    host, repository = parts[0], "/".join(parts[1:])
    return {"url": "%s://%s/v2/%s/manifests/%s" % ("http" if insecure else "https", host, repository, tag), "stored": "%s/%s/%s" % (host, repository, tag)}


def weights(shown: t.Optional[t.Dict[str, t.Any]]) -> t.Optional[str]:
    """SHA-256 of the model's weights, from the Modelfile that `/api/show` returns."""
    match = WEIGHTS.search((shown or {}).get("modelfile") or "")
    return match.group(1) if match else None
