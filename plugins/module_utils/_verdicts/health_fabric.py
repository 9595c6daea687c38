# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the fabric manager of a machine with NVSwitches do its work. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, UNKNOWN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known


def judge(facts: t.Any, name: str, wanted: str, switches: t.Sequence[t.Any]) -> Check:
    """The check `name` of a host with `switches` (bus addresses, at least one)."""
    who = known.HOST
    active, version = (known.get(facts, "host", "fabric_manager", key) for key in ("active", "version"))
    seen = [
        evidence("host.nvswitches", ", ".join(map(str, switches))), evidence("nvidia-fabricmanager.service active", active),
        evidence("version of the fabric manager", version), evidence("version of the driver", known.loaded(facts)),
    ]  # fmt: skip
    if active is False:
        remedy = "Install the fabric manager of the driver's exact version and start it: systemctl enable --now nvidia-fabricmanager."
        return Check(name, who, FAIL, "the fabric manager does not run: CUDA cannot use GPUs behind an NVSwitch", wanted, seen, remedy)
    found, loaded = known.version(version), known.version(known.loaded(facts))
    if found and loaded and found != loaded:
        remedy = "Install the fabric manager in version %s and restart it." % known.loaded(facts)
        return Check(name, who, FAIL, "fabric manager %s does not fit driver %s" % (version, known.loaded(facts)), wanted, seen, remedy)
    if active is not True or not found or not loaded:
        remedy = "Read it on the host: systemctl status nvidia-fabricmanager."
        return Check(name, who, UNKNOWN, "whether the fabric manager runs in the driver's version is not known", wanted, seen, remedy)
    return Check(name, who, PASS, "the fabric manager %s runs" % version, wanted, seen)
