"""The part of udev's rules that the lab follows when a driver arrives."""
from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "lab/kmod/udev.py"


@pytest.fixture
def udev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    specification = importlib.util.spec_from_file_location("udev", SOURCE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    folders = (tmp_path / "usr", tmp_path / "etc")
    for folder in folders:
        folder.mkdir()
    monkeypatch.setattr(module, "_FOLDERS", folders)
    return module


@pytest.mark.parametrize(
    ("conditions", "applies"),
    [
        ('ACTION=="add", DEVPATH=="/module/nvidia", SUBSYSTEM=="module"', True),
        ('ACTION=="add|bind", DEVPATH=="/module/nvidia"', True),
        ('ACTION=="remove", DEVPATH=="/module/nvidia"', False),
        ('ACTION=="add", DEVPATH=="/module/nvidia_uvm"', False),
        ('ACTION=="add", SUBSYSTEM=="module"', False),
        ('ACTION=="add", DEVPATH=="/module/nvidia", ATTR{vendor}=="0x10de"', False),
        ('ACTION=="add", DEVPATH=="/module/nvidia", KERNEL!="x"', False),
    ],
)
def test_a_rule_applies_when_all_its_conditions_hold(udev: ModuleType, tmp_path: Path, conditions: str, applies: bool) -> None:
    (tmp_path / "usr/71-nvidia.rules").write_text(f'# comment\n\n{conditions}, \\\n  RUN+="/bin/touch {tmp_path}/ran"\n')
    udev.event("add", "/module/nvidia", "module")
    assert (tmp_path / "ran").exists() is applies


def test_a_file_of_etc_hides_one_of_the_same_name(udev: ModuleType, tmp_path: Path) -> None:
    for folder in ("usr", "etc"):
        (tmp_path / folder / "71-nvidia.rules").write_text(f'ACTION=="add", DEVPATH=="/module/nvidia", RUN+="/bin/touch {tmp_path}/from-{folder}"\n')
    udev.event("add", "/module/nvidia", "module")
    assert (tmp_path / "from-etc").exists()
    assert not (tmp_path / "from-usr").exists()
