"""Programs that know nothing of the lab read a node; what they print is what they print on a real server."""
from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.lab.cache import cached
from tests.lab.node.node import Node
from tests.lab.tests import container_host

pytestmark = pytest.mark.lab

GPUS = {"0000:3b:00.0": "0000:3a:00.0", "0000:af:00.0": "0000:ae:00.0"}
PROGRAMS = Path("/opt/programs")
WHEELS = ["nvitop==1.7.2", "nvidia-ml-py==13.615.71", "psutil==7.2.2", "blessed==1.52.0", "jinxed==2.1.0", "wcwidth==0.9.4"]
GPUSTAT = "gpustat==1.1.1"


def out(node: Node, *command: str, **environment: str) -> str:
    """Run a program that has to succeed."""
    return node.run(*command, environment=environment)[1]


# PCI and DMI


def test_lspci_names_cards_and_drivers(node: Node) -> None:
    text = out(node, "lspci", "-Dnnk", "-d", "10de:")
    assert re.findall(r"^(\S+) 3D controller \[0302\]: NVIDIA Corporation GP102GL \[Tesla P40\] \[10de:1b38\] \(rev a1\)$", text, re.MULTILINE) == list(GPUS)
    assert text.count("Kernel driver in use: nvidia") == 2
    assert "Subsystem: NVIDIA Corporation Device [10de:11d9]" in text
    assert re.search(r"Kernel modules: .*\bnvidia\b", text)


@pytest.mark.parametrize("address", [*GPUS, *GPUS.values()])
def test_lspci_decodes_the_link_of_card_and_port(node: Node, address: str) -> None:
    text = out(node, "lspci", "-vv", "-s", address)
    assert "LnkCap:\tPort #0, Speed 8GT/s, Width x16, ASPM L0s L1" in text
    assert "LnkCtl:\tASPM Disabled" in text
    # The driver trains the link of an idle card down; lspci remarks on it at the card.
    assert f"LnkSta:\tSpeed 2.5GT/s{' (downgraded)' if address in GPUS else ''}, Width x16" in text


def test_lspci_shows_regions_and_the_windows_of_the_port_above(node: Node) -> None:
    card, port = (out(node, "lspci", "-vv", "-s", address) for address in ("0000:3b:00.0", "0000:3a:00.0"))
    assert "Region 0: Memory at c0000000 (32-bit, non-prefetchable) [size=16M]" in card
    assert "Region 1: Memory at 200000000000 (64-bit, prefetchable) [size=32G]" in card
    assert "Bus: primary=3a, secondary=3b, subordinate=3b" in port
    assert "Prefetchable memory behind bridge: 0000200000000000-" in port


def test_lspci_tree_and_sysfs_paths_agree(node: Node) -> None:
    for card, port in GPUS.items():
        assert out(node, "realpath", f"/sys/bus/pci/devices/{card}").strip() == f"/sys/devices/pci{port[:7]}/{port}/{card}"
        assert out(node, "realpath", f"/sys/bus/pci/drivers/nvidia/{card}").strip() == f"/sys/devices/pci{port[:7]}/{port}/{card}"
    assert re.search(r"-\[0000:3a\]---00\.0-\[3b\]----00\.0", out(node, "lspci", "-t"))


def test_setpci_changes_what_lspci_reads(node: Node) -> None:
    try:
        out(node, "setpci", "-s", "0000:3b:00.0", "CAP_EXP+10.w=0042")
        assert "LnkCtl:\tASPM L1 Enabled" in out(node, "lspci", "-vv", "-s", "0000:3b:00.0")
    finally:
        out(node, "setpci", "-s", "0000:3b:00.0", "CAP_EXP+10.w=0040")


def test_dmidecode_reads_machine_and_power_supplies(node: Node) -> None:
    assert out(node, "dmidecode", "-s", "system-product-name").strip() == "PowerEdge R740"
    assert out(node, "dmidecode", "-s", "chassis-type").strip() == "Rack Mount Chassis"
    text = out(node, "dmidecode", "-t", "39")
    assert re.findall(r"Max Power Capacity: (.*)", text) == ["1100 W", "1100 W"]
    assert text.count("Status: Present, OK") == text.count("Plugged: Yes") == 2
    assert out(node, "cat", "/sys/class/dmi/id/sys_vendor").strip() == "Dell Inc."


# Kernel modules and log


def test_kmod_tools_read_the_module(node: Node) -> None:
    assert out(node, "modinfo", "-F", "version", "nvidia").strip() == "580.95.05"
    assert out(node, "modinfo", "-F", "license", "nvidia").strip() == "NVIDIA"
    alias = out(node, "cat", "/sys/bus/pci/devices/0000:3b:00.0/modalias").strip()
    assert "nvidia" in out(node, "modprobe", "--resolve-alias", alias).split()


def test_journalctl_reads_the_kernel_log(node: Node) -> None:
    text = out(node, "journalctl", "-k", "-b", "-o", "cat")
    assert "pci 0000:3b:00.0: BAR 1 [mem 0x200000000000-0x2007ffffffff 64bit pref]" in text.splitlines()
    assert re.search(r"^NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580\.95\.05", text, re.MULTILINE)


def test_apt_knows_where_the_driver_is_from(node: Node) -> None:
    text = out(node, "apt-cache", "policy", "libnvidia-compute-580-server")
    assert re.search(r"\*\*\* 580\.95\.05-\S+ \d+\n\s+\d+ http://mirror\.lab/ubuntu noble/restricted amd64 Packages", text)


def test_initial_ram_disk_is_readable(node: Node) -> None:
    release = out(node, "uname", "-r").strip()
    out(node, "update-initramfs", "-u", "-k", release)
    assert "init" in out(node, "lsinitramfs", f"/boot/initrd.img-{release}").split()


# NVML


@pytest.fixture(scope="session")
def programs(node: Node) -> str:
    """Programs of PyPI for the node's Python, brought in without a network of its own."""
    version = out(node, "python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()

    def build(folder: Path) -> None:
        target = folder / PROGRAMS.relative_to("/")
        with tempfile.TemporaryDirectory() as work:
            pip = [sys.executable, "-m", "pip", "-q"]
            # This one is published as source only.
            subprocess.run([*pip, "wheel", "--no-deps", "-w", work, GPUSTAT], check=True)
            wheels = [*WHEELS, *map(str, Path(work).glob("*.whl"))]
            subprocess.run([*pip, "install", "--no-deps", "--only-binary=:all:", "--python-version", version, "--target", str(target), *wheels], check=True)

    node.put(cached("programs", [version, GPUSTAT, *WHEELS], build))
    return str(PROGRAMS)


def uuids(node: Node) -> list[str]:
    return [gpu["uuid"] for gpu in node.hardware()["gpus"]]


def test_pynvml(node: Node, programs: str) -> None:
    script = """if True:
        import pynvml as n
        n.nvmlInit()
        print(n.nvmlSystemGetDriverVersion())
        for i in range(n.nvmlDeviceGetCount()):
            h = n.nvmlDeviceGetHandleByIndex(i)
            m = n.nvmlDeviceGetMemoryInfo(h)
            print(n.nvmlDeviceGetName(h), n.nvmlDeviceGetUUID(h), n.nvmlDeviceGetPciInfo(h).busId, m.total >> 20, n.nvmlDeviceGetEnforcedPowerLimit(h))
        try:
            n.nvmlDeviceGetMigMode(h)
        except n.NVMLError as error:
            print(error)
    """
    lines = out(node, "python3", "-c", script, PYTHONPATH=programs).splitlines()
    cards = [f"Tesla P40 {uuid} 0000{address.upper()} 23040 250000" for uuid, address in zip(uuids(node), GPUS, strict=True)]
    assert lines == ["580.95.05", *cards, "Not Supported"]


def test_gpustat(node: Node, programs: str) -> None:
    text = out(node, "python3", "-m", "gpustat", "--no-color", "--no-header", PYTHONPATH=programs)
    assert len(re.findall(r"^\[\d\] Tesla P40 +\| 28.C, +0 % +\| +0 / 23040 MB", text, re.MULTILINE)) == 2


def test_nvitop(node: Node, programs: str) -> None:
    text = out(node, "python3", "-m", "nvitop", "--once", "--no-unicode", PYTHONPATH=programs, TERM="xterm", COLUMNS="120", LINES="60")
    assert "Driver Version: 580.95.05" in text
    assert text.count("Tesla P40") == 2


def test_nvidia_smi(node: Node) -> None:
    assert out(node, "nvidia-smi", "-L").splitlines() == [f"GPU {i}: Tesla P40 (UUID: {uuid})" for i, uuid in enumerate(uuids(node))]


# Containers


@pytest.fixture(scope="session")
def docker(node: Node) -> Node:
    """Docker, NVIDIA's container toolkit and an image."""
    container_host.install(node)
    return node


def in_container(node: Node, script: str, *options: str) -> tuple[int, str]:
    return node.run("docker", "run", "--rm", "--entrypoint", "sh", *options, container_host.IMAGE, "-c", script, check=False)


# Makes the node of each GPU where it is missing and opens it: "No such device" is the answer of a permitted device without a kernel driver.
PROBE = "for n in 0 1; do [ -e /dev/nvidia$n ] || mknod /dev/nvidia$n c 195 $n; echo $n $( (: </dev/nvidia$n) 2>&1); done; nvidia-smi -L"
ALLOWED, DENIED = "No such device or address", "Operation not permitted"


def test_toolkit_generates_a_specification(docker: Node) -> None:
    out(docker, "nvidia-ctk", "--quiet", "cdi", "generate", "--output=/etc/cdi/nvidia.yaml")
    names = out(docker, "nvidia-ctk", "--quiet", "cdi", "list").split()
    assert sorted(names) == sorted(f"nvidia.com/gpu={name}" for name in ["0", "1", "all", *uuids(docker)])


@pytest.mark.parametrize(("number", "other"), [(0, 1), (1, 0)])
def test_container_gets_one_gpu_by_cdi(docker: Node, number: int, other: int) -> None:
    out(docker, "nvidia-ctk", "--quiet", "cdi", "generate", "--output=/etc/cdi/nvidia.yaml")
    status, text = in_container(docker, PROBE, "--device", f"nvidia.com/gpu={uuids(docker)[number]}")
    assert status == 0, text
    assert f"{number} sh: can't open /dev/nvidia{number}: {ALLOWED}" in text
    assert f"{other} sh: can't open /dev/nvidia{other}: {DENIED}" in text
    assert re.findall(r"^GPU \d: .*UUID: (\S+)\)", text, re.MULTILINE) == [uuids(docker)[number]]


@pytest.mark.parametrize(("number", "other"), [(0, 1), (1, 0)])
def test_container_gets_one_gpu_by_the_nvidia_runtime(docker: Node, number: int, other: int) -> None:
    status, text = in_container(docker, PROBE, "--runtime=nvidia", "-e", f"NVIDIA_VISIBLE_DEVICES={uuids(docker)[number]}")
    assert status == 0, text
    assert f"{number} sh: can't open /dev/nvidia{number}: {ALLOWED}" in text
    assert f"{other} sh: can't open /dev/nvidia{other}: {DENIED}" in text
    assert re.findall(r"^GPU \d: .*UUID: (\S+)\)", text, re.MULTILINE) == [uuids(docker)[number]]


def test_container_without_a_gpu_has_no_driver(docker: Node) -> None:
    status, text = in_container(docker, "ls /dev; nvidia-smi -L")
    assert status == 127
    assert "nvidia0" not in text
