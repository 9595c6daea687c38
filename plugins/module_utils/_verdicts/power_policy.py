# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user says of the power supplies. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import math
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.power_supplies import GREATEST_WATTS, SOURCES, VARIABLES

# What a server takes that is not a GPU (processors, memory, disks, fans), and the reserve on top: policy, not a standard.
PLATFORM_WATTS = 350.0
HEADROOM_PERCENT = 15.0
AUTO = "auto"


class Policy:
    """What the user says about the power supplies. Watts; raises PolicyError for values that make no sense."""

    def __init__(
        self,
        *,
        supply_watts: t.Optional[float] = None,
        supply_count: int = 1,
        redundant_supplies: t.Optional[int] = None,
        platform_watts: float = PLATFORM_WATTS,
        processor_watts: t.Optional[float] = None,
        headroom_percent: float = HEADROOM_PERCENT,
        power_limits_persist: bool = False,
        capacity_source: str = AUTO,
    ):
        _require(supply_watts is None or (math.isfinite(supply_watts) and supply_watts > 0), "supply_watts", supply_watts, "greater than 0")
        _require(supply_watts is None or supply_watts <= GREATEST_WATTS, "supply_watts", supply_watts, "%g or less: it is in watts" % GREATEST_WATTS)
        _require(supply_count >= 1, "supply_count", supply_count, "1 or more")
        # Against supply_count only where this says how many there are: other sources count the supplies themselves.
        limit = supply_count if supply_watts is not None else None
        wanted = "0 or more" if limit is None else "0 or more and less than supply_count (%s)" % limit
        spare = redundant_supplies or 0
        _require(spare >= 0 and (limit is None or spare < limit), "redundant_supplies", redundant_supplies, wanted)
        _require(math.isfinite(platform_watts) and platform_watts >= 0, "platform_watts", platform_watts, "0 or more")
        _require(processor_watts is None or (math.isfinite(processor_watts) and processor_watts >= 0), "processor_watts", processor_watts, "0 or more")
        _require(0 <= headroom_percent < 100, "headroom_percent", headroom_percent, "0 or more and less than 100")
        _require(capacity_source in (AUTO, *SOURCES), "capacity_source", capacity_source, "one of %s" % ", ".join((AUTO, *SOURCES)))
        self.supply_watts = supply_watts
        self.supply_count = supply_count
        self.redundant_supplies = redundant_supplies
        self.platform_watts = platform_watts
        self.processor_watts = processor_watts
        self.headroom_percent = headroom_percent
        self.power_limits_persist = power_limits_persist
        self.capacity_source = capacity_source

    @property
    def base_watts(self) -> float:
        """What is not a GPU."""
        return self.platform_watts + (self.processor_watts or 0.0)

    @property
    def source(self) -> t.Optional[t.Dict[str, t.Any]]:
        """The variables as a power source, or None without a capacity."""
        if self.supply_watts is None:
            return None
        supply = {"name": None, "watts": self.supply_watts, "rated_watts": self.supply_watts, "state": "unknown", "line_volts": None}
        return {"source": VARIABLES, "where": "supply_watts", "supplies": [dict(supply) for _number in range(self.supply_count)], "redundancy": []}


def _require(holds: bool, option: str, value: t.Any, wanted: str) -> None:
    if not holds:
        raise PolicyError("%s is %s: it must be %s" % (option, value, wanted), option=option)
