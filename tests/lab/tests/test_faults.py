"""Faults: what programs see of each, and that those which can be taken back are."""
from __future__ import annotations

import re

import pytest

from tests.lab import faults
from tests.lab.errors import LabError
from tests.lab.node import lifecycle
from tests.lab.node.node import Node

pytestmark = pytest.mark.lab


def kernel_log(node: Node) -> str:
    return node.run("journalctl", "-k", "-b", "-o", "cat")[1]


def query(node: Node, field: str) -> list[str]:
    return node.run("nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader")[1].splitlines()


def reaches_mirror(node: Node) -> bool:
    return node.run("curl", "-fsS", "-m", "3", "-o", "/dev/null", "http://mirror.lab/", check=False)[0] == 0


def test_nvml_functions_fail_hang_and_recover(broken: Node) -> None:
    faults.inject("nvml-error", broken, {"function": "nvmlInit_v2", "code": "9"})
    assert broken.run("nvidia-smi", check=False)[0] == 9
    faults.inject("nvml-hang", broken, {})
    assert broken.run("timeout", "1", "nvidia-smi", check=False)[0] == 124
    faults.inject("nvml-restore", broken, {})
    assert query(broken, "name") == ["Tesla P40", "Tesla P40"]


def test_an_attribute_changes(broken: Node) -> None:
    faults.inject("set", broken, {"gpu": "1", "attribute": "temperature_gpu_c", "value": "91"})
    assert query(broken, "temperature.gpu") == ["28", "91"]


def test_ecc_errors_are_counted_and_logged(broken: Node) -> None:
    faults.inject("ecc-error", broken, {"gpu": "0", "count": "3"})
    assert query(broken, "ecc.errors.uncorrected.volatile.total") == ["3", "0"]
    assert "NVRM: Xid (PCI:0000:3b:00): 48," in kernel_log(broken)


def test_network_is_cut_and_restored(broken: Node) -> None:
    faults.inject("network-cut", broken, {})
    assert not reaches_mirror(broken)
    faults.inject("network-restore", broken, {})
    assert reaches_mirror(broken)


def test_a_lost_gpu_reads_all_ones(broken: Node) -> None:
    faults.inject("lost-gpu", broken, {"gpu": "1"})
    assert "!!! Unknown header type 7f" in broken.run("lspci", "-vv", "-s", "0000:af:00.0")[1]
    assert re.search(r"GPU is lost", broken.run("nvidia-smi", "--query-gpu=temperature.gpu", "--format=csv", check=False)[1])
    assert "NVRM: Xid (PCI:0000:af:00): 79," in kernel_log(broken)


def test_firmware_without_above_4g_decoding(broken: Node) -> None:
    faults.inject("above4g-off", broken, {})
    assert broken.read("/sys/bus/pci/devices/0000:3b:00.0/resource").splitlines()[1].split() == [f"0x{0:016x}"] * 3
    assert "Region 1: Memory at <unassigned> (64-bit, prefetchable)" in broken.run("lspci", "-vv", "-b", "-s", "0000:3b:00.0")[1]
    log = kernel_log(broken)
    assert "pci 0000:3b:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space" in log
    assert "NVRM: BAR1 is 0M @ 0x0 (PCI:0000:3b:00.0)" in log
    assert broken.run("nvidia-smi", check=False)[0] == 9


def test_firmware_with_aspm(broken: Node) -> None:
    faults.inject("aspm-on", broken, {})
    for address in ("0000:3b:00.0", "0000:3a:00.0"):
        assert "LnkCtl:\tASPM L0s L1 Enabled" in broken.run("lspci", "-vv", "-s", address)[1]
    assert broken.read("/sys/bus/pci/devices/0000:3b:00.0/link/l1_aspm").strip() == "1"


@pytest.mark.parametrize("settings", [{}, {"attribute": "x"}, {"attribute": "x", "value": "1", "colour": "red"}, {"gpu": "9", "attribute": "x", "value": "1"}])
def test_wrong_settings_are_named(broken: Node, settings: dict[str, str]) -> None:
    with pytest.raises(LabError):
        faults.inject("set", broken, settings)


def test_up_is_idempotent(node: Node) -> None:
    before = node.container.id
    lifecycle.up("p40x2", node.name)
    assert lifecycle.find(node.name).container.id == before
