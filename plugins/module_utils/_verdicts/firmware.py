# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What firmware settings must have been, seen from where the PCI resources are. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import firmware_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board

ABOVE_4G = "BAR1 at or above 4 GiB"
FOUR_GIB = 4 * known.GIB
# A BAR1 of 256 MiB fits below 4 GiB on any machine; only a larger one needs Above 4G Decoding.
SMALL_BAR1_MIB = 256


def check(facts: t.Any) -> t.List[Check]:
    """`firmware.above_4g` for each GPU; one answer for the host when it has none or when its GPUs are not known."""
    found = known.count(facts)
    if found == 0:
        return [Check("firmware.above_4g", known.HOST, SKIPPED, "no GPU: nothing needs addresses above 4 GiB", ABOVE_4G)]
    if found is None:
        remedy_text = "Gather facts with gpuops.fleet.gpu_facts on the host itself and pass all of them."
        return [Check("firmware.above_4g", known.HOST, UNKNOWN, "the GPUs of the host are not known", ABOVE_4G, [], remedy_text)]
    proof = [device for device in known.devices(facts) if (_address(device) or 0) >= FOUR_GIB]
    return [_above_4g(device, facts, [other for other in proof if other is not device]) for device in known.devices(facts)]


def _above_4g(device: t.Dict[str, t.Any], facts: t.Any, proof: t.List[t.Dict[str, t.Any]]) -> Check:
    who = known.subject(device)
    where = "%s/resource BAR1" % known.source(device, "pci", "sysfs:/sys/bus/pci/devices/%s" % who)
    address, total = _address(device), known.number(known.get(device, "bar1", "total_mib"))
    native = native_bar1_mib(device)
    large = native is not None and native > SMALL_BAR1_MIB
    seen = [evidence(where, _shown(device))]
    name = "BAR1" if native is None else "BAR1 (%s)" % _size(native)
    if unassigned(device) or total == 0:
        if total == 0:
            seen.append(evidence("%s BAR1 total" % known.source(device, "nvml", "NVML"), "0 MiB"))
        summary = "%s is not assigned: Above 4G Decoding is off, or its window is too small" % name
        return Check("firmware.above_4g", who, FAIL, summary, ABOVE_4G, seen, remedy(facts))
    if address is None:
        return Check(
            "firmware.above_4g", who, UNKNOWN, "where BAR1 lies is not known", ABOVE_4G, seen,
            "Read %s on the host itself (not in a container)." % where.rsplit(" ", 1)[0].split(":", 1)[-1],
        )
    if address >= FOUR_GIB:
        scope = " (in a virtual machine: says nothing about its host's firmware)" if known.virtual(facts) and _vendor_words(facts) is None else ""
        return Check("firmware.above_4g", who, PASS, "BAR1 lies at %#x%s" % (address, scope), ABOVE_4G, seen)
    if large:
        return Check(
            "firmware.above_4g", who, WARN, "BAR1 lies at %#x, below 4 GiB, although this board asks for %s" % (address, _size(t.cast(float, native))),
            ABOVE_4G, seen, remedy(facts),
        )
    if proof:
        other = proof[0]
        seen.append(evidence("%s/resource BAR1" % known.source(other, "pci", known.subject(other)), _shown(other)))
        return Check(
            "firmware.above_4g", who, PASS, "Above 4G Decoding is on: %s has its BAR1 above 4 GiB; this one is small and may lie below" % known.subject(other),
            "Above 4G Decoding on", seen,
        )
    return Check(
        "firmware.above_4g", who, UNKNOWN, "BAR1 is small and lies at %#x: Above 4G Decoding is off, or was not needed" % address, ABOVE_4G, seen,
        "Nothing is broken by it. To be sure, look in firmware setup: %s." % setting(facts),
    )


def native_bar1_mib(device: t.Dict[str, t.Any]) -> t.Optional[float]:
    """BAR1 that the board asks for without Resizable BAR (board catalogue), in MiB; None when not known."""
    pci = device.get("pci")
    found = board(pci) if isinstance(pci, dict) else None
    return known.number(found["native_bar1_mib"]) if found else None


def unassigned(device: t.Dict[str, t.Any]) -> bool:
    """True when the kernel shows that BAR1 has no address, which is not the same as an address that could not be read."""
    reason = known.text(known.get(device, "unavailable", "bar1.address"))
    return _address(device) == 0 or (known.get(device, "bar1", "address") is None and reason is not None and "not assigned" in reason)


def setting(facts: t.Any) -> str:
    """What to set in firmware setup, in the words of the server's vendor."""
    words = _vendor_words(facts)
    if words is not None:
        return words
    return firmware_settings.ABOVE_4G_GUEST if known.virtual(facts) else firmware_settings.ABOVE_4G_GENERIC


def _vendor_words(facts: t.Any) -> t.Optional[str]:
    # Only real servers carry these names: hypervisors put their own into the guest's DMI tables.
    vendor = (known.text(known.get(facts, "host", "system_vendor")) or "").lower()
    return next((words for name, words in firmware_settings.ABOVE_4G.items() if name in vendor), None)


def remedy(facts: t.Any) -> str:
    """`setting` as a remedy."""
    words = setting(facts)
    return "%s, then restart." % (words[0].upper() + words[1:])


def _address(device: t.Dict[str, t.Any]) -> t.Optional[int]:
    value = known.get(device, "bar1", "address")
    if isinstance(value, int) and not isinstance(value, bool):
        return value if value >= 0 else None
    try:
        address = int(value, 16)
    except (TypeError, ValueError):
        return None
    return address if address >= 0 else None


def _shown(device: t.Dict[str, t.Any]) -> t.Optional[str]:
    address, size = _address(device), known.number(known.get(device, "bar1", "size_mib"))
    if unassigned(device):
        return "not assigned%s" % ("" if size is None else ", %s" % _size(size))
    if address is None:
        return None
    return "%#x%s" % (address, "" if size is None else ", %s" % _size(size))


def _size(mib: float) -> str:
    return "%g GiB" % (mib / 1024) if mib >= 1024 else "%g MiB" % mib
