"""Which modules the kernel takes: all of them, or with Secure Boot those that are signed by a key that the firmware passes on."""
from __future__ import annotations

import struct
import subprocess
from pathlib import Path

_VARIABLES = Path("/sys/firmware/efi/efivars")
_SECURE_BOOT = _VARIABLES / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
_ENROLLED = _VARIABLES / "MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"


def refusal(information: dict[str, str]) -> str:
    """Return why the kernel rejects a module (kernel/module/signing.c), empty when it takes it. The kernel's own modules are taken."""
    if not _SECURE_BOOT.exists() or _SECURE_BOOT.read_bytes()[4:5] != b"\1" or information.get("intree"):
        return ""
    if not information.get("signer"):
        return "unsigned module"
    serial = information["sig_key"].replace(":", "").lstrip("0").upper()
    return "" if serial in _serials() else "module with unavailable key"


def _serials() -> set[str]:
    data = _ENROLLED.read_bytes()[4:]
    found = set()
    while data:
        size, header = struct.unpack_from("<II", data, 16)
        certificate = data[28 + header + 16 : size]
        done = subprocess.run(["openssl", "x509", "-inform", "der", "-noout", "-serial"], input=certificate, check=True, capture_output=True)
        found.add(done.stdout.decode().strip().partition("=")[2].lstrip("0"))
        data = data[size:]
    return found
