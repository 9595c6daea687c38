# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the host itself tells of its power supplies and of its processors' power. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import smbios
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_text

POWERCAP = "/sys/class/powercap"


def read(root: str = "") -> t.Dict[str, t.Any]:
    """`{power, power_sources, processor_limit_watts, unavailable, sources}` for `host` of the facts. Never raises."""
    unavailable: t.Dict[str, str] = {}
    sources: t.Dict[str, str] = {}
    source, why = smbios.read(root)
    if source is None:
        unavailable["power"] = why
    else:
        sources["power"] = source["where"]
    limit, why = processor_limit(root)
    if limit is None:
        unavailable["processor_limit_watts"] = why
    else:
        sources["processor_limit_watts"] = POWERCAP
    return {
        "power": source, "power_sources": [source] if source else [], "processor_limit_watts": limit, "unavailable": unavailable, "sources": sources,
    }  # fmt: skip


def processor_limit(root: str = "") -> t.Tuple[t.Optional[float], str]:
    """`(watts, reason)`: the sum of the long-term power limits of all processor packages (Linux, Documentation/power/powercap: intel-rapl)."""
    total = 0.0
    for zone in names(root + POWERCAP):
        path = "%s%s/%s" % (root, POWERCAP, zone)
        # intel-rapl:0 is a package, intel-rapl:0:0 a part of it; intel-rapl-mmio:0 is the first one a second time.
        if not re.match(r"intel-rapl:\d+\Z", zone) or not (read_text(path + "/name")[0] or "").startswith("package"):
            continue
        text, why = read_text(path + "/constraint_0_power_limit_uw", 64)
        if text is None or not re.match(r"\d{1,12}\Z", text):
            return None, (why or "%s: no power limit" % path).replace(root, "", 1)
        total += int(text) / 1e6
    return (total, "") if total else (None, "%s: no processor package" % POWERCAP)
