# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How nvidia-smi writes values. Private to gpuops.fleet: the names may change in any release.

Each function takes the whole text of a field and raises ValueError for any other text: a number with something behind it is no number.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvml_answer as nvml

COMPUTE_MODES = ("default", "exclusive_thread", "prohibited", "exclusive_process")
_UUID = r"GPU-[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_VBIOS = r"[0-9a-fA-F]{2}(?:\.[0-9a-fA-F]{2}){4}"


def _whole(pattern: str, text: str) -> "re.Match[str]":
    match = re.match(r"(?:%s)\Z" % pattern, text)
    if match is None:
        raise ValueError(text)
    return match


def count(text: str) -> int:
    """`12`: a number without a unit."""
    return int(_whole("[0-9]{1,18}", text).group(0))


def with_unit(unit: str) -> t.Callable[[str], int]:
    """A reader of whole numbers with `unit` behind them: `24576 MiB`, `0 %`, `16x`."""
    pattern = "([0-9]{1,18}) ?%s" % re.escape(unit)
    return lambda text: int(_whole(pattern, text).group(1))


mib, mhz, percent, lanes = with_unit("MiB"), with_unit("MHz"), with_unit("%"), with_unit("x")


def celsius(text: str) -> int:
    """`30 C`; a GPU in a cold room can be below zero."""
    return int(_whole("(-?[0-9]{1,4}) C", text).group(1))


def watts(text: str) -> float:
    """`9.80 W`."""
    return round(float(_whole(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) W", text).group(1)), 2)


def enabled(text: str) -> bool:
    """`Enabled` or `Disabled`."""
    return _whole("(enabled)|disabled", text.lower()).group(1) is not None


def yes(text: str) -> bool:
    """`Yes` or `No`."""
    return _whole("(yes)|no", text.lower()).group(1) is not None


def uuid(text: str) -> str:
    """`GPU-` and a UUID."""
    return _whole(_UUID, text).group(0)


def vbios(text: str) -> str:
    """`86.02.23.00.01`."""
    return _whole(_VBIOS, text).group(0)


def inforom(text: str) -> str:
    """`G610.0200.00.03`."""
    return _whole(r"[0-9A-Za-z]{1,8}(?:\.[0-9A-Za-z]{1,8}){1,5}", text).group(0)


def compute_mode(text: str) -> str:
    """`Exclusive_Process` and its like as the facts name it."""
    return COMPUTE_MODES[COMPUTE_MODES.index(text.lower())]


def virtualization(text: str) -> str:
    """`Pass-Through` and its like as the facts name it."""
    word = text.lower().replace("pass-through", "passthrough").replace(" ", "_")
    return nvml.VIRTUALIZATION_MODES[nvml.VIRTUALIZATION_MODES.index(word)]
