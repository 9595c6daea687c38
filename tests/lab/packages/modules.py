"""Kernel module doubles: ELF objects with a true `.modinfo` and true symbol names, and no code: modinfo, depmod and modprobe read them.

The same C sources go into the DKMS source package and into the prebuilt modules; prebuilt ones are signed as the kernel's sign-file does
(Documentation/admin-guide/module-signing.rst): a detached CMS signature appended, then `struct module_signature`, then a magic string.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from tests.lab.packages.keys import ModuleKey
from tests.lab.packages.recipes import OPEN, PROPRIETARY

__all__ = ["OPEN", "PROPRIETARY", "c_source", "compile_module", "modinfo", "nouveau", "signature"]

PKEY_ID_PKCS7 = 2
MAGIC = b"~Module signature appended~\n"

# Display controllers of NVIDIA (0x10de): class 0300 VGA, 0302 3D. The bridge class is NVSwitch's.
ALIASES = [f"pci:v000010DEd*sv*sd*bc{code}i00*" for code in ("06sc80", "03sc02", "03sc00")]
DUAL = "Dual MIT/GPL"

# Symbols by which the modules hang together: depmod finds dependencies by symbols, not by `depends=`.
EXPORTS = {"nvidia": ["nvidia_get_rm_ops", "nvUvmInterfaceRegisterUvmCallbacks"], "nvidia-modeset": ["nvKmsKapiGetFunctionsTable"]}
IMPORTS = {"nvidia-uvm": ["nvUvmInterfaceRegisterUvmCallbacks"], "nvidia-modeset": ["nvidia_get_rm_ops"], "nvidia-drm": ["nvKmsKapiGetFunctionsTable"]}


# What a defective driver does: `build` calls a function of the kernel in a way that the kernel's headers no longer know, `version` makes the
# module say another version than the libraries, `gpu` is for the kernel's double, which lets the last card fail.
DEFECTIVE_SOURCE = """\
struct pci_dev;
extern int pci_resize_resource(struct pci_dev *device, int number, int size, int exclude);
int nv_resize_pcie_bars(struct pci_dev *device) { return pci_resize_resource(device, 1, 8); }
"""
OTHER_VERSION = "580.997.01"


def modinfo(version: str, flavor: str, defect: str = "") -> dict[str, list[tuple[str, str]]]:
    """The `.modinfo` entries of every module of a driver, without `vermagic`: `{module: [(key, value)]}`."""
    core_license = DUAL if flavor == OPEN else "NVIDIA"
    version = OTHER_VERSION if defect == "version" else version
    return {
        "nvidia": [
            ("firmware", f"nvidia/{version}/gsp_tu10x.bin"),
            ("firmware", f"nvidia/{version}/gsp_ga10x.bin"),
            *(("alias", alias) for alias in ALIASES),
            ("license", core_license),
            ("version", version),
            ("supported", "external"),
            ("depends", ""),
            ("name", "nvidia"),
            ("parm", "NVreg_EnableGpuFirmware:int"),
            ("parm", "NVreg_PreserveVideoMemoryAllocations:int"),
            ("parm", "NVreg_RegistryDwords:charp"),
            *([("lab_defect", "gpu")] if defect == "gpu" else []),
        ],
        "nvidia-uvm": [("version", version), ("supported", "external"), ("license", DUAL), ("depends", "nvidia"), ("name", "nvidia_uvm")],
        "nvidia-modeset": [("version", version), ("supported", "external"), ("license", core_license), ("depends", "nvidia"), ("name", "nvidia_modeset")],
        "nvidia-drm": [("version", version), ("supported", "external"), ("license", DUAL), ("depends", "nvidia-modeset"), ("name", "nvidia_drm")],
    }


def nouveau() -> list[tuple[str, str]]:
    """The in-tree driver, which claims the same boards until it is blacklisted."""
    aliases = [("alias", f"pci:v000010DEd*sv*sd*bc03sc{code}i*") for code in ("00", "02")]
    return [("license", "GPL and additional rights"), *aliases, ("depends", ""), ("intree", "Y"), ("name", "nouveau")]


def c_source(module: str, entries: list[tuple[str, str]], defect: str = "") -> str:
    """C source of a module: its `.modinfo`, the names that it exports and those that it uses. UTS_RELEASE comes from the kernel headers."""
    strings = "\n".join(f'    "{key}={value}\\0"' for key, value in entries)
    text = (
        'static const char modinfo[] __attribute__((section(".modinfo"), used, aligned(1))) =\n'
        f'{strings}\n    "vermagic=" UTS_RELEASE " SMP preempt mod_unload modversions ";\n'
    )
    if module in EXPORTS:
        names = "\\0".join(EXPORTS[module])
        text += f'static const char exported[] __attribute__((section("__ksymtab_strings"), used, aligned(1))) = "{names}";\n'
    for symbol in IMPORTS.get(module, []):
        text += f"extern void {symbol}(void);\nstatic void (*use_{symbol})(void) __attribute__((used)) = {symbol};\n"
    return text + (DEFECTIVE_SOURCE if module == "nvidia" and defect == "build" else "")


def compile_module(source: Path, release: str, target: Path) -> None:
    """Compile one source for the kernel `release`."""
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-c", f'-DUTS_RELEASE="{release}"', "-o", str(target), str(source)], check=True)


def signature(module: Path, key: ModuleKey) -> bytes:
    """What sign-file appends to `module`: signature, `struct module_signature` (12 bytes, length big-endian) and magic."""
    command = ["openssl", "cms", "-sign", "-binary", "-noattr", "-nocerts", "-nosmimecap", "-md", "sha512", "-outform", "DER"]
    command += ["-signer", str(key.certificate), "-inkey", str(key.private), "-in", str(module)]
    signed = subprocess.run(command, check=True, capture_output=True).stdout
    return signed + struct.pack(">BBBBB3xI", 0, 0, PKEY_ID_PKCS7, 0, 0, len(signed)) + MAGIC
