"""What a kernel shows of modules and PCI drivers, and its log."""
from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import re
import shlex
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

MODULES = Path("/sys/module")
PCI = Path("/sys/bus/pci")
STATE = Path("/var/lib/lab")
_RUN = Path("/run/lab")


def hardware() -> dict:
    """Return the resolved profile of this machine."""
    return json.loads((STATE / "hardware.json").read_text())


def log(level: int, *lines: str) -> None:
    """Write lines into the kernel's log: journald reads them as it reads /dev/kmsg, one record at a time."""
    with contextlib.ExitStack() as stack:
        guard = stack.enter_context((_RUN / "kmsg.lock").open("a+"))
        fcntl.flock(guard, fcntl.LOCK_EX)
        guard.seek(0)
        number = int(guard.read() or 0)
        fifo = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
        stack.callback(os.close, fifo)
        for line in lines:
            _drain(fifo)
            os.write(fifo, f"{level},{number},{time.monotonic_ns() // 1000},-;{line}\n".encode())
            number += 1
        _drain(fifo)
        guard.truncate(0)
        guard.write(str(number))


def _drain(fifo: int, patience: float = 5.0) -> None:
    waiting = array.array("i", [1])
    until = time.monotonic() + patience
    while time.monotonic() < until:
        fcntl.ioctl(fifo, termios.FIONREAD, waiting)
        if not waiting[0]:
            return
        time.sleep(0.005)


def module_folder(name: str) -> Path:
    """Return the module's folder in sysfs; it exists while the module is loaded."""
    return MODULES / name.replace("-", "_")


def module_information(name: str) -> dict[str, str]:
    """Return what modinfo reads from the module's file for the running kernel; empty without a file."""
    for file in (name, *_other_files(name)):
        done = subprocess.run(["modinfo", "-0", file], check=False, capture_output=True, text=True)
        if done.returncode == 0:
            break
    else:
        return {}
    pairs = (field.partition("=") for field in done.stdout.split("\0"))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def _other_files(name: str) -> list[str]:
    """Return the files that modprobe's configuration names for a module, as Debian's nvidia-current, whose alternatives choose between two flavours."""
    configuration = subprocess.run(["modprobe", "-c"], check=False, capture_output=True, text=True).stdout
    found = re.findall(rf"^install {re.escape(name)} .*\bmodprobe -i (nvidia-current\S*)", configuration, re.MULTILINE)
    return [file for one in found for file in (one, one.replace("nvidia-current", "nvidia-current-open"))]


def module_options(name: str, given: list[str]) -> dict[str, str]:
    """Return the module's parameters: those of modprobe.d, then those of the command line."""
    words = list(given)
    configuration = subprocess.run(["modprobe", "-c"], check=False, capture_output=True, text=True).stdout
    for line in re.findall(rf"^options {name} (.*)$", configuration, re.MULTILINE)[::-1]:
        words = shlex.split(line) + words
    return {key: value for key, _, value in (word.partition("=") for word in words)}


def show_module(name: str, information: dict[str, str], dependencies: list[str]) -> None:
    """Show a module as loaded, and as holder of the modules that it depends on."""
    folder = module_folder(name)
    (folder / "holders").mkdir(parents=True)
    values = {"refcnt": "0", "coresize": "65536", "initstate": "live", **{key: information[key] for key in ("version", "srcversion") if key in information}}
    for file, value in values.items():
        (folder / file).write_text(f"{value}\n")
    for dependency in dependencies:
        (module_folder(dependency) / "holders" / folder.name).symlink_to(f"../../{folder.name}")
        count(dependency)


def hide_module(name: str) -> list[str]:
    """Undo show_module; returns the modules that it depended on."""
    folder = module_folder(name)
    below = []
    for holder in MODULES.glob(f"*/holders/{folder.name}"):
        holder.unlink()
        below.append(holder.parent.parent.name)
        count(below[-1])
    subprocess.run(["rm", "-rf", str(folder)], check=True)
    return below


def holders(name: str) -> list[str]:
    """Return the loaded modules that use this one."""
    return sorted(path.name for path in (module_folder(name) / "holders").iterdir())


def count(name: str, used: int = 0) -> None:
    """Write the module's reference count: the modules on top of it, and `used` by processes."""
    (module_folder(name) / "refcnt").write_text(f"{len(holders(name)) + used}\n")


def nvidia_gpus() -> Iterator[Path]:
    """Yield the GPUs of vendor NVIDIA on the bus: VGA and 3D controllers."""
    return _of_nvidia("0x030000", "0x030200")


def nvswitches() -> Iterator[Path]:
    """Yield the NVSwitches on the bus: bridges of no other kind."""
    return _of_nvidia("0x068000")


def _of_nvidia(*classes: str) -> Iterator[Path]:
    for device in sorted(PCI.glob("devices/*")):
        if (device / "vendor").read_text().strip() == "0x10de" and (device / "class").read_text().strip() in classes:
            yield device


def has_memory(device: Path, bars: list[dict]) -> bool:
    """Say whether the card's largest region, through which its memory is reached, has an address."""
    largest = max(bars, key=lambda bar: bar["size_mib"])
    flags = (device / "resource").read_text().splitlines()[largest["index"]].split()[2]
    return int(flags, 16) != 0


def train_link(device: Path, generation: int) -> None:
    """Set the speed of a card's link, at both ends, as the driver does to save power."""
    speed = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0"}[generation]
    for end in (device.resolve(), device.resolve().parent):
        (end / "current_link_speed").write_text(f"{speed} GT/s PCIe\n")
        config = bytearray((end / "config").read_bytes())
        offset = config[0x34]
        while config[offset] != 0x10:  # PCI Express capability; Link Status at +0x12
            offset = config[offset + 1]
        config[offset + 0x12] = config[offset + 0x12] & 0xF0 | generation
        (end / "config").write_bytes(config)


def bind(device: Path, driver: str) -> None:
    """Link a PCI device and its driver."""
    real = device.resolve()
    folder = PCI / "drivers" / driver
    folder.mkdir(parents=True, exist_ok=True)
    up = "../" * (len(real.parts) - 2)
    (real / "driver").symlink_to(f"{up}bus/pci/drivers/{driver}")
    (folder / device.name).symlink_to(f"../../../..{str(real).removeprefix('/sys')}")


def unbind(driver: str) -> None:
    """Release all devices of a driver."""
    folder = PCI / "drivers" / driver
    for entry in folder.glob("*:*"):
        (entry.resolve() / "driver").unlink()
        entry.unlink()
    if folder.exists():
        folder.rmdir()


def character_device(path: str, major: int, minor: int) -> None:
    """Make a device node that everybody may open."""
    if not os.path.exists(path):
        os.mknod(path, 0o666 | 0o020000, os.makedev(major, minor))
    os.chmod(path, 0o666)


def register_majors(majors: dict[str, int]) -> None:
    """Add names to the character devices of /proc/devices, in the order of their numbers."""
    _edit_devices(lambda entries: entries + [(major, name) for name, major in majors.items() if (major, name) not in entries])


def unregister_majors(names: tuple[str, ...]) -> None:
    """Take names out of /proc/devices."""
    _edit_devices(lambda entries: [(major, name) for major, name in entries if name not in names])


def _edit_devices(change) -> None:  # noqa: ANN001
    characters, _, blocks = Path("/proc/devices").read_text().partition("\n\n")
    entries = [(int(major), name) for major, name in (line.split(maxsplit=1) for line in characters.splitlines()[1:])]
    lines = "".join(f"{major:3d} {name}\n" for major, name in sorted(change(entries), key=lambda entry: entry[0]))
    # Written in place: the file is bound over the kernel's.
    with open("/proc/devices", "w") as file:
        file.write(f"Character devices:\n{lines}\n{blocks}")
