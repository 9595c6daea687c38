# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does the driver see a process of the server on each GPU where the log puts the model. Private to gpuops.fleet: names may change.

The log tells what was loaded, the driver what is there now: a process that ended is still in the log, and for a while in the server's own list.
"""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_names import is_process

Json = t.Dict[str, t.Any]
MIB = 2.0**20
# The driver counts the CUDA context too, so it never sees less than the log; rounding alone takes a little.
SEEN_SHARE = 0.9


class Witness(t.NamedTuple):
    """What the driver said: `processes` by UUID as `_evidence.gpu_processes.read` has them, or None and the `reason`; `pids` of the container, or None."""

    processes: t.Optional[t.Dict[str, t.List[Json]]] = None
    pids: t.Optional[t.Collection[int]] = None
    reason: str = ""


def check(model: str, log: Json, witness: t.Optional[Witness]) -> Check:
    """`ollama.processes` of a loaded model, from `log` as `_evidence.ollama_log.parse` returns it."""
    witness = witness or Witness()
    sizes = {log["device_uuids"].get(device, device): size for device, size in log["gpu_bytes"].items()}
    held = {uuid: mine for uuid, all_of in (witness.processes or {}).items() for mine in [[one for one in all_of if _own(one, witness.pids)]] if mine}
    shown = [evidence("driver: processes of the server on %s" % uuid, _text(mine)) for uuid, mine in sorted(held.items())]
    shown = shown or [evidence("driver: processes of the server on GPUs", None)]

    def answer(status: str, summary: str, remedy: str = "") -> Check:
        return Check("ollama.processes", model, status, summary, "a process of the server on every GPU that holds a part of the model", shown, remedy)

    if not sizes:
        return answer(SKIPPED, "no GPU is known to hold a part of the model, which ollama.offload judges")
    if witness.processes is None:
        return answer(UNKNOWN, "the processes on the GPUs are not known: %s" % (witness.reason or "the driver does not tell"), "see that nvidia-smi answers")
    if not held:
        remedy = "run the check on the host itself, as root; if it does, the process that computed the model has ended: load the model again"
        return answer(UNKNOWN, "the driver sees no process of the server on any GPU, so nothing but the server's own word tells where the model is", remedy)
    again = "the log and the driver disagree: see docker logs and the kernel log for a process or a GPU that was lost, and load the model again"
    by_uuid = all(device in log["device_uuids"] for device in log["gpu_bytes"])
    missing = sorted(uuid for uuid in sizes if uuid not in held) if by_uuid else []
    if missing:
        parts = ", ".join("%s (%.0f MiB)" % (uuid, sizes[uuid] / MIB) for uuid in missing)
        return answer(FAIL, "the log puts a part of the model on %s, and the driver sees no process of the server there" % parts, again)
    if len(held) < len(sizes):
        return answer(FAIL, "the log puts the model on %d GPUs, and the driver sees processes of the server on %d" % (len(sizes), len(held)), again)
    for uuid, size in sorted(sizes.items()) if by_uuid else ():
        used: t.List[t.Any] = [one.get("used_memory_mib") for one in held[uuid]]
        seen = None if None in used else sum(used)
        if seen is not None and seen < SEEN_SHARE * size / MIB:
            return answer(WARN, "the log puts %.0f MiB of the model on %s, and the processes of the server there hold %d MiB" % (size / MIB, uuid, seen), again)
    return answer(PASS, "the driver sees the server compute on %s" % ", ".join(sorted(held)))


def _own(process: Json, pids: t.Optional[t.Collection[int]]) -> bool:
    # Where Docker does not tell which processes are the container's, the name has to.
    return process.get("pid") in pids if pids is not None else is_process(process.get("name"))


def _text(processes: t.Sequence[Json]) -> str:
    return ", ".join("%s %s %s MiB" % (one.get("pid"), one.get("name"), one.get("used_memory_mib")) for one in processes)
