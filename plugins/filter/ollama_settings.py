# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: ollama_settings
short_description: What settings of an Ollama server do on the version that is deployed
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Checks the settings that the server or its engine reads.
  - Settings that circulate in guides and that nothing reads, for example C(OLLAMA_NUM_GPU_LAYERS) or C(--gpu-layers), are taken for what they are meant to do.
    The setting that has this effect takes their place, or a notice tells why none is needed.
options:
  _input:
    description: Settings of the server, by name of the environment variable or of the command line flag.
    type: dict
    required: true
  engine:
    description:
      - Version of Ollama, or a reference of an image whose tag tells it, for example V(ollama/ollama:0.17.4).
      - Without a version in it, the newest is assumed.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Show what is written down to no effect
  ansible.builtin.debug:
    msg: "{{ ({'OLLAMA_NUM_GPU_LAYERS': 60} | gpuops.fleet.ollama_settings('ollama/ollama:0.17.4')).notices }}"
"""

RETURN = r"""
_value:
  description: The effect of the settings.
  type: dict
  contains:
    environment:
      description: Variables of the server, by name.
      type: dict
    parameters:
      description: Options that every model gets where it names none itself.
      type: dict
    gpus:
      description: The choice of GPUs that a setting meant, an empty list for all; null when none did.
      type: list
      elements: str
    sched_spread:
      description: V(true) when a setting meant that models are spread over all GPUs; null when none did.
      type: bool
    notices:
      description: One line for each setting that is read by nothing, with what was done in its place.
      type: list
      elements: str
    problems:
      description: One line for each setting that cannot be taken.
      type: list
      elements: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import ollama_settings as verdicts


def ollama_settings(settings: t.Any, engine: str = "") -> t.Dict[str, t.Any]:
    """The effect of settings; see DOCUMENTATION."""
    if not isinstance(settings, dict):
        raise AnsibleFilterError("gpuops.fleet.ollama_settings: a dictionary of settings is needed, not %s" % type(settings).__name__)
    return verdicts.translate(settings, verdicts.version(engine))


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"ollama_settings": ollama_settings}
