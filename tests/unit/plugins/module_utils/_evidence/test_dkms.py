"""DKMS's tree as dkms 3.2.2 was seen to leave it in each state."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import dkms

from tests.unit.gpu_machine import write

KERNEL = "6.8.0-87-generic"


def source(root, module="nvidia", version="580.95.05", there=True):
    if there:
        write(root, "/usr/src/%s-%s/dkms.conf" % (module, version), "")
    folder = root / ("var/lib/dkms/%s/%s" % (module, version))
    folder.mkdir(parents=True)
    (folder / "source").symlink_to(root / ("usr/src/%s-%s" % (module, version)))


def built(root, module="nvidia", version="580.95.05", kernel=KERNEL, file="nvidia.ko.zst"):
    write(root, "/var/lib/dkms/%s/%s/%s/x86_64/module/%s" % (module, version, kernel, file), "")
    write(root, "/var/lib/dkms/%s/%s/%s/x86_64/log/make.log" % (module, version, kernel), "")


def installed(root, module="nvidia", version="580.95.05", kernel=KERNEL):
    (root / ("var/lib/dkms/%s/kernel-%s-x86_64" % (module, kernel))).symlink_to("%s/%s/x86_64" % (version, kernel))


def row(state, kernel=KERNEL, module="nvidia", version="580.95.05"):
    return {"module": module, "version": version, "kernel_release": kernel, "state": state}


def test_no_dkms(tmp_path):
    assert dkms.read(str(tmp_path)) == []


def test_states(tmp_path):
    source(tmp_path)
    assert dkms.read(str(tmp_path)) == [row("added", None)]
    built(tmp_path)
    assert dkms.read(str(tmp_path)) == [row("built")]
    installed(tmp_path)
    assert dkms.read(str(tmp_path)) == [row("installed")]
    built(tmp_path, kernel="6.8.0-90-generic")
    assert dkms.read(str(tmp_path)) == [row("installed"), row("built", "6.8.0-90-generic")]


def test_an_older_version_is_only_built(tmp_path):
    for version in ("570.86.15", "580.95.05"):
        source(tmp_path, version=version)
        built(tmp_path, version=version)
    installed(tmp_path)
    assert dkms.read(str(tmp_path)) == [row("built", version="570.86.15"), row("installed")]


@pytest.mark.parametrize("file, there", [("nvidia.txt", True), ("nvidia.ko", False)])
def test_broken(tmp_path, file, there):
    source(tmp_path, there=there)
    built(tmp_path, file=file)
    assert dkms.read(str(tmp_path)) == [row("broken")]


def test_sources_that_are_gone(tmp_path):
    source(tmp_path, there=False)
    assert dkms.read(str(tmp_path)) == [row("broken", None)]


def test_other_modules_are_left_out(tmp_path):
    for module in ("nvidia-current-open", "nvidia-srv", "nvidia-tesla-535", "zfs", "nvidiafb"):
        source(tmp_path, module=module)
    (tmp_path / "var/lib/dkms/nvidia-current-open/original_module").mkdir()
    assert [one["module"] for one in dkms.read(str(tmp_path))] == ["nvidia-current-open", "nvidia-srv", "nvidia-tesla-535"]
