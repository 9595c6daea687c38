# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The links of a GPU: PCIe replays, NVLink, and the fabric manager. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.nvlink import FIXED
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FAIL, PASS, SKIPPED, UNKNOWN, WARN, Check, evidence
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_device import Limits, gap, read, skipped, whole

SEATING = "Check the seating of the GPU module or of the NVLink bridge, read Xid 74 and 136 in the kernel log, and reset the GPUs."


def pcie_replay(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.pcie_replay`: packets that had to be sent again. The counter runs since the driver was loaded, so only zero speaks for itself."""
    name, who = "gpu.pcie_replay", known.subject(device)
    found = whole(known.get(device, "pcie", "replay_count"))
    if found is None:
        return gap(name, device, wanted, "the number of PCIe replays", "pcie.replay_count")
    seen = read(device, "pcie.replay_count")
    summary, limit = "%d PCIe replays since the driver was loaded" % found, limits.max_pcie_replays
    if found and limit is None:
        return skipped(name, device, wanted, summary + ": a rate needs a second sample, or set max_pcie_replays", seen)
    if limit is not None and found > limit:
        return Check(name, who, WARN, summary, wanted, seen, "Reseat the card and its riser, and look for AER errors in the kernel log.")
    return Check(name, who, PASS, summary, wanted, seen)


def nvlink(device: t.Dict[str, t.Any], wanted: str, limits: Limits) -> Check:
    """`gpu.nvlink`: every link is active where the board's links are wired; a bridge is optional, and a board without NVLink is not asked."""
    name, who = "gpu.nvlink", known.subject(device)
    if known.get(device, "mig_mode", "current") is True:
        return skipped(name, device, wanted, "not applicable: MIG mode is on, which uses no NVLink")
    links = device.get("nvlinks")
    fixed = (known.text(known.get(device, "pci", "device_id")) or "").lower() in FIXED
    if not fixed and (links == [] or (not links and _without_nvlink(device))):
        return skipped(name, device, wanted, "not applicable: %s has no NVLink" % known.model(device))
    if not isinstance(links, list) or not all(isinstance(one, dict) and isinstance(one.get("active"), bool) for one in links):
        return gap(name, device, wanted, "the state of NVLink", "nvlinks")
    active = sum(one["active"] for one in links)
    dead = ", ".join(str(one.get("link")) for one in links if not one["active"])
    seen = [evidence("%s nvlinks" % known.source(device, "nvml", "NVML"), "%d of %d active%s" % (active, len(links), "; inactive: " + dead if dead else ""))]
    wished = limits.expected_nvlinks
    if wished is not None:
        if active < wished:
            return Check(name, who, FAIL, "%d of %d NVLink links are active" % (active, wished), wanted, seen, SEATING)
        return Check(name, who, PASS, "%d NVLink links are active" % active, wanted, seen)
    if fixed and (not links or active < len(links)):
        summary = "%d of %d NVLink links are active" % (active, len(links)) if links else "NVML lists none of the board's NVLink links"
        return Check(name, who, FAIL, summary, wanted, seen, SEATING)
    if not active:
        return skipped(name, device, wanted, "no NVLink bridge connects this GPU", seen)
    if active < len(links):
        remedy = "%s Where the bridges connect fewer links on purpose, say how many: expected_nvlinks." % SEATING
        return Check(name, who, WARN, "%d of %d NVLink links are active" % (active, len(links)), wanted, seen, remedy)
    return Check(name, who, PASS, "all %d NVLink links are active" % active, wanted, seen)


def fabric_manager(facts: t.Any) -> Check:
    """`gpu.fabric_manager`: where the machine has NVSwitches, it runs, in the driver's version (it refuses to work with another)."""
    name, who, wanted = "gpu.fabric_manager", known.HOST, "the fabric manager runs, in the driver's version"
    switches = known.get(facts, "host", "nvswitches")
    if known.not_loaded(facts):
        return Check(name, who, SKIPPED, "no driver loaded", wanted)
    if not isinstance(switches, list):
        # Boards whose links cannot lead to a switch need no look at the bus.
        if known.devices(facts) and all(_no_nvlink(device) for device in known.devices(facts)) or known.count(facts) == 0:
            return Check(name, who, SKIPPED, "not applicable: no GPU with NVLink", wanted)
        remedy = "Gather facts with gpuops.fleet.gpu_facts on the host itself, and pass all of them."
        return Check(name, who, UNKNOWN, "whether the machine has NVSwitches is not known", wanted, [evidence("host.nvswitches", None)], remedy)
    if not switches:
        return Check(name, who, SKIPPED, "not applicable: no NVSwitch in this machine", wanted, [evidence("host.nvswitches", "none")])
    # Imported here: few machines have NVSwitches.
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.health_fabric import judge

    return judge(facts, name, wanted, switches)


def _no_nvlink(device: t.Dict[str, t.Any]) -> bool:
    return device.get("nvlinks") == [] or _without_nvlink(device)


def _without_nvlink(device: t.Dict[str, t.Any]) -> bool:
    """The board catalogue's word that the board has no NVLink; imported here, as NVML's own word mostly does."""
    from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board

    pci = device.get("pci")
    entry = board(pci) if isinstance(pci, dict) else None
    return entry is not None and entry["nvlink_max"] == 0
