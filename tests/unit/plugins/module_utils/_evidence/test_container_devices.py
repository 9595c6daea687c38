"""What is read of device nodes, mounts and CDI specifications."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import cdi_spec, container_devices

SPECS = Path(__file__).resolve().parents[4] / "fixtures" / "cdi"
A, B = "GPU-664b2614-9664-5e80-9e08-9f97094ff433", "GPU-9970ad65-2eb1-5455-bc71-0a8a33cf3a0c"
# A line of /proc/PID/mountinfo of a container that the NVIDIA runtime started, shortened at its end; the second file was replaced on the host since.
MOUNTS = """\
2029 2016 0:121 /usr/bin/nvidia-smi /usr/bin/nvidia-smi ro,nosuid,nodev,relatime - overlay overlay rw
2034 2016 0:121 /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05//deleted /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05 ro,nosuid - overlay overlay rw
2035 2016 0:121 /usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05 /usr/lib/x86_64-linux-gnu/libcuda.so.580.95.05 ro,nosuid - overlay overlay rw
2036 2016 0:121 /usr/lib/x86_64-linux-gnu/libcudadebugger.so.580.95.05 /usr/lib/x86_64-linux-gnu/libcudadebugger.so.580.95.05 ro - overlay overlay rw
short line
"""
INFORMATION = "Model: \t\t Tesla P40\nIRQ:   \t\t 16\nGPU UUID: \t %s\nBus Location: \t 0000:3b:00.0\nDevice Minor: \t %d\nGPU Excluded:\t No\n"


@pytest.mark.parametrize("name", ["nvidia.yaml", "nvidia.json"])
def test_a_specification(name):
    entry = cdi_spec.parse("/var/run/cdi/nvidia.yaml", (SPECS / name).read_text().strip())
    assert entry == {
        "path": "/var/run/cdi/nvidia.yaml",
        "devices": sorted(["0", "1", A, B, "all"]),
        "driver_versions": ["580.95.05"],
        "nodes": {
            "/dev/nvidia0": [195, 0], "/dev/nvidia1": [195, 1], "/dev/nvidiactl": [195, 255], "/dev/nvidia-modeset": [195, 254], "/dev/nvidia-uvm": [510, 0],
            "/dev/nvidia-uvm-tools": [510, 1],
        },
    }  # fmt: skip


@pytest.mark.parametrize("text", ["", "kind: example.com/nic\ndevices: []", '{"kind": "example.com/nic"}', "{", '{"kind": "nvidia.com/gpu", "devices": [1]}'])
def test_what_is_no_specification_of_gpus(text):
    assert cdi_spec.parse("/etc/cdi/x.yaml", text) is None


def test_specifications_of_both_folders(tmp_path):
    for folder, name in (("etc/cdi", "old.json"), ("var/run/cdi", "nvidia.yaml"), ("etc/cdi", "other.txt")):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        source = SPECS / ("nvidia.json" if name.endswith("json") else "nvidia.yaml")
        (tmp_path / folder / name).write_text(source.read_text())
    assert [spec["path"] for spec in cdi_spec.read(str(tmp_path))] == ["/etc/cdi/old.json", "/var/run/cdi/nvidia.yaml"]
    assert cdi_spec.read(str(tmp_path / "none")) == []


def test_libraries_that_are_mounted():
    assert container_devices.libraries(MOUNTS) == {"libnvidia-ml": ["580.95.05"], "libcuda": ["580.95.05"]}


def test_the_host_and_a_container(tmp_path, monkeypatch):
    for address, uuid, minor in (("0000:af:00.0", B, 0), ("0000:3b:00.0", A, 1)):
        folder = tmp_path / "proc/driver/nvidia/gpus" / address
        folder.mkdir(parents=True)
        (folder / "information").write_text(INFORMATION % (uuid, minor))
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.95.05\n")
    for folder in (tmp_path / "dev", tmp_path / "proc/42/root/dev"):
        folder.mkdir(parents=True)
        for name in ("nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps", "null"):
            (folder / name).touch()
    (tmp_path / "proc/42/mountinfo").write_text(MOUNTS)
    numbers = {"nvidia1": (195, 1), "nvidiactl": (195, 255), "nvidia-uvm": (510, 0), "null": (1, 3)}
    real = os.stat

    def status(path, **options):
        """Device nodes cannot be made in a test."""
        found = real(path, **options)
        number = numbers.get(os.path.basename(str(path)))
        if number is None:
            return found
        return os.stat_result((stat.S_IFCHR | 0o666, *found[1:10]), {"st_rdev": os.makedev(*number)})

    monkeypatch.setattr(container_devices.os, "stat", status)
    nodes = {"/dev/nvidia1": [195, 1], "/dev/nvidiactl": [195, 255], "/dev/nvidia-uvm": [510, 0]}
    assert container_devices.host(str(tmp_path)) == {
        "loaded_version": "580.95.05", "nodes": nodes,
        "gpus": [{"uuid": A, "minor": 1, "bus_address": "0000:3b:00.0"}, {"uuid": B, "minor": 0, "bus_address": "0000:af:00.0"}],
    }  # fmt: skip
    assert container_devices.inside(42, str(tmp_path)) == {
        "nodes": nodes, "libraries": {"libnvidia-ml": ["580.95.05"], "libcuda": ["580.95.05"]}, "reason": "",
    }  # fmt: skip
    gone = container_devices.inside(43, str(tmp_path))
    assert (gone["nodes"], gone["libraries"]) == (None, None) and "cannot be read" in gone["reason"]
