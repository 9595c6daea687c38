"""The ways between GPUs, by the bridges above them."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import topology

A = ["pci0000:16", "0000:16:02.0", "0000:17:00.0", "0000:18:00.0", "0000:19:00.0"]  # root port, switch (upstream, downstream port), GPU
SAME_SWITCH = ["pci0000:16", "0000:16:02.0", "0000:17:00.0", "0000:18:01.0", "0000:1a:00.0"]
SWITCH_BELOW = ["pci0000:16", "0000:16:02.0", "0000:17:00.0", "0000:18:02.0", "0000:1b:00.0", "0000:1c:00.0", "0000:1d:00.0"]
OTHER_PORT = ["pci0000:16", "0000:16:03.0", "0000:30:00.0"]
OTHER_ROOT = ["pci0000:3a", "0000:3a:00.0", "0000:3b:00.0"]


@pytest.mark.parametrize(
    "other, nodes, expected",
    [
        (SAME_SWITCH, (0, 0), "PIX"),
        (SWITCH_BELOW, (0, 0), "PXB"),
        (OTHER_PORT, (0, 0), "PHB"),
        (OTHER_PORT, (None, None), "PHB"),
        (OTHER_ROOT, (0, 0), "NODE"),
        (OTHER_ROOT, (0, 1), "SYS"),
        (OTHER_ROOT, (None, 1), None),
        (["0000:19:00.0", "0000:1a:00.0"], (0, 0), "NODE"),
        ([], (0, 0), None),
    ],
)
def test_way(other, nodes, expected):
    assert topology.way(A, other, *nodes) == expected
    assert topology.way(other, A, *reversed(nodes)) == expected


def test_the_two_gpus_of_one_board_are_behind_one_bridge():
    assert topology.way(["pci0000:00", "0000:00:02.0", "0000:03:00.0"], ["pci0000:00", "0000:00:02.0", "0000:03:00.1"], 0, 0) == "PIX"


def gpu(address, links=(), node=0):
    return {"bus_address": address, "pci": {"numa_node": node}, "nvlinks": [{"link": number, "active": active} for number, active in enumerate(links)]}


ROUTES = {"0000:19:00.0": A, "0000:1a:00.0": SAME_SWITCH, "0000:3b:00.0": OTHER_ROOT}


@pytest.mark.parametrize(
    "links, switches, expected",
    [
        (((), (), ()), (), {"1a": "PIX", "3b": "NODE"}),
        (((True,) * 4, (True,) * 4, ()), (), {"1a": "NV4", "3b": "NODE"}),  # a pair with a bridge
        (((True,) * 4, (True, True, False, False), ()), (), {"1a": "NV2", "3b": "NODE"}),
        (((False,) * 4, (False,) * 4, ()), (), {"1a": "PIX", "3b": "NODE"}),
        (((True,) * 12,) * 3, (), {"1a": "PIX", "3b": "NODE"}),  # who is linked to whom is not known
        (((True,) * 18,) * 3, ("0000:86:00.0",), {"1a": "NV18", "3b": "NV18"}),
    ],
)
def test_matrix(links, switches, expected):
    devices = [gpu(address, some) for address, some in zip(sorted(ROUTES), links, strict=True)]
    found = topology.matrix(devices, ROUTES, switches)
    assert found["0000:19:00.0"] == {"0000:%s:00.0" % bus: word for bus, word in expected.items()}
    assert all(found[one][other] == found[other][one] for one in found for other in found[one])


def test_one_gpu_and_none():
    assert topology.matrix([gpu("0000:3b:00.0")], ROUTES) == {"0000:3b:00.0": {}} and topology.matrix([], {}) == {}


def test_a_gpu_whose_links_are_not_known():
    one, other = gpu("0000:19:00.0"), gpu("0000:3b:00.0")
    one["nvlinks"] = None
    assert topology.matrix([one, other], ROUTES)["0000:19:00.0"] == {"0000:3b:00.0": "NODE"}
