"""The boot loader's double and the firmware's variables."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.lab.hardware import efi
from tests.lab.node import grub

OLD, NEW = "6.8.0-88-generic", "6.8.0-90-generic"


@pytest.fixture
def menu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(grub, "MENU", tmp_path / "grub.cfg")
    monkeypatch.setattr(grub, "ENVIRONMENT", tmp_path / "grubenv")
    monkeypatch.setattr(grub, "DEFAULTS", tmp_path / "default")
    monkeypatch.setattr(grub, "BLS", tmp_path / "none")
    monkeypatch.setattr(grub, "kernels", lambda: [NEW, OLD])
    return tmp_path


@pytest.mark.parametrize(
    ("default", "saved", "once", "release"),
    [
        ("0", None, None, NEW),
        ("1>1", None, None, OLD),
        ("saved", "1>1", None, OLD),
        ("saved", None, None, NEW),
        ("0", None, "1>1", OLD),
        ("no such entry", None, None, NEW),
        (f"gnulinux-advanced-{grub.DISK}>gnulinux-{OLD}-advanced-{grub.DISK}", None, None, OLD),
    ],
)
def test_which_kernel_boots(menu: Path, default: str, saved: str | None, once: str | None, release: str) -> None:
    (menu / "default").write_text(f"GRUB_DEFAULT='{default}'\n")
    grub.update()
    grub.set_environment(saved_entry=saved, next_entry=once)
    assert grub.boot() == release
    assert "next_entry" not in grub.environment()
    assert (menu / "grubenv").stat().st_size == 1024


def test_an_enrolled_certificate_is_a_signature_list(tmp_path: Path) -> None:
    efi.write_variables(True, [b"one", b"second"], tmp_path)
    variables = {path.name.partition("-")[0]: path.read_bytes() for path in (tmp_path / "efi/efivars").iterdir()}
    assert variables["SecureBoot"] == b"\6\0\0\0\1"
    data, found = variables["MokListRT"][4:], []
    while data:
        total, header, size = struct.unpack_from("<III", data, 16)
        assert header == 0 and total == 28 + size
        found.append(data[44:total])
        data = data[total:]
    assert found == [b"one", b"second"]
