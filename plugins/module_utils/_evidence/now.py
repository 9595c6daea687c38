# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of this host, read only when they were not given. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t


def read_now(run: t.Callable[..., t.Tuple[int, str, str]], also: t.Sequence[str] = ()) -> t.Dict[str, t.Any]:
    """What gpu_facts would return as `ansible_facts.gpu`; `run` as in `read_gpu`. `also`: subsets beside those that are cheap."""
    # Imported here: a module that was given facts is not to pay for compiling the readers on every run.
    from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.gpu import CHEAP, read_gpu

    return read_gpu(run, gather_subset=CHEAP + tuple(also))
