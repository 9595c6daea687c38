"""The files that make a Debian userland a node of the lab: stage 0, module hooks, identity, and the hardware's state."""
from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

from tests.lab.hardware.dmi import write_tables
from tests.lab.hardware.efi import write_variables
from tests.lab.hardware.nvml_state import write_state
from tests.lab.hardware.pci_tree import write_tree
from tests.lab.node.identity import IDENTITIES
from tests.lab.packages.build import KERNEL_SIGNER
from tests.lab.packages.keys import module_key

_NODE = Path(__file__).parent
_LAB = _NODE.parent
_LIBRARY = "usr/lib/lab"
_UNIT = "lab-coldplug.service"
# Everything whose change makes a node another node.
_OWN = ("init", "coldplug", _UNIT, "grub.py", "identity.py", "payload.py", "driver.py", "lifecycle.py", "sources.py")
SOURCES = [_LAB / "kmod", _LAB / "hardware", *(_NODE / name for name in _OWN)]
PRELOAD = _NODE / "preload.c"


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def build_preload(out: Path) -> None:
    """Compile the library that every program of a node has preloaded."""
    target = out / _LIBRARY / "libkernel.so"
    target.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(target), str(PRELOAD)], check=True)


def _write_boot_loader(root: Path) -> None:
    """Write GRUB's programs, and the hooks with which packages of kernels call them."""
    for name in ("update-grub", "grub-set-default", "grub-reboot"):
        _link(root / "usr/sbin" / name, f"/{_LIBRARY}/grub.py")
    _text(root / "etc/default/grub", "GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\n")
    for when in ("postinst.d", "postrm.d"):
        _text(root / "etc/kernel" / when / "zz-update-grub", "#!/bin/sh\nexec update-grub\n")
        (root / "etc/kernel" / when / "zz-update-grub").chmod(0o755)


def _der(certificate: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.read_text())


def _write_firmware(hardware: dict[str, Any], root: Path) -> None:
    """Write the variables of a machine that started in UEFI mode, and the key with which DKMS signs: Ubuntu's packages make one, Debian's DKMS its own."""
    firmware, ubuntu = hardware["firmware"], hardware["identity"].startswith("ubuntu")
    own = module_key(f"{'Ubuntu host Secure Boot Module Signature' if ubuntu else 'DKMS module signing'} key")
    enrolled = [module_key(KERNEL_SIGNER), *([own] if firmware["dkms_key_enrolled"] else [])]
    write_variables(firmware["secure_boot"], [_der(key.certificate) for key in enrolled], root / "var/lib/lab/firmware")
    folder, private, certificate = ("shim-signed/mok", "MOK.priv", "MOK.der") if ubuntu else ("dkms", "mok.key", "mok.pub")
    if ubuntu or firmware["dkms_key_enrolled"]:
        _text(root / "var/lib" / folder / private, own.private.read_text())
        (root / "var/lib" / folder / private).chmod(0o600)
        (root / "var/lib" / folder / certificate).write_bytes(_der(own.certificate))


def write_hardware(hardware: dict[str, Any], root: Path) -> None:
    """Write /var/lib/lab: the resolved profile and all that is derived from it."""
    state = root / "var/lib/lab"
    state.mkdir(parents=True)
    (state / "hardware.json").write_text(json.dumps(hardware, indent=2) + "\n")
    write_tree(hardware, state / "pci")
    write_tables(hardware, state / "firmware")
    write_state(hardware, state / "nvml")
    if hardware["firmware"]["secure_boot"] is not None:
        _write_firmware(hardware, root)


def write_payload(hardware: dict[str, Any], tools: Path, repositories: list[Path], root: Path) -> None:
    """Write all files below `root`. `tools` holds the compiled programs of /usr/lib/lab, `repositories` are what the mirror serves."""
    write_hardware(hardware, root)
    shutil.copytree(tools, root, dirs_exist_ok=True)
    library = root / _LIBRARY
    shutil.copytree(_LAB / "kmod", library / "kmod", ignore=shutil.ignore_patterns("*.conf", "__pycache__"))
    for name in ("init", "coldplug", "grub.py"):
        shutil.copy(_NODE / name, library / name)
    (library / "grub.py").chmod(0o755)
    _text(root / "etc/ld.so.preload", f"/{_LIBRARY}/libkernel.so\n")
    _text(root / "etc/modprobe.d/lab.conf", (_LAB / "kmod/lab.conf").read_text())
    _text(root / "usr/lib/systemd/system" / _UNIT, (_NODE / _UNIT).read_text())
    _link(root / "usr/lib/systemd/system/sysinit.target.wants" / _UNIT, f"../{_UNIT}")
    if not hardware["nouveau"] and not hardware["driver"]:
        _text(root / "etc/modprobe.d/blacklist-nouveau.conf", "blacklist nouveau\n")
    identity = IDENTITIES[hardware["identity"]]
    if identity.userland != "el9":
        _write_boot_loader(root)
    for path, content in identity.files.items():
        _text(root / path, content)
    for path, target in identity.links.items():
        _link(root / path, target)
    for key, path in identity.keys.items():
        _text(root / path, next(folder / key for folder in repositories if (folder / key).exists()).read_text())
