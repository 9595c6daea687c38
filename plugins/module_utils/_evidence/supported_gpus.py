# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's list of the GPUs that the installed driver knows. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import glob
import json
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

# Debian and Ubuntu, Enterprise Linux, nvidia-driver-assistant, .run.
PATHS = ("/usr/share/doc/nvidia-*/supported-gpus/supported-gpus.json", "/usr/share/doc/nvidia-*/supported-gpus.json",
         "/usr/share/nvidia/supported-gpus/supported-gpus.json", "/usr/share/nvidia-*/supported-gpus.json",
         "/usr/share/nvidia-driver-assistant/supported-gpus/supported-gpus.json",
         "/usr/share/doc/NVIDIA_GLX-1.0/supported-gpus/supported-gpus.json")  # fmt: skip
LIMIT_BYTES = 8 * 1024 * 1024


def read(device_ids: t.Iterable[str], root: str = "") -> t.Tuple[t.Optional[t.Dict[str, t.Any]], str]:
    """`({path, chips}, reason)`: of the newest list on the host the entries of these PCI device ids; None without a list."""
    wanted = {str(one).lower() for one in device_ids}
    why = "no supported-gpus.json on the host"
    for path in [path for pattern in PATHS for path in sorted(glob.glob(glob.escape(root) + pattern), reverse=True)]:
        text, why = read_text(path, LIMIT_BYTES)
        try:
            chips = json.loads(text or "")["chips"]
            found = [chip for chip in chips if str(chip["devid"]).lower().replace("0x", "", 1) in wanted]
        except (ValueError, KeyError, TypeError):
            why = "%s is not a list of GPUs" % path[len(root) :]
            continue
        return {"path": path[len(root) :], "chips": found}, ""
    return None, why
