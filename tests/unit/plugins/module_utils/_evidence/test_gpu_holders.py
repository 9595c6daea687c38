"""Processes with device files of the driver, their owners, and what the kernel counts."""

from __future__ import annotations

import os

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import cgroup, gpu_holders, module_users

ID = "c2a117b82edf42543769ecd83f136b6182cf192415dafcd2f5f7300fbe7ebdd1"
OTHER = "54aae63ea8b3305faa4b13ee1f3dcbd686e765be200f62dee3a5ec3af00413fc"
NAMED_V1 = "9:name=systemd:/\n8:pids:/\n5:devices:/\n0::%s\n"  # both versions at once, as a container with its own tree shows it


@pytest.mark.parametrize(
    "text, owner",
    [
        ("0::/system.slice/nvidia-persistenced.service\n", ("nvidia-persistenced.service", None, None)),
        (NAMED_V1 % "/system.slice/nvidia-persistenced.service", ("nvidia-persistenced.service", None, None)),
        ("0::/user.slice/user-1000.slice/session-3.scope\n", ("session-3.scope", None, None)),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/ollama.service\n", ("user@1000.service", None, None)),
        ("0::/\n", (None, None, None)),
        ("", (None, None, None)),
        ("0::/system.slice/docker-%s.scope\n" % ID, ("docker-%s.scope" % ID, "docker", ID)),
        (NAMED_V1 % ("/system.slice/docker-%s.scope" % ID), ("docker-%s.scope" % ID, "docker", ID)),
        ("12:devices:/docker/%s\n1:name=systemd:/docker/%s\n" % (ID, ID), (None, "docker", ID)),
        # A container in a container: the host's is the first.
        ("0::/docker/%s/docker/%s\n" % (ID, OTHER), (None, "docker", ID)),
        ("0::/machine.slice/libpod-%s.scope/container\n" % ID, ("libpod-%s.scope" % ID, "podman", ID)),
        ("0::/machine.slice/libpod-conmon-%s.scope\n" % ID, ("libpod-conmon-%s.scope" % ID, None, None)),
        # A unit of Podman's: stopping the unit stops it.
        ("0::/system.slice/train.service/libpod-payload-%s\n" % ID, ("train.service", None, None)),
        ("0::/libpod_parent/libpod-%s\n" % ID, (None, "podman", ID)),
        (
            "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1_2.slice/cri-containerd-%s.scope\n" % ID,
            ("cri-containerd-%s.scope" % ID, "containerd", ID),
        ),
        ("0::/kubepods.slice/kubepods-pod1.slice/crio-%s.scope\n" % ID, ("crio-%s.scope" % ID, "cri-o", ID)),
        ("11:devices:/kubepods/besteffort/pod3f1c/%s\n1:name=systemd:/kubepods/besteffort/pod3f1c/%s\n" % (ID, ID), (None, "kubernetes", ID)),
        ("0::/lxc.payload.web/system.slice/ollama.service\n", ("ollama.service", "lxc", "web")),
        # Names that only look alike.
        ("0::/system.slice/docker.service\n", ("docker.service", None, None)),
        ("0::/system.slice/docker-%s.service\n" % ID[:12], ("docker-%s.service" % ID[:12], None, None)),
    ],
)
def test_owner_of_a_control_group(text, owner):
    assert cgroup.owner(text) == owner


@pytest.fixture
def machine(tmp_path):
    """A root folder whose /proc gets processes by `add(pid, open paths, maps, cgroup, words)`."""

    def add(pid, paths=(), maps="", group="0::/\n", words=("sleep", "100")):
        folder = tmp_path / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        for number, path in enumerate(paths):
            (folder / "fd" / str(number)).symlink_to(path)
        (folder / "maps").write_text(maps)
        (folder / "cgroup").write_text(group)
        (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))
        (folder / "comm").write_text("kworker\n")
        return folder

    for address, vendor, cards in (("0000:3b:00.0", "0x10de", ("card1", "renderD129")), ("0000:02:00.0", "0x102b", ("card0",))):
        device = tmp_path / "sys/bus/pci/devices" / address
        device.mkdir(parents=True)
        (device / "vendor").write_text(vendor + "\n")
        for card in cards:
            (device / "drm" / card).mkdir(parents=True)
    add.root = str(tmp_path)
    return add


@pytest.mark.parametrize(
    "path, node",
    [
        ("/dev/nvidia0", "/dev/nvidia0"),
        ("/dev/nvidia15", "/dev/nvidia15"),
        ("/dev/nvidiactl", "/dev/nvidiactl"),
        ("/dev/nvidia-uvm", "/dev/nvidia-uvm"),
        ("/dev/nvidia-uvm-tools", "/dev/nvidia-uvm-tools"),
        ("/dev/nvidia-modeset", "/dev/nvidia-modeset"),
        ("/dev/nvidia-nvswitch0", "/dev/nvidia-nvswitch0"),
        ("/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia-caps/nvidia-cap1"),
        ("/dev/nvidia-caps-imex-channels/channel0", "/dev/nvidia-caps-imex-channels/channel0"),
        ("/dev/gdrdrv", "/dev/gdrdrv"),
        ("/dev/nvidia0 (deleted)", "/dev/nvidia0"),
        ("/srv/chroot/dev/nvidia0", "/dev/nvidia0"),
        ("/dev/dri/renderD129", "/dev/dri/renderD129"),
        ("/dev/dri/card1", "/dev/dri/card1"),
        # The card of another vendor, and what is no device file.
        ("/dev/dri/card0", None),
        ("/dev/dri/card11", None),
        ("/dev/null", None),
        ("/home/alice/nvidia0", None),
        ("/dev/shm/nvidia0", None),
        ("/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05", None),
        ("socket:[4711]", None),
    ],
)
def test_device_files_open_and_mapped(machine, path, node):
    machine(10, ["/dev/null", path, path])
    line = "7f1c%04d000-7f1c%04d000 rw-s 00044000 00:05 %d                        %s\n"
    machine(11, [], line % (1, 2, 420, "/usr/lib/libc.so.6") + line % (3, 4, 421, path) + "7ffc1000-7ffc2000 rw-p 00000000 00:00 0 [stack]\n")
    found = gpu_holders.read(machine.root)
    assert [(one["pid"], one["nodes"]) for one in found] == ([(10, [node]), (11, [node])] if node else [])


def test_who_it_is(machine):
    words = ("/opt/venv/bin/python3", "train.py", "--token", "secret")
    machine(4242, ["/dev/nvidiactl", "/dev/nvidia1"], "", "0::/user.slice/user-1000.slice/session-3.scope\n", words)
    os.chown("%s/proc/4242" % machine.root, 0, 0)
    machine(2, ["/dev/nvidia0"], words=())
    assert gpu_holders.read(machine.root) == [
        {"pid": 2, "command": "kworker", "user": "root", "nodes": ["/dev/nvidia0"], "unit": None, "engine": None, "container": None},
        {"pid": 4242, "command": "python3 train.py", "user": "root", "nodes": ["/dev/nvidia1", "/dev/nvidiactl"], "unit": "session-3.scope", "engine": None,
         "container": None},
    ]  # fmt: skip


def test_processes_that_end_or_have_no_files_are_passed_over(machine):
    folder = machine(7, ["/dev/nvidia0"])
    (folder / "fd" / "0").unlink()
    (folder / "fd").rmdir()
    machine(8, ["/dev/nvidia0"])
    assert [one["pid"] for one in gpu_holders.read(machine.root)] == [8]


def test_a_process_that_hides_its_files_is_an_error(machine, monkeypatch):
    machine(7, ["/dev/nvidia0"])
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith("/7/fd"):
            raise PermissionError(13, "Permission denied", path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(EvidenceError, match="open files of 1 processes cannot be read .*seen by root only"):
        gpu_holders.read(machine.root)


def test_a_process_that_cannot_be_read_does_not_stop_the_task(machine, monkeypatch):
    folder = machine(7, ["/dev/nvidia0"])
    (folder / "maps").unlink()
    os.mkfifo(folder / "maps")  # a read waits, as for the lock of a process that is stuck in the driver
    with pytest.raises(EvidenceError, match="the processes that hold GPUs cannot be read: no answer within 0.3 s when process 7 was asked"):
        gpu_holders.read(machine.root, timeout_seconds=0.3)


def test_this_machine_can_be_read():
    assert all(one["nodes"] and one["pid"] for one in gpu_holders.read())


def test_users_of_the_kernel_modules(tmp_path):
    loaded = {"nvidia": ("5", ["nvidia_uvm", "nvidia_modeset"]), "nvidia_uvm": ("0", []), "nvidia_modeset": (None, []), "i2c_nvidia_gpu": ("1", [])}
    for name, (count, used_by) in loaded.items():
        (tmp_path / "sys/module" / name / "holders").mkdir(parents=True)
        if count is not None:
            (tmp_path / "sys/module" / name / "refcnt").write_text(count + "\n")
        for user in used_by:
            (tmp_path / "sys/module" / name / "holders" / user).mkdir()
    assert module_users.read(str(tmp_path)) == [
        {"name": "nvidia", "users": 5, "used_by": ["nvidia_modeset", "nvidia_uvm"]},
        {"name": "nvidia_uvm", "users": 0, "used_by": []},
        {"name": "nvidia_modeset", "users": None, "used_by": []},
    ]
    assert module_users.read(str(tmp_path / "empty")) == []
