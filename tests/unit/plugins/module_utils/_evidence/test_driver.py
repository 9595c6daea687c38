"""The driver without asking it: what is loaded, installed and on disk."""

from __future__ import annotations

import os

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver, kernel_modules
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gpu_machine import NVRM, NVRM_OPEN, kernel_module, no_commands, write

CLOSED = {"version": "580.95.05", "license": "NVIDIA", "supported": "external"}
OPEN = {"license": "Dual MIT/GPL", "version": "580.95.05"}


@pytest.mark.parametrize(
    "sysfs, proc, expected",
    [
        ("580.95.05", NVRM.format("580.95.05"), (True, "580.95.05", "proprietary", "")),
        ("570.133.20", NVRM_OPEN.format("570.133.20"), (True, "570.133.20", "open", "")),
        (None, "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024\n", (True, "470.256.02", "proprietary", "")),
        ("390.157", None, (True, "390.157", None, "")),
        (None, None, (False, None, None, "the nvidia kernel module is not loaded")),
        (None, "NVRM version: something else\n", (True, None, None, "the loaded module names no version")),
        ("", "", (True, None, None, "the loaded module names no version")),
    ],
)
def test_loaded(tmp_path, sysfs, proc, expected):
    if sysfs is not None:
        write(tmp_path, "/sys/module/nvidia/version", sysfs + "\n")
    if proc is not None:
        write(tmp_path, "/proc/driver/nvidia/version", proc)
    found = driver.loaded(str(tmp_path))
    assert (found["loaded"], found["version"], found["flavor"], found["reason"]) == expected


def test_library_through_a_chain_of_links_as_debian_has_it(tmp_path):
    folder = "/usr/lib/x86_64-linux-gnu"
    write(tmp_path, folder + "/nvidia/current/libnvidia-ml.so.535.183.01", "")
    (tmp_path / "etc/alternatives").mkdir(parents=True)
    os.symlink("libnvidia-ml.so.535.183.01", str(tmp_path) + folder + "/nvidia/current/libnvidia-ml.so.1")
    os.symlink(str(tmp_path) + folder + "/nvidia/current/libnvidia-ml.so.1", str(tmp_path / "etc/alternatives/nvidia--libnvidia-ml.so.1"))
    os.symlink(str(tmp_path / "etc/alternatives/nvidia--libnvidia-ml.so.1"), str(tmp_path) + folder + "/libnvidia-ml.so.1")
    assert driver.library(str(tmp_path)) == ("535.183.01", folder + "/libnvidia-ml.so.1", "")


def test_library_named_by_the_linkers_cache_comes_first(tmp_path):
    write(tmp_path, "/opt/nvidia/lib/libnvidia-ml.so.1", "")
    os.rename(str(tmp_path / "opt/nvidia/lib/libnvidia-ml.so.1"), str(tmp_path / "opt/nvidia/lib/libnvidia-ml.so.580.95.05"))
    os.symlink("libnvidia-ml.so.580.95.05", str(tmp_path / "opt/nvidia/lib/libnvidia-ml.so.1"))
    write(tmp_path, "/etc/ld.so.cache", b"glibc-ld.so.cache1.1\0\1\2libc.so.6\0/lib/libc.so.6\0libnvidia-ml.so.1\0/opt/nvidia/lib/libnvidia-ml.so.1\0")
    assert driver.library(str(tmp_path)) == ("580.95.05", "/opt/nvidia/lib/libnvidia-ml.so.1", "")


def test_library_without_a_version_in_its_name_and_no_library(tmp_path):
    assert driver.library(str(tmp_path)) == (None, None, "libnvidia-ml.so.1 is not installed")
    write(tmp_path, "/usr/lib64/libnvidia-ml.so.1", "")
    version, path, reason = driver.library(str(tmp_path))
    assert (version, path) == (None, "/usr/lib64/libnvidia-ml.so.1") and "no version" in reason


@pytest.mark.parametrize(
    "listed",
    [
        "updates/dkms/nvidia.ko",
        "updates/dkms/nvidia-current.ko",
        "updates/dkms/nvidia-current-open.ko",
        "updates/dkms/nvidia-tesla-535.ko",
        "updates/dkms/nvidia-legacy-390xx.ko",
        "extra/nvidia.ko",
        "kernel/nvidia-580srv/nvidia.ko",
    ],
)
@pytest.mark.parametrize("in_modules_dep", [True, False])
def test_modules_are_found_where_distributions_put_them(tmp_path, listed, in_modules_dep):
    base = "/lib/modules/6.8.0-87-generic/"
    write(tmp_path, base + listed, kernel_module(CLOSED))
    others = "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko: kernel/x.ko\nkernel/drivers/i2c/busses/i2c-nvidia-gpu.ko:\n"
    others += "updates/dkms/nvidia-drm.ko: %s\nupdates/dkms/nvidia-uvm.ko: %s\n" % (listed, listed)
    write(tmp_path, base + "modules.dep", others + ("%s:\n" % listed if in_modules_dep else ""))
    found, unreadable = kernel_modules.versions(no_commands, str(tmp_path))
    module = {"version": "580.95.05", "license": "NVIDIA", "path": "%s%s%s" % (tmp_path, base, listed), "signer": None}
    assert found == {"6.8.0-87-generic": module} and unreadable == {}


def test_compressed_modules_are_left_to_modinfo(tmp_path):
    path = write(tmp_path, "/lib/modules/5.14.0-570.el9.x86_64/extra/nvidia.ko.xz", b"\xfd7zXZ")
    asked = []

    def run(args, timeout_seconds=None):
        asked.append((args, timeout_seconds))
        return 0, "filename:       %s\nversion:        580.95.05\nsupported:      external\nlicense:        Dual MIT/GPL\n" % path, ""

    found, unreadable = kernel_modules.versions(run, str(tmp_path), 7)
    assert found["5.14.0-570.el9.x86_64"]["version"] == "580.95.05" and found["5.14.0-570.el9.x86_64"]["license"] == "Dual MIT/GPL" and unreadable == {}
    assert asked == [(["modinfo", str(path)], 7)]


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"", "not an elf object"),
        (b"\x7fELF\x02\x01", "not a readable ELF object"),
        (kernel_module({"license": "NVIDIA"}), "names no version"),
        (kernel_module(CLOSED)[:-70], "not a readable ELF object"),
    ],
)
def test_a_module_that_cannot_be_read_is_named_with_the_reason(tmp_path, content, reason):
    write(tmp_path, "/lib/modules/6.1.0/updates/dkms/nvidia.ko", content)
    found, unreadable = kernel_modules.versions(no_commands, str(tmp_path))
    assert found == {} and reason in unreadable["6.1.0"]


@given(st.one_of(st.binary(max_size=600), st.integers(0, 400).flatmap(lambda at: st.binary(min_size=1, max_size=8).map(lambda piece: patched(at, piece)))))
def test_modinfo_never_raises(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzzed.ko"
    path.write_bytes(content)
    info, reason = kernel_modules.modinfo(str(path))
    assert bool(info) or bool(reason) or info == {}


def patched(at, piece):
    whole = kernel_module(CLOSED)
    at = min(at, len(whole) - len(piece))
    return whole[:at] + piece + whole[at + len(piece) :]


def test_read_tells_flavour_from_the_licence_on_disk_when_nothing_is_loaded(tmp_path):
    write(tmp_path, "/lib/modules/6.8.0/updates/dkms/nvidia.ko", kernel_module(OPEN))
    write(tmp_path, "/lib/modules/6.9.0/updates/dkms/nvidia.ko", kernel_module({"version": "570.1.1", "license": "NVIDIA"}))
    (tmp_path / "lib/modules/6.10.0").mkdir()
    (tmp_path / "sys/module/nouveau").mkdir(parents=True)
    found = driver.read(no_commands, str(tmp_path), kernel="6.8.0")
    assert found["flavor"] == "open" and found["nouveau_loaded"] is True
    assert found["module_versions"] == {"6.8.0": "580.95.05", "6.9.0": "570.1.1"}
    assert set(found["unavailable"]) == {"loaded_version", "library_version"}
    assert found["sources"]["flavor"] == "license of /lib/modules/6.8.0/updates/dkms/nvidia.ko"
    assert driver.read(no_commands, str(tmp_path), kernel="6.10.0")["flavor"] is None


def test_information_of_the_gpus(tmp_path):
    text = "Model: \t\t Tesla P40\nIRQ:   \t\t 42\nGPU UUID: \t GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801\nVideo BIOS: \t 86.02.23.00.01\nBus Type: \t PCIe\n"
    write(tmp_path, "/proc/driver/nvidia/gpus/0000:3b:00.0/information", text)
    found = driver.information(str(tmp_path))
    assert found["0000:3b:00.0"]["GPU UUID"] == "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801" and found["0000:3b:00.0"]["Model"] == "Tesla P40"
