# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ollama_table
short_description: Where the models of a host are computed, as a table
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Makes plain text of what the role C(gpuops.fleet.ollama) proved. One line a server and model, with the layers and the memory of each GPU.
options:
  _input:
    description: The servers, as in C(ollama_result.servers).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Show where the models are
  ansible.builtin.debug:
    msg: "{{ ollama_result.servers | gpuops.fleet.ollama_table }}"
"""

RETURN = r"""
_value:
  description: The table, lines separated by line breaks, without one at the end.
  type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

HEAD = ("server", "GPUs", "model", "layers on GPU", "MiB by GPU", "tokens/s", "URL")
GAP = "  "
# A UUID is told apart by its beginning, as `nvidia-smi -i` and Docker take it too.
SHORT = 12


def ollama_table(servers: t.Any) -> str:
    """See DOCUMENTATION."""
    try:
        rows = [row for server in servers for row in _rows(server)]
    except (TypeError, AttributeError, KeyError, IndexError) as error:
        raise AnsibleFilterError("gpuops.fleet.ollama_table: not servers as the role ollama noted them: %s" % error) from error
    widths = [max(len(row[column]) for row in [HEAD, *rows]) for column in range(len(HEAD))]
    return "\n".join(GAP.join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in [HEAD, *rows])


def _rows(server: t.Dict[str, t.Any]) -> t.List[t.Tuple[str, ...]]:
    gpus = ", ".join(uuid[:SHORT] for uuid in server["gpus"])
    models = server["models"] or {"-": None}
    return [(server["name"], gpus, model, _layers(placed), _memory(placed), _speed(placed), server["url"]) for model, placed in models.items()]


def _layers(placed: t.Optional[t.Dict[str, t.Any]]) -> str:
    if not placed:
        return "not known"
    if placed["library"] == "cpu":
        return "none (processor)"
    return "%s/%s" % tuple(placed["offloaded"]) if placed["offloaded"] else "not known"


def _memory(placed: t.Optional[t.Dict[str, t.Any]]) -> str:
    return " + ".join(str(size) for _gpu, size in sorted(((placed or {}).get("gpu_mib") or {}).items())) or "-"


def _speed(placed: t.Optional[t.Dict[str, t.Any]]) -> str:
    speed = (placed or {}).get("tokens_per_second")
    return "-" if speed is None else "%.1f" % speed


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"ollama_table": ollama_table}
