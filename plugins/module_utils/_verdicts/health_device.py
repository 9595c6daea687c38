# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the health checks of one GPU share: whom they ask, and what a gap means. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import SKIPPED, UNKNOWN, Check, PolicyError, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

# The reason that the readers give when NVML answers NVML_ERROR_NOT_SUPPORTED: the board does not have it, which is an answer.
NOT_SUPPORTED = "not supported"
# Reasons in the kernel's words for the names of nvmlDeviceGetCurrentClocksEventReasons that mean "slowed down by a fault around it".
THROTTLE_REASONS = ("hw_slowdown", "hw_thermal_slowdown")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the user may set. None: no limit of the user's own."""

    xid_window_seconds: int = 86400
    ignored_xids: t.Sequence[int] = ()
    max_uncorrected_errors: int = 0
    # DCGM's policy: 15 retired pages warn, 60 fail (of 64 that a board can retire).
    retired_pages_warn: int = 15
    retired_pages_fail: int = 60
    throttle_reasons: t.Sequence[str] = THROTTLE_REASONS
    temperature_margin_celsius: int = 5
    max_temperature_celsius: t.Optional[int] = None
    max_pcie_replays: t.Optional[int] = None
    expected_nvlinks: t.Optional[int] = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int) and value < 0:
                raise PolicyError("%s is %d: it must be 0 or more" % (field.name, value), option=field.name)
        if self.retired_pages_warn > self.retired_pages_fail:
            raise PolicyError(
                "retired_pages_warn is %d: it must not be more than retired_pages_fail (%d)" % (self.retired_pages_warn, self.retired_pages_fail),
                option="retired_pages_warn",
            )


def aside(device: t.Dict[str, t.Any], board: bool = True) -> t.Optional[str]:
    """Why nothing is asked of `device`, or None. Another check (`gpu.visible`, `gpu.lost`) already tells of a GPU that does not answer.

    `board`: the question is about the board, which a vGPU does not own.
    """
    state = device.get("state")
    if state == "no_driver":
        return "no driver loaded"
    if state == "lost":
        return "the GPU is lost: gpu.lost tells more"
    if state != "ok":
        return "the driver does not answer for this GPU: gpu.visible tells more"
    if board and device.get("virtualization_mode") == "vgpu":
        return "a vGPU: the board belongs to the virtual machine's host"
    return None


def skipped(name: str, device: t.Dict[str, t.Any], wanted: str, reason: str, seen: t.Sequence[t.Dict[str, t.Any]] = ()) -> Check:
    """A check that does not apply to `device`."""
    return Check(name, known.subject(device), SKIPPED, reason, wanted, list(seen))


def read(device: t.Dict[str, t.Any], *fields: str) -> t.List[t.Dict[str, t.Any]]:
    """Evidence: the values of dotted `fields` with their source."""
    source = known.source(device, "nvml", "NVML")
    return [evidence("%s %s" % (source, field), known.get(device, *field.split("."))) for field in fields]


def reason(device: t.Dict[str, t.Any], field: str) -> t.Optional[str]:
    """Why the dotted `field` has no value, or None."""
    return known.text(known.get(device, "unavailable", field))


def gap(name: str, device: t.Dict[str, t.Any], wanted: str, what: str, *fields: str) -> Check:
    """The answer when values of dotted `fields` are missing: skipped when the GPU does not have them, else unknown."""
    reasons = [one for one in (reason(device, field) for field in fields if known.get(device, *field.split(".")) is None) if one]
    if reasons and all(one == NOT_SUPPORTED for one in reasons):
        return skipped(name, device, wanted, "%s is not supported by this GPU" % what)
    return Check(
        name, known.subject(device), UNKNOWN, "%s is not known%s" % (what, ": " + "; ".join(sorted(set(reasons))) if reasons else ""), wanted,
        [dict(item, value=None) for item in read(device, *fields)],
        "Gather facts with gpuops.fleet.gpu_facts on the host itself, as root, and pass all of them.",
    )  # fmt: skip


def flag(value: t.Any) -> t.Optional[bool]:
    """`value` when it is true or false, else None."""
    return value if isinstance(value, bool) else None


def whole(value: t.Any) -> t.Optional[int]:
    """`value` as a whole number of at least 0, or None."""
    found = known.number(value)
    return int(found) if found is not None and found == int(found) else None


def modern(device: t.Dict[str, t.Any]) -> t.Optional[bool]:
    """Whether the GPU remaps rows (Ampere and later) instead of retiring pages; None when its architecture is not known."""
    name = known.text(device.get("architecture"))
    return None if name is None else name not in ("fermi", "kepler", "maxwell", "pascal", "volta", "turing")
