"""Profiles and what is written from them: PCI tree and DMI tables, read back as their specifications say."""
from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab.errors import LabError
from tests.lab.hardware import profile
from tests.lab.hardware.dmi import write_tables
from tests.lab.hardware.nvml_state import write_state
from tests.lab.hardware.pci_files import bars
from tests.lab.hardware.pci_tree import write_tree

Regions = dict[int, tuple[int, int]]


def tree_of(hardware: profile.Hardware, folder: Path) -> Path:
    write_tree(hardware, folder)
    return folder


def capability(config: bytes, wanted: int) -> int:
    offset = config[0x34]
    while offset:
        if config[offset] == wanted:
            return offset
        offset = config[offset + 1]
    raise AssertionError(f"no capability {wanted:#x}")


def regions(device: Path) -> Regions:
    lines = (device / "resource").read_text().splitlines()
    assert len(lines) == 13
    values = [[int(word, 16) for word in line.split()] for line in lines]
    return {index: (first, last) for index, (first, last, flags) in enumerate(values) if flags}


@pytest.mark.parametrize("name", profile.profile_names())
def test_every_profile_resolves(name: str) -> None:
    hardware = profile.load(name)
    gpus = hardware["gpus"]
    for key in ("uuid", "serial", "bus_address", "upstream", "minor"):
        assert len({gpu[key] for gpu in gpus}) == len(gpus), key
    assert [gpu["bus_address"] for gpu in gpus] == sorted(gpu["bus_address"] for gpu in gpus)


@pytest.mark.parametrize("name", profile.profile_names())
def test_regions_are_aligned_disjoint_and_inside_the_windows_of_the_port(name: str, tmp_path: Path) -> None:
    hardware = profile.load(name)
    tree = tree_of(hardware, tmp_path / "pci")
    taken = []
    for gpu in hardware["gpus"]:
        device = tree / f"devices/pci{gpu['upstream'][:7]}/{gpu['upstream']}/{gpu['bus_address']}"
        port = device.parent
        config = (port / "config").read_bytes()
        low = struct.unpack_from("<HH", config, 0x20)
        high = (*struct.unpack_from("<HH", config, 0x24), *struct.unpack_from("<II", config, 0x28))
        windows = [
            ((low[0] & 0xFFF0) << 16, (low[1] & 0xFFF0) << 16 | 0xFFFFF),
            (high[2] << 32 | (high[0] & 0xFFF0) << 16, high[3] << 32 | (high[1] & 0xFFF0) << 16 | 0xFFFFF),
        ]
        sizes = {bar["index"]: bar["size_mib"] << 20 for bar in bars(gpu["board"]["pci"], hardware["firmware"])}
        for index, (first, last) in regions(device).items():
            assert last - first + 1 == sizes[index]
            assert first % sizes[index] == 0
            assert any(begin <= first and last <= end for begin, end in windows), (index, windows)
            taken.append((first, last))
    taken.sort()
    assert all(before[1] < after[0] for before, after in zip(taken, taken[1:], strict=False))


@pytest.mark.parametrize(("aspm", "bits"), [("off", 0), ("l0s", 1), ("l1", 2), ("l0s_l1", 3)])
def test_link_control_of_both_ends(aspm: str, bits: int, tmp_path: Path) -> None:
    hardware = profile.load("p40x2")
    hardware["firmware"]["aspm"] = aspm
    tree = tree_of(hardware, tmp_path / "pci")
    configs = list((tree / "devices").rglob("config"))
    assert len(configs) == 4
    for path in configs:
        config = path.read_bytes()
        assert len(config) == 4096
        express = capability(config, 0x10)
        assert struct.unpack_from("<H", config, express + 0x10)[0] & 3 == bits
        assert struct.unpack_from("<I", config, express + 0x0C)[0] & 0xC00 == 0xC00
        speed, width = struct.unpack_from("<H", config, express + 0x12)[0] & 0xF, struct.unpack_from("<H", config, express + 0x12)[0] >> 4 & 0x3F
        assert (speed, width) == (3, 16)


def test_without_above_4g_decoding_only_small_regions_have_an_address(tmp_path: Path) -> None:
    hardware = profile.load("p40x2-above4g-off")
    tree = tree_of(hardware, tmp_path / "pci")
    found = regions(tree / "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0")
    assert sorted(found) == [0, 3]
    assert all(last < 1 << 32 for _, last in found.values())


def test_bus_entries_lead_to_the_devices(tmp_path: Path) -> None:
    tree = tree_of(profile.load("p40x2"), tmp_path / "pci")
    assert (tree / "bus/devices/0000:3b:00.0").readlink() == Path("../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0")
    # As mounted: bus is /sys/bus/pci, devices is /sys/devices.
    assert (tree / "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/subsystem").readlink() == Path("../../../../bus/pci")


def test_dmi_tables_are_well_formed(tmp_path: Path) -> None:
    hardware = profile.load("p40x2")
    write_tables(hardware, tmp_path)
    entry = (tmp_path / "dmi/tables/smbios_entry_point").read_bytes()
    table = (tmp_path / "dmi/tables/DMI").read_bytes()
    assert (entry[:5], len(entry), sum(entry) & 0xFF) == (b"_SM3_", 24, 0)
    assert struct.unpack_from("<I", entry, 12)[0] == len(table)
    structures, offset = [], 0
    while offset < len(table):
        kind, length, handle = struct.unpack_from("<BBH", table, offset)
        end = table.index(b"\0\0", offset + length) + 2
        strings = table[offset + length : end - 2].split(b"\0")
        structures.append((kind, handle, table[offset : offset + length], strings))
        offset = end
    assert [kind for kind, *_ in structures] == [0, 1, 3, 39, 39, 127]
    assert [handle for _, handle, *_ in structures] == list(range(6))
    for kind, _, body, strings in structures:
        if kind == 39:
            assert struct.unpack_from("<H", body, 0x0C)[0] == 1100
            assert body[4] == 1
            assert strings[0].startswith(b"PSU.Slot.")


@pytest.mark.parametrize(
    "content",
    [
        {"colour": "red"},
        {"identity": "beos"},
        {"gpus": [{"board": "p40", "colour": "red"}]},
        {"gpus": [{"board": "p40"}]},
        {"gpus": [{"board": "none", "bus_address": "0000:01:00.0", "upstream": "0000:00:00.0"}]},
    ],
)
def test_a_wrong_profile_is_named(content: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(content))
    monkeypatch.setattr(profile, "PROFILES", tmp_path)
    with pytest.raises(LabError):
        profile.load("wrong")


def device_of(tree: Path, address: str) -> Path:
    """The folder of a device."""
    return next(tree.glob(f"devices/**/{address}"))


def extended(config: bytes, wanted: int) -> int | None:
    """Offset of an extended capability."""
    offset = 0x100
    while offset:
        header = struct.unpack_from("<I", config, offset)[0]
        if header & 0xFFFF == wanted:
            return offset
        offset = header >> 20
    return None


def lspci(tree: Path, address: str, folder: Path) -> str:
    """What lspci makes of a device's configuration space."""
    config = (device_of(tree, address) / "config").read_bytes()
    lines = [f"{offset:02x}: {' '.join(f'{byte:02x}' for byte in config[offset : offset + 16])}" for offset in range(0, len(config), 16)]
    dump = folder / "dump"
    dump.write_text(f"{address} Device\n" + "\n".join(lines) + "\n\n")
    return subprocess.run(["lspci", "-F", str(dump), "-vvv"], capture_output=True, text=True, check=True).stdout


def changed(name: str, folder: Path, **firmware: object) -> Path:
    hardware = profile.load(name)
    hardware["firmware"].update(firmware)
    return tree_of(hardware, folder / "pci")


def test_capabilities_of_the_extended_space(tmp_path: Path) -> None:
    tree = changed("passthrough", tmp_path, resizable_bar=False)
    assert extended((device_of(tree, "0000:3b:00.0") / "config").read_bytes(), 0x15) is None
    server, consumer, port = (lspci(tree, address, tmp_path) for address in ("0000:3b:00.0", "0000:af:00.0", "0000:3a:00.0"))
    assert "Advanced Error Reporting" in server and "Single Root I/O Virtualization (SR-IOV)" in server and "Total VFs: 16" in server
    assert "BAR 1: current size: 256MB, supported: 64MB 128MB 256MB 512MB 1GB 2GB 4GB 8GB 16GB 32GB" in consumer and "SR-IOV" not in consumer
    assert "ACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+" in port
    assert (device_of(tree, "0000:3b:00.0") / "sriov_totalvfs").read_text() == "16\n"
    assert int((device_of(tree, "0000:af:00.0") / "resource1_resize").read_text(), 16) == 0xFFC0
    assert not (device_of(tree, "0000:3b:00.0") / "resource1_resize").exists()


@pytest.mark.parametrize(("acs", "text"), [(True, "ACSCtl:\tSrcValid+"), (False, "ACSCtl:\tSrcValid-"), (None, "")])
def test_access_control_of_a_port(acs: bool | None, text: str, tmp_path: Path) -> None:
    found = lspci(changed("p40x2", tmp_path, acs=acs), "0000:3a:00.0", tmp_path)
    assert text in found and ("Access Control Services" in found) == (acs is not None)


def test_a_resized_bar(tmp_path: Path) -> None:
    tree = changed("passthrough", tmp_path, resizable_bar=True)
    device = device_of(tree, "0000:af:00.0")
    first, last = regions(device)[1]
    assert last - first + 1 == 32768 << 20
    assert "BAR 1: current size: 32GB" in lspci(tree, "0000:af:00.0", tmp_path)
    hardware = profile.load("passthrough")
    hardware["firmware"]["resizable_bar"] = True
    write_state(hardware, tmp_path / "nvml")
    assert (tmp_path / "nvml/gpu1/bar1_total_mib").read_text() == "32768\n"


def test_groups_of_the_iommu(tmp_path: Path) -> None:
    hardware = profile.load("passthrough")
    hardware["devices"][0]["upstream"] = "0000:3a:00.0"
    hardware["firmware"]["acs"] = False
    tree = tree_of(hardware, tmp_path / "pci")
    members = sorted(sorted(path.name for path in (group / "devices").iterdir()) for group in (tree / "iommu_groups").iterdir())
    assert members == [["0000:3a:00.0", "0000:3b:00.0", "0000:5e:00.0"], ["0000:ae:00.0", "0000:af:00.0"]]
    # As mounted: devices is /sys/devices, iommu_groups is /sys/kernel/iommu_groups.
    device = tree / "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0"
    assert device.joinpath("iommu_group").readlink() == Path("../../../../kernel/iommu_groups/0")
    assert (tree / "iommu_groups/0/devices/0000:3b:00.0").readlink() == Path("../../../../devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0")
    assert len(list((changed("passthrough", tmp_path / "own") / "iommu_groups").iterdir())) == 6
    assert not list((changed("p40x2", tmp_path / "none") / "iommu_groups").iterdir())


def test_place_and_link_of_a_device(tmp_path: Path) -> None:
    hardware = profile.load("p40x2")
    hardware["gpus"][0].update(link={"width": 8}, numa_node=1, cpus="16-31", aer={"correctable": {"BadTLP": 3}})
    tree = tree_of(hardware, tmp_path / "pci")
    device = device_of(tree, "0000:3b:00.0")
    read = {name: (device / name).read_text().strip() for name in ("current_link_width", "max_link_width", "numa_node", "local_cpulist")}
    assert read == {"current_link_width": "8", "max_link_width": "16", "numa_node": "1", "local_cpulist": "16-31"}
    assert "BadTLP 3" in (device / "aer_dev_correctable").read_text() and "TOTAL_ERR_COR 3" in (device / "aer_dev_correctable").read_text()
    assert "TOTAL_ERR_FATAL 0" in (device / "aer_dev_fatal").read_text()
    for address in ("0000:3b:00.0", "0000:3a:00.0"):
        config = (device_of(tree, address) / "config").read_bytes()
        assert struct.unpack_from("<H", config, capability(config, 0x10) + 0x12)[0] >> 4 & 0x3F == 8
    write_state(hardware, tmp_path / "nvml")
    assert {name: (tmp_path / "nvml/gpu0" / name).read_text().strip() for name in ("pcie_width", "numa_node")} == {"pcie_width": "8", "numa_node": "1"}


def test_wrong_keys_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "PROFILES", tmp_path)
    (tmp_path / "odd.yml").write_text("firmware: {vtd: true}\n")
    with pytest.raises(LabError, match="profile odd: unknown keys of firmware: vtd; there are above_4g, aspm, iommu"):
        profile.load("odd")
    hardware = {"gpus": [], "devices": [{"board": "nic", "bus_address": "0000:5e:00.0", "upstream": "0000:5d:00.0", "serial": "1"}]}
    (tmp_path / "odd.yml").write_text(yaml.safe_dump(hardware))
    with pytest.raises(LabError, match="profile odd: unknown keys of a device: serial"):
        profile.load("odd")
