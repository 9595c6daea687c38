# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Are the GPUs of a host well: all health checks, in their order. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, Check, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health_events, health_links, health_memory, health_presence, health_state
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits, aside, skipped

Judge = t.Callable[[t.Dict[str, t.Any], str, Limits], Check]

# What is asked of each GPU that answers: check id, whether it is about the board (which a vGPU does not own), what is wanted, judge.
QUESTIONS: t.Tuple[t.Tuple[str, bool, str, Judge], ...] = (
    ("gpu.ecc_mode", True, "the pending ECC mode is the current one", health_memory.ecc_mode),
    ("gpu.ecc_errors", True, "no uncorrected ECC error since the driver was loaded", health_memory.ecc_errors),
    ("gpu.retired_pages", True, "few retired pages and none pending", health_memory.retired_pages),
    ("gpu.remapped_rows", True, "no row remapping pending or failed", health_memory.remapped_rows),
    ("gpu.throttling", True, "no slowdown by hardware, heat or power brake", health_state.throttling),
    ("gpu.temperature", True, "below the temperature at which the GPU slows down", health_state.temperature),
    ("gpu.pcie_replay", True, "no PCIe replays, or not more than the limit set", health_links.pcie_replay),
    ("gpu.persistence", False, "persistence mode is on", health_state.persistence),
    ("gpu.nvlink", True, "all NVLink links of the board are active", health_links.nvlink),
    ("gpu.inforom", True, "the InfoROM is valid", health_state.inforom),
)


def check(facts: t.Any, expected_count: t.Optional[int] = None, limits: t.Optional[Limits] = None) -> t.List[Check]:
    """`gpu.count`, `gpu.uniform` for each model, `gpu.fabric_manager`, and the rest for each GPU. `expected_count` None: at least one."""
    if expected_count is not None and expected_count < 0:
        raise PolicyError("expected_count is %d: it must be 0 or more" % expected_count, option="expected_count")
    limits = limits or Limits()
    events = health_events.events(facts, limits.xid_window_seconds)
    checks = [health_presence.count_check(facts, expected_count)]
    lost = [health_events.lost_check(device, events) for device in known.devices(facts)]
    checks.extend(health_presence.visible_check(device, one.status == FAIL) for device, one in zip(known.devices(facts), lost))
    checks.extend(lost)
    checks.extend(health_events.lost_strangers(facts, events or ()))
    checks.extend(health_presence.uniform_checks(facts))
    for name, board, wanted, judge in QUESTIONS:
        for device in known.devices(facts):
            reason = aside(device, board)
            checks.append(skipped(name, device, wanted, reason) if reason else judge(device, wanted, limits))
    checks.extend(xid_checks(facts, events, limits, checks))
    if known.devices(facts):
        checks.append(health_links.fabric_manager(facts))
    return checks


def xid_checks(facts: t.Any, events: t.Optional[t.Sequence[health_events.Event]], limits: Limits, others: t.Sequence[Check]) -> t.List[Check]:
    """`gpu.xid` for each GPU, and for each address that only the kernel log names. `others`: the checks made before."""
    subjects = [known.subject(device) for device in known.devices(facts)]
    subjects.extend(one for one in health_events.strangers(facts, events or (), "xid") if one not in subjects)
    checks = []
    for who in subjects:
        failed = {one.id for one in others if one.subject == who and one.status == FAIL}
        checks.append(health_events.xid_check(facts, who, events, limits, failed))
    return checks
