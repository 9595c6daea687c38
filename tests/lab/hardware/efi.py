"""The firmware's variables that tell of Secure Boot, as efivarfs shows them: four bytes of attributes, then the value (UEFI specification, 32.4)."""
from __future__ import annotations

import struct
import uuid
from pathlib import Path

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
_X509 = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
# Boot service and run-time access, not kept in flash: what shim and the firmware set anew at each boot.
_ATTRIBUTES = struct.pack("<I", 6)


def signature_list(certificate: bytes) -> bytes:
    """Return an EFI_SIGNATURE_LIST with one certificate (DER)."""
    size = 16 + len(certificate)
    return uuid.UUID(_X509).bytes_le + struct.pack("<III", 28 + size, 0, size) + uuid.UUID(SHIM).bytes_le + certificate


def write_variables(secure_boot: bool, enrolled: list[bytes], folder: Path) -> None:
    """Write `folder`/efi of a machine that started in UEFI mode; `enrolled` are the certificates (DER) that shim passes on to the kernel."""
    variables = folder / "efi/efivars"
    variables.mkdir(parents=True)
    (folder / "efi/fw_platform_size").write_text("64\n")
    (variables / f"SecureBoot-{GLOBAL}").write_bytes(_ATTRIBUTES + bytes([secure_boot]))
    (variables / f"SetupMode-{GLOBAL}").write_bytes(_ATTRIBUTES + b"\0")
    (variables / f"MokListRT-{SHIM}").write_bytes(_ATTRIBUTES + b"".join(map(signature_list, enrolled)))
