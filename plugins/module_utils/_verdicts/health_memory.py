# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Is the memory of a GPU sound: ECC, retired pages, remapped rows. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, WARN, Check
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits, flag, gap, modern, read, skipped, whole

RESET = "Drain the GPU and reset it (nvidia-smi -r -i %s), or reboot."
EXCHANGE = "Save the output of nvidia-bug-report.sh and exchange the board."


def ecc_mode(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.ecc_mode`: the mode that the next reset would bring is the one that holds now."""
    name = "gpu.ecc_mode"
    fields = ("ecc.mode_current", "ecc.mode_pending")
    current, pending = (flag(known.get(device, *field.split("."))) for field in fields)
    if current is None or pending is None:
        return gap(name, device, wanted, "the ECC mode", *fields)
    seen = read(device, *fields)
    if current != pending:
        return Check(
            name, known.subject(device), WARN, "ECC is %s and will be %s after a reset" % (_word(current), _word(pending)), wanted, seen,
            (RESET % known.subject(device)) + " To keep the present mode instead: nvidia-smi -i %s -e %d." % (known.subject(device), current),
        )  # fmt: skip
    return Check(name, known.subject(device), PASS, "ECC is %s, and nothing is pending" % _word(current), wanted, seen)


def ecc_errors(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.ecc_errors`: no uncorrected error since the driver was loaded. Corrected and older ones are evidence for a trend, no fault."""
    name, who = "gpu.ecc_errors", known.subject(device)
    fields = ("ecc.volatile_uncorrected", "ecc.volatile_corrected", "ecc.aggregate_uncorrected", "ecc.aggregate_corrected")
    found = whole(known.get(device, "ecc", "volatile_uncorrected"))
    if flag(known.get(device, "ecc", "mode_current")) is False:
        return skipped(name, device, wanted, "ECC is off: errors are not counted", read(device, "ecc.mode_current"))
    if found is None:
        return gap(name, device, wanted, "the number of uncorrected ECC errors", fields[0])
    seen = read(device, *fields)
    if found > limits.max_uncorrected_errors:
        return Check(
            name, who, FAIL, "%d uncorrected ECC error%s since the driver was loaded" % (found, "" if found == 1 else "s"), wanted, seen,
            (RESET % who) + " When errors come back, run a field diagnostic and exchange the board.",
        )  # fmt: skip
    counted = "%d uncorrected ECC errors, not more than accepted," % found if found else "no uncorrected ECC error"
    return Check(name, who, PASS, "%s since the driver was loaded" % counted, wanted, seen)


def retired_pages(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.retired_pages`, before Ampere: pages of memory that are no longer used; a board can retire 64."""
    name, who = "gpu.retired_pages", known.subject(device)
    fields = ("retired_pages.single_bit", "retired_pages.double_bit", "retired_pages.pending")
    single, double = (whole(known.get(device, *field.split("."))) for field in fields[:2])
    pending = flag(known.get(device, "retired_pages", "pending"))
    if modern(device):
        return skipped(name, device, wanted, "not applicable: from Ampere on rows are remapped instead")
    seen = read(device, *fields)
    retired = (single or 0) + (double or 0)
    # A gap beside a fault that was seen does not hide the fault.
    if pending or retired >= limits.retired_pages_fail:
        faults = ["%d pages are retired" % retired] if retired >= limits.retired_pages_fail else []
        faults += ["a page waits to be retired"] if pending else []
        return Check(name, who, FAIL, " and ".join(faults), wanted, seen, EXCHANGE if retired >= limits.retired_pages_fail else RESET % who)
    if single is None or double is None or pending is None:
        return gap(name, device, wanted, "the number of retired pages", *fields)
    summary = "%d retired pages, none pending" % retired
    if retired >= limits.retired_pages_warn:
        return Check(name, who, WARN, summary, wanted, seen, "Watch the number; exchange the board before it reaches %d." % limits.retired_pages_fail)
    return Check(name, who, PASS, summary, wanted, seen)


def remapped_rows(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.remapped_rows`, Ampere and later: no remapping waits for a reset, and none has failed."""
    name, who = "gpu.remapped_rows", known.subject(device)
    fields = ("remapped_rows.pending", "remapped_rows.failure")
    pending, failure = (flag(known.get(device, *field.split("."))) for field in fields)
    if modern(device) is False:
        return skipped(name, device, wanted, "not applicable: before Ampere pages are retired instead")
    seen = read(device, *fields, "remapped_rows.correctable", "remapped_rows.uncorrectable")
    if failure:
        return Check(name, who, FAIL, "a row could not be remapped", wanted, seen, EXCHANGE)
    if pending:
        return Check(name, who, FAIL, "a row waits to be remapped", wanted, seen, RESET % who)
    if pending is None or failure is None:
        return gap(name, device, wanted, "the state of row remapping", *fields)
    # NVML answers zeros for GeForce boards, which have no spare rows: no proof of anything.
    if "geforce" in known.model(device).lower():
        return skipped(name, device, wanted, "not applicable: GeForce boards do not remap rows", seen)
    return Check(name, who, PASS, "no remapping pending, none failed", wanted, seen)


def _word(mode: bool) -> str:
    return "on" if mode else "off"
