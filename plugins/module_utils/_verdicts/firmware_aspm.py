# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`firmware.aspm`: power saving of the link is off on both of its ends. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.firmware_common import ANY, Device, events, logged, not_here, why, words

NAME = "firmware.aspm"
EXPECTED = "ASPM disabled on the GPU and on the port above it"
STATES = {"disabled": "disabled", "l0s": "L0s", "l1": "L1", "l0s_l1": "L0s and L1"}
# Kernel parameters as the kernel documents them since April 2024 (admin-guide/kernel-parameters.txt).
INEFFECTIVE = "pcie_aspm=off on the kernel command line does not turn ASPM off, it only makes the kernel leave what the firmware has set"


def check(device: Device, facts: t.Any, expected: str) -> Check:
    """The answer for one GPU. `expected`: `disabled` or `any`."""
    who = known.subject(device)
    absent = not_here(NAME, device, facts, EXPECTED)
    if absent:
        return absent
    port = known.text(known.get(device, "pcie", "upstream", "bus_address"))
    ends = [(who, _state(device, "pcie", "aspm")), (port or "the port above", _state(device, "pcie", "upstream", "aspm"))]
    # The Link Control register is what the link does; Link Capabilities only says what it could do.
    seen = [evidence("LnkCtl of %s" % name, None if state is None else "ASPM %s" % STATES[state]) for name, state in ends]
    if expected == ANY:
        return Check(NAME, who, SKIPPED, "aspm_expected is any: nothing is expected of it", "", seen)
    off = "pcie_aspm=off" in (known.text(known.get(facts, "host", "kernel_command_line")) or "").split()
    on = ["%s on %s" % (STATES[state], name) for name, state in ends if state not in (None, "disabled")]
    if on:
        forbidden = events(facts, None, "aspm_firmware")
        policy = known.text(known.get(facts, "host", "aspm_policy"))
        if policy:
            seen.append(evidence("/sys/module/pcie_aspm/parameters/policy", policy))
        seen.extend(logged(event) for event in forbidden[:1])
        summary = "ASPM is enabled: %s%s" % (", ".join(on), "; " + INEFFECTIVE if off else "")
        return Check(NAME, who, FAIL, summary, EXPECTED, seen, _remedy(facts, ends, off, bool(forbidden)))
    unread = [(name, field) for (name, state), field in zip(ends, ("pcie.aspm", "pcie.upstream.aspm")) if state is None]
    if unread:
        summary = "the ASPM state of %s is not known%s" % (" and ".join(name for name, _field in unread), why(device, unread[0][1]))
        return Check(NAME, who, UNKNOWN, summary, EXPECTED, seen, "Gather facts as root: the configuration space beyond 64 bytes is closed to others.")
    return Check(NAME, who, PASS, "ASPM is disabled on both ends of the link", EXPECTED, seen)


def _state(device: Device, *keys: str) -> t.Optional[str]:
    state = known.get(device, *keys)
    return state if isinstance(state, str) and state in STATES else None


def _remedy(facts: t.Any, ends: t.Sequence[t.Tuple[str, t.Optional[str]]], off: bool, forbidden: bool) -> str:
    text = words(facts, "aspm")
    text = "%s and restart" % (text[0].upper() + text[1:])
    if forbidden:
        return text + "; the kernel cannot do it, because the firmware tables (FADT) forbid it to change ASPM."
    files = " and ".join("/sys/bus/pci/devices/%s/link/%s_aspm" % (ends[0][0], state) for state in ("l0s", "l1") if state in str(ends[0][1] or ends[1][1]))
    files = files or "the files /sys/bus/pci/devices/%s/link/*_aspm" % ends[0][0]
    if off:
        return "%s; or remove pcie_aspm=off, with which the kernel offers no way, and boot with pcie_aspm.policy=performance." % text
    return "%s; or boot with pcie_aspm.policy=performance; or write 0 to %s (until the next boot)." % (text, files)
