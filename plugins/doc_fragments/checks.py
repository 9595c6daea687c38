# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of every module that judges facts: `_module.CHECK_ARGUMENTS`."""

from __future__ import annotations


class ModuleDocFragment:
    """What is judged, and which answers fail the task."""

    DOCUMENTATION = r"""
options:
  fail_on:
    description:
      - The task fails when a check ends with one of these statuses.
      - An empty list makes the task report only.
    type: list
    elements: str
    choices: [fail, unknown, warn, pass, skipped]
    default: [fail]
"""

    FACTS = r"""
options:
  facts:
    description:
      - The facts to judge, as M(gpuops.fleet.gpu_facts) returned them in C(ansible_facts.gpu).
      - When omitted, they are read now, with the subsets that this module judges.
    type: dict
"""
