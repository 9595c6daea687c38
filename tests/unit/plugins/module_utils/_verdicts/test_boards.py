"""The board catalogue is complete, dated and finds boards by their full id first."""

from __future__ import annotations

import re

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import architectures, boards
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.boards import board


def ids(device, subvendor="10de", subdevice="0000"):
    return {"device_id": device, "subsystem_vendor_id": subvendor, "subsystem_device_id": subdevice}


@pytest.mark.parametrize(
    "pci, expected",
    [
        (ids("1b38", "10de", "11d9"), ("Tesla P40", "pascal", 367, 580, ["proprietary"])),
        (ids("1B38"), ("Tesla P40", "pascal", 367, 580, ["proprietary"])),
        (ids("25b6", "10de", "14a9"), ("NVIDIA A16", "ampere", 455, None, ["open", "proprietary"])),
        (ids("25b6", "10de", "157e"), ("NVIDIA A2", "ampere", 455, None, ["open", "proprietary"])),
        (ids("1e30", "1028", "129e"), ("Quadro RTX 8000", "turing", 410, None, ["open", "proprietary"])),
        (ids("1e30", "10de", "12ba"), ("Quadro RTX 6000", "turing", 410, None, ["open", "proprietary"])),
        (ids("1df6"), ("Tesla V100S-PCIE-32GB", "volta", 384, 580, ["proprietary"])),
        (ids("2330", "10de", "16c1"), ("NVIDIA H100 80GB HBM3", "hopper", 525, None, ["open", "proprietary"])),
        (ids("2342", "10de", "16eb"), ("NVIDIA GH200 480GB", "hopper", 535, None, ["open"])),
        (ids("2901", "10de", "1999"), ("NVIDIA B200", "blackwell", 570, None, ["open"])),
        (ids("3182", "10de", "20e6"), ("NVIDIA B300 SXM6 AC", "blackwell", 580, None, ["open"])),
    ],
)
def test_boards_are_found_by_their_ids(pci, expected):
    found = board(pci)
    assert (found["name"], found["architecture"], found["first_branch"], found["last_branch"], found["flavors"]) == expected


@pytest.mark.parametrize("pci", [{}, {"device_id": None}, ids("ffff"), ids("25b6", "10de", "ffff"), {"device_id": "1eb8 "}])
def test_an_unknown_board_is_none_not_a_guess(pci):
    assert board(pci) is None


def test_the_p40_has_a_native_bar1_of_32_gib_and_no_nvlink():
    found = board(ids("1b38", "10de", "11d9"))
    assert (found["native_bar1_mib"], found["nvlink_max"], found["board_power_watts"], found["memory_mib"]) == (32768, 0, 250, 24576)


def test_every_row_of_the_catalogue_is_whole():
    for key, row in boards.BOARDS.items():
        assert re.fullmatch(r"[0-9a-f]{4}(:[0-9a-f]{4}:[0-9a-f]{4})?", key)
        entry = dict(zip(boards.FIELDS, row, strict=True))
        assert entry["compute_capability"] in architectures.ARCHITECTURES[entry["architecture"]]["compute_capabilities"], key
        assert 1024 <= entry["memory_mib"] <= 524288 and 30 <= entry["board_power_watts"] <= 1500, key
        bar1 = entry["native_bar1_mib"]
        assert bar1 is None or bar1 == 256 or (bar1 >= 8192 and bar1 & (bar1 - 1) == 0), "%s: a BAR is a power of two" % key
        assert 0 <= entry["nvlink_max"] <= 18, key
    devices = {key[:4] for key in boards.BOARDS}
    assert set(boards.FIRST_BRANCHES) <= devices and set(boards.FLAVORS) <= devices


def test_every_architecture_is_whole():
    for name, entry in architectures.ARCHITECTURES.items():
        assert set(entry) == {
            "compute_capabilities", "first_branch", "first_branches", "last_branch", "flavors", "first_open_branch", "first_cuda", "last_cuda",
        }  # fmt: skip
        assert set(entry["first_branches"]) <= set(entry["compute_capabilities"]), name
        assert set(entry["flavors"]) <= {"proprietary", "open"} and entry["flavors"], name
        assert (entry["first_open_branch"] is not None) == ("open" in entry["flavors"]), name
        assert entry["last_branch"] is None or not entry["first_branch"] or entry["first_branch"] <= entry["last_branch"]


@pytest.mark.parametrize("module", [architectures, boards])
def test_catalogues_are_dated_and_sourced(module):
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", module.DATE) and all(module.SOURCES)
