"""NVIDIA's kernel modules: which cards they claim, what they show, and their messages (kernel-open/nvidia/nv-pci.c, nv-procfs.c)."""
from __future__ import annotations

import errno
import subprocess
from pathlib import Path

import kernel

PROC = Path("/proc/driver/nvidia")
BUS_DRIVER = "nvidia"
MAJOR, UVM_MAJOR, NVSWITCH_MAJOR = 195, 510, 508
NVSWITCH_CONTROL = Path("/dev/nvidia-nvswitchctl")
# Compute capabilities: before Turing there is no GSP, which the open module needs; Maxwell, Pascal and Volta end with branch 580.
_FIRST_OPEN = _FIRST_AFTER_580 = (7, 5)
_LAST_LEGACY_BRANCH = 580


def _refusal(gpu: dict, device: Path, version: str, is_open: bool) -> list[str]:
    """Return the messages with which the module refuses a card; empty when it accepts."""
    pci, name = gpu["board"]["pci"], gpu["board"]["name"]
    capability = tuple(int(part) for part in str(gpu["board"]["nvml"]["compute_capability"]).split("."))
    if not kernel.has_memory(device, pci["bars"]):
        return [
            "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
            f"NVRM: BAR1 is 0M @ 0x0 (PCI:{device.name})",
            f"nvidia {device.name}: probe with driver nvidia failed with error -1",
        ]
    if int(version.split(".", maxsplit=1)[0]) > _LAST_LEGACY_BRANCH and capability < _FIRST_AFTER_580:
        return [
            f"NVRM: The NVIDIA {name} GPU installed in this system is",
            f"NVRM:  supported through the NVIDIA {_LAST_LEGACY_BRANCH}.xx Legacy drivers. Please",
            "NVRM:  visit http://www.nvidia.com/object/unix.html for more",
            f"NVRM:  information.  The {version} NVIDIA driver will ignore",
            "NVRM:  this GPU.  Continuing probe...",
        ]
    if is_open and capability < _FIRST_OPEN:
        return [
            f"NVRM: The NVIDIA GPU {device.name} (PCI ID: {pci['vendor']:04x}:{pci['device']:04x})",
            "NVRM: installed in this system is not supported by open",
            "NVRM: nvidia.ko because it does not include the required GPU",
            "NVRM: System Processor (GSP).",
            f"nvidia {device.name}: probe with driver nvidia failed with error -1",
        ]
    return []


def _show_gpu(gpu: dict, device: Path, version: str, is_open: bool) -> None:
    values = {**gpu["board"]["nvml"], **gpu["nvml"]}
    folder = PROC / "gpus" / device.name
    folder.mkdir(parents=True)
    firmware = version if is_open else "N/A"
    (folder / "information").write_text(
        f"Model: \t\t {gpu['board']['name']}\n"
        f"IRQ:   \t\t {(device / 'irq').read_text().strip()}\n"
        f"GPU UUID: \t {gpu['uuid']}\n"
        f"Video BIOS: \t {values.get('vbios_version', '??.??.??.??.??')}\n"
        "Bus Type: \t PCIe\nDMA Size: \t 47 bits\nDMA Mask: \t 0x7fffffffffff\n"
        f"Bus Location: \t {device.name}\nDevice Minor: \t {gpu['minor']}\nGPU Firmware: \t {firmware}\nGPU Excluded:\t No\n"
    )
    kernel.character_device(f"/dev/nvidia{gpu['minor']}", MAJOR, gpu["minor"])


def give_up(device: Path) -> None:
    """Release one card, as writing its address into the driver's `unbind` does."""
    if not (device / "driver").exists():
        return
    (kernel.PCI / "drivers/nvidia" / device.name).unlink()
    (device.resolve() / "driver").unlink()
    minor = next(gpu["minor"] for gpu in kernel.hardware()["gpus"] if gpu["bus_address"] == device.name)
    Path(f"/dev/nvidia{minor}").unlink(missing_ok=True)
    subprocess.run(["rm", "-rf", str(PROC / "gpus" / device.name)], check=True)


def _claim_switches() -> None:
    """NVSwitches have a driver and nodes of their own, in the same module."""
    switches = list(kernel.nvswitches())
    if switches:
        kernel.register_majors({"nvidia-nvswitch": NVSWITCH_MAJOR})
        kernel.character_device(str(NVSWITCH_CONTROL), NVSWITCH_MAJOR, 255)
    for number, device in enumerate(switches):
        kernel.bind(device, "nvidia-nvswitch")
        kernel.character_device(f"/dev/nvidia-nvswitch{number}", NVSWITCH_MAJOR, number)


def fall_off_the_bus(gpu: dict, device: Path) -> None:
    """Configuration space reads all ones; the kernel's log says Xid 79."""
    (device / "config").write_bytes(b"\xff" * 4096)
    kernel.log(
        3,
        f"NVRM: Xid (PCI:{device.name[:-2]}): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        f"NVRM: GPU {device.name}: GPU has fallen off the bus.",
        f"NVRM: GPU {device.name}: GPU serial number is {gpu['serial']}.",
    )


def report_ecc_error(gpu: dict, device: Path) -> None:
    """The kernel's log says Xid 48."""
    text = "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer."
    kernel.log(3, f"NVRM: Xid (PCI:{device.name[:-2]}): 48, pid='<unknown>', name=<unknown>, {text}")


def insert(information: dict[str, str], options: dict[str, str]) -> None:
    """Claim the cards; raise ENODEV, as the module's start does, when not one is left to work with."""
    version, is_open = information["version"], information["license"] != "NVIDIA"
    gpus = {gpu["bus_address"]: gpu for gpu in kernel.hardware()["gpus"]}
    devices = list(kernel.nvidia_gpus())
    free = [device for device in devices if not (device / "driver").exists()]
    if not devices:
        kernel.log(4, "NVRM: No NVIDIA GPU found.")
        raise OSError(errno.ENODEV, "no GPU")
    if len(free) < len(devices):
        kernel.log(
            4,
            f"NVRM: The NVIDIA probe routine was not called for {len(devices) - len(free)} device(s).",
            "NVRM: This can occur when another driver was loaded and ",
            "NVRM: obtained ownership of the NVIDIA device(s).",
            "NVRM: Try unloading the conflicting kernel module (and/or",
            "NVRM: reconfigure your kernel without the conflicting",
            "NVRM: driver(s)), then try loading the NVIDIA kernel module",
            "NVRM: again.",
        )
    refused = 0
    claimed = []
    for device in free:
        messages = _refusal(gpus[device.name], device, version, is_open)
        if information.get("lab_defect") == "gpu" and device == free[-1]:
            messages = [
                f"NVRM: GPU {device.name}: RmInitAdapter failed! (0x25:0x65:1457)",
                f"nvidia {device.name}: probe with driver nvidia failed with error -1",
            ]
        if messages:
            refused += 1
            kernel.log(3, *messages)
        else:
            claimed.append(device)
    if refused:
        kernel.log(4, f"NVRM: The NVIDIA probe routine failed for {refused} device(s).")
    if not claimed:
        kernel.log(4, "NVRM: None of the NVIDIA devices were initialized." if free else "NVRM: No NVIDIA devices probed.")
        raise OSError(errno.ENODEV, "no GPU claimed")
    flavor = "Open Kernel Module for x86_64" if is_open else "x86_64 Kernel Module"
    PROC.mkdir(parents=True)
    banner = f"NVRM version: NVIDIA UNIX {flavor}  {version}  Release Build\n"
    (PROC / "version").write_text(f"{banner}GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n")
    # ModifyDeviceFiles is off: else the toolkit covers this file in each container, whose /proc is the host kernel's and has none.
    defaults = {"EnableMSI": "1", "ModifyDeviceFiles": "0", "DeviceFileUID": "0", "DeviceFileGID": "0", "DeviceFileMode": "438", "EnableResizableBar": "0"}
    given = {key.removeprefix("NVreg_"): value for key, value in options.items() if key.startswith("NVreg_")}
    (PROC / "params").write_text("".join(f"{key}: {value}\n" for key, value in {**defaults, **given}.items()))
    kernel.log(6, f"nvidia: loading {'out-of-tree' if is_open else 'NVIDIA'} module", banner.strip().replace("NVRM version:", "NVRM: loading"))
    kernel.register_majors({"nvidia": MAJOR, "nvidiactl": MAJOR})
    kernel.character_device("/dev/nvidiactl", MAJOR, 255)
    _claim_switches()
    for device in claimed:
        gpu = gpus[device.name]
        kernel.bind(device, "nvidia")
        _show_gpu(gpu, device, version, is_open)
        kernel.train_link(device, int({**gpu["board"]["nvml"], **gpu["nvml"]}["pcie_generation"]))
        if gpu["lost"]:
            fall_off_the_bus(gpu, device)


def remove() -> None:
    """Release the cards and take away what the module showed."""
    kernel.unbind("nvidia")
    kernel.unbind("nvidia-nvswitch")
    for node in Path("/dev").glob("nvidia-nvswitch*"):
        node.unlink()
    for node in Path("/dev").glob("nvidia*"):
        if node.name == "nvidiactl" or node.name[6:].isdigit():
            node.unlink()
    subprocess.run(["rm", "-rf", str(PROC)], check=True)
    kernel.unregister_majors(("nvidia", "nvidiactl", "nvidia-nvswitch"))


def publish_state() -> None:
    """Start the GPUs anew (pending modes hold, settings are forgotten) and give containers their state."""
    pack = Path("/usr/lib/lab/pack-nvml-state")
    if pack.exists():
        subprocess.run([str(pack), "--load"], check=True)


class Uvm:
    """nvidia-uvm: unified memory, with two device nodes."""

    @staticmethod
    def insert(information: dict[str, str], options: dict[str, str]) -> None:
        """Show the device nodes."""
        kernel.register_majors({"nvidia-uvm": UVM_MAJOR})
        kernel.character_device("/dev/nvidia-uvm", UVM_MAJOR, 0)
        kernel.character_device("/dev/nvidia-uvm-tools", UVM_MAJOR, 1)

    @staticmethod
    def remove() -> None:
        """Take the device nodes away."""
        for name in ("nvidia-uvm", "nvidia-uvm-tools"):
            Path("/dev", name).unlink(missing_ok=True)
        kernel.unregister_majors(("nvidia-uvm",))


class Modeset:
    """nvidia-modeset: display control, with one device node."""

    @staticmethod
    def insert(information: dict[str, str], options: dict[str, str]) -> None:
        """Show the device node."""
        kernel.register_majors({"nvidia-modeset": MAJOR})
        kernel.character_device("/dev/nvidia-modeset", MAJOR, 254)

    @staticmethod
    def remove() -> None:
        """Take the device node away."""
        Path("/dev/nvidia-modeset").unlink(missing_ok=True)
        kernel.unregister_majors(("nvidia-modeset",))
