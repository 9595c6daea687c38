# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How GPUs reach each other, in the words of `nvidia-smi topo -m`. No input or output here. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

Device = t.Dict[str, t.Any]


def matrix(devices: t.Sequence[Device], routes: t.Dict[str, t.Sequence[str]], nvswitches: t.Sequence[str] = ()) -> t.Dict[str, t.Dict[str, t.Optional[str]]]:
    """`{bus address: {bus address of another GPU: PIX | PXB | PHB | NODE | SYS | NV#}}`; None for a pair whose way is not known.

    `devices`: those of the facts. `routes`: bus address → names of the host bridge and of each bridge down to the device (`pci.read`).
    """
    found: t.Dict[str, t.Dict[str, t.Optional[str]]] = {one["bus_address"]: {} for one in devices}
    linked = _nvlinked(devices, nvswitches)
    for one in devices:
        for other in devices:
            here, there = one["bus_address"], other["bus_address"]
            if here != there:
                links = min(linked.get(here, 0), linked.get(there, 0))
                found[here][there] = "NV%d" % links if links else way(routes.get(here, ()), routes.get(there, ()), _node(one), _node(other))
    return found


def way(one: t.Sequence[str], other: t.Sequence[str], node: t.Optional[int], other_node: t.Optional[int]) -> t.Optional[str]:
    """The PCI way between two devices (nvml.h, nvmlGpuTopologyLevel_t): PIX through one switch, PXB through several, PHB through the host
    bridge that both hang on, NODE through host bridges of one NUMA node, SYS through the interconnect of NUMA nodes."""
    shared = 0
    for left, right in zip(one, other):
        if left != right:
            break
        shared += 1
    if shared > 1:
        # One switch is an upstream port and, below it, a downstream port for each device.
        return "PIX" if len(one) - shared <= 2 and len(other) - shared <= 2 else "PXB"
    if shared == 1:
        return "PHB"
    if not one or not other or node is None or other_node is None:
        return None
    return "NODE" if node == other_node else "SYS"


def _node(device: Device) -> t.Optional[int]:
    return device["pci"]["numa_node"]


def _nvlinked(devices: t.Sequence[Device], nvswitches: t.Sequence[str]) -> t.Dict[str, int]:
    """Active links of each GPU, where it is certain that they lead to all others in the result: over NVSwitches, or of just two GPUs."""
    active = {one["bus_address"]: sum(bool(link["active"]) for link in one["nvlinks"] or ()) for one in devices}
    active = {address: links for address, links in active.items() if links}
    return active if nvswitches or len(active) == 2 else {}
