# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps settings of GPUs across reboots, as it is. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_bytes

Run = t.Callable[..., t.Tuple[int, str, str]]

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,FragmentPath,DropInPaths"
TIMEOUT_SECONDS = 30


def systemd() -> bool:
    """Whether systemd runs this host (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def texts(paths: t.Iterable[str]) -> t.Dict[str, t.Optional[str]]:
    """Path → text of each file, None for one that is not there."""
    found = {}
    for path in paths:
        data, _why = read_bytes(path)
        found[path] = None if data is None else data.decode("utf-8", "replace")
    return found


def units(run: Run, *names: str, properties: str = PROPERTIES) -> t.Dict[str, t.Dict[str, str]]:
    """Name → `properties` of each unit; none where systemd does not answer."""
    _rc, out, _err = run(["systemctl", "show", "--property=" + properties] + list(names), timeout_seconds=TIMEOUT_SECONDS)
    found = {}
    for name, block in zip(names, out.strip().split("\n\n")):
        found[name] = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
    return found


def unit_texts(unit: t.Dict[str, str], but: str) -> t.List[str]:
    """The texts of a unit's file and of its drop-ins in their order, without the drop-in `but`."""
    paths = [unit.get("FragmentPath", "")] + unit.get("DropInPaths", "").split()
    return [text for text in texts(path for path in paths if path and path != but).values() if text is not None]
