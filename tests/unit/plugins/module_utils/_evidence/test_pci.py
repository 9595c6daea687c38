"""GPUs on the bus: recorded regions, registers made by the lab's writers, and anything at all for the parsers."""

from __future__ import annotations

import struct

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import pci, pci_config
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gpu_machine import driver, machine, write

LINE = "0x%016x 0x%016x 0x%016x\n"
BAR0 = LINE % (0xFC000000, 0xFCFFFFFF, 0x40200)
EMPTY = LINE % (0, 0, 0)
GIB = 1 << 30


@pytest.mark.parametrize(
    "lines, expected",
    [
        # A working P40, region 1 at 1ff000000000, 32 GiB (public write-up)
        ([BAR0, LINE % (0x1FF000000000, 0x1FF7FFFFFFFF, 0x14220C), EMPTY, LINE % (0x1FF800000000, 0x1FF801FFFFFF, 0x14220C)], (0x1FF000000000, 32 * GIB, "")),
        # A TITAN Xp, 256 MiB below 4 GiB (NVIDIA developer forum 159737)
        ([BAR0, LINE % (0xE0000000, 0xEFFFFFFF, 0x14220C), EMPTY], (0xE0000000, GIB // 4, "")),
        # Hopper: BAR0 is 64 bits wide and takes two lines, BAR1 is the third
        ([LINE % (0x21A042000000, 0x21A042FFFFFF, 0x14220C), EMPTY, LINE % (0x218000000000, 0x219FFFFFFFFF, 0x14220C)], (0x218000000000, 128 * GIB, "")),
        # Not assigned: newer kernels keep the size and say UNSET, older ones reset the line
        ([BAR0, LINE % (0, 32 * GIB - 1, 0x2014220C), EMPTY], (None, 32 * GIB, "BAR1 is not assigned")),
        ([BAR0, LINE % (0, 32 * GIB - 1, 0x14220C), EMPTY], (None, 32 * GIB, "BAR1 is not assigned")),
        ([BAR0, EMPTY, EMPTY, EMPTY], (None, None, "BAR1 is not assigned")),
        (["\n"], (None, None, "resource is malformed: ")),
        (["0x0 0x0\n"], (None, None, "resource is malformed: 0x0 0x0")),
        ([BAR0, LINE % (2 * GIB, GIB, 0x200), EMPTY], (None, None, "resource is malformed: %s" % (LINE % (2 * GIB, GIB, 0x200)).strip()[:60])),
        ([BAR0], (None, None, "resource has no line for BAR1")),
        ([], (None, None, "resource has no line for BAR1")),
    ],
)
def test_bar1_region(lines, expected):
    assert pci.bar1_region("".join(lines)) == expected


@given(
    st.one_of(st.text(max_size=200), st.lists(st.tuples(*[st.integers(0, 2**64 - 1)] * 3), max_size=13).map(lambda rows: "".join(LINE % row for row in rows)))
)
def test_bar1_region_never_raises_and_never_leaves_a_gap_without_a_reason(text):
    address, size, reason = pci.bar1_region(text)
    assert (address is None or size is None) == bool(reason)
    assert address is None or (address > 0 and size > 0)


@given(st.binary(max_size=pci_config.SIZE))
def test_link_never_raises(config):
    found = pci_config.link(config)
    assert set(found) <= {"generation_current", "generation_max", "width_current", "width_max", "aspm", "reason", "lost"}


@given(st.binary(min_size=192, max_size=192), st.integers(0, 255))
def test_a_chain_of_capabilities_that_loops_ends(body, start):
    config = bytearray(b"\xde\x10\x38\x1b" + bytes(2) + b"\x10\x00" + bytes(56) + body)
    config[0x34] = start
    pci_config.link(bytes(config))


@pytest.fixture
def p40x2(tmp_path):
    machine(tmp_path, "p40x2")
    return tmp_path


def gpu_folder(root, address="0000:3b:00.0"):
    return (root / "sys/bus/pci/devices" / address).resolve()


def test_two_p40_without_a_driver(p40x2):
    first, second = pci.read(str(p40x2))
    assert first["bus_address"] == "0000:3b:00.0" and second["bus_address"] == "0000:af:00.0"
    assert first["pci"] == {
        "vendor_id": "10de", "device_id": "1b38", "subsystem_vendor_id": "10de", "subsystem_device_id": "11d9", "class_code": "030200",
        "kernel_driver": None, "numa_node": 0, "cpu_affinity": first["pci"]["cpu_affinity"], "iommu_group": None, "iommu_group_peers": [],
        "aer": {"correctable": 0, "nonfatal": 0, "fatal": 0}, "sriov": {"total_vfs": None, "num_vfs": None}, "resizable_bar_sizes_mib": [],
    }  # fmt: skip
    assert first["bar1"]["size_mib"] == 32768 and int(first["bar1"]["address"], 16) >= 1 << 32
    link = {"generation_current": 3, "generation_max": 3, "width_current": 16, "width_max": 16, "aspm": "disabled"}
    start = int(first["bar1"]["address"], 16)
    window = first["pcie"]["upstream"].pop("prefetchable_window")
    assert int(window["start"], 16) <= start and start + (32 << 30) - 1 <= int(window["end"], 16)
    assert first["pcie"] == dict(link, upstream=dict(link, bus_address="0000:3a:00.0", acs_source_validation=False))
    assert first["route"] == ["pci0000:3a", "0000:3a:00.0", "0000:3b:00.0"]
    assert first["unavailable"] == {
        "pci.kernel_driver": "no kernel driver is bound", "pci.iommu_group": "the device is in no IOMMU group",
        **dict.fromkeys(("pci.sriov.total_vfs", "pci.sriov.num_vfs"), pci.NO_SRIOV),
    }  # fmt: skip
    assert first["source"] == "sysfs:/sys/bus/pci/devices/0000:3b:00.0" and not first["lost"]


def test_a_kernel_that_counts_no_errors(p40x2):
    for path in gpu_folder(p40x2).glob("aer_dev_*"):
        path.unlink()
    first = pci.read(str(p40x2))[0]
    assert first["pci"]["aer"] == {"correctable": None, "nonfatal": None, "fatal": None}
    assert {key: first["unavailable"]["pci.aer." + key] for key in first["pci"]["aer"]} == dict.fromkeys(first["pci"]["aer"], pci.NO_AER)


@pytest.mark.parametrize(
    "profile, bar1, aspm",
    [
        ("p40x2-above4g-off", {"address": None, "size_mib": None}, "disabled"),
        ("p40x2-aspm-on", {"address": "0x200000000000", "size_mib": 32768}, "l0s_l1"),
    ],
)
def test_firmware_settings_show(tmp_path, profile, bar1, aspm):
    machine(tmp_path, profile)
    first = pci.read(str(tmp_path))[0]
    assert first["bar1"] == bar1 and (first["pcie"]["aspm"], first["pcie"]["upstream"]["aspm"]) == (aspm, aspm)
    assert first["unavailable"].get("bar1.address") == (None if bar1["address"] else "BAR1 is not assigned")


def test_without_root_the_links_come_from_sysfs_and_the_port_says_why_its_aspm_is_not_known(p40x2):
    for folder in (gpu_folder(p40x2), gpu_folder(p40x2).parent):
        config = (folder / "config").read_bytes()
        (folder / "config").write_bytes(config[:64])
    first = pci.read(str(p40x2))[0]
    assert first["pcie"]["generation_max"] == 3 and first["pcie"]["upstream"]["width_current"] == 16
    assert first["pcie"]["aspm"] == "disabled", "the link files of the device say so"
    assert first["pcie"]["upstream"]["aspm"] is None and first["unavailable"]["pcie.upstream.aspm"] == "needs root"


@pytest.mark.parametrize(
    "files, aspm",
    [
        ({"l0s_aspm": "0", "l1_aspm": "1"}, "l1"),
        ({"l1_aspm": "0"}, "disabled"),
        ({"l0s_aspm": "1", "l1_aspm": "1"}, "l0s_l1"),
        ({"l1_1_aspm": "1"}, None),
        ({}, None),
    ],
)
def test_aspm_from_the_link_files(p40x2, files, aspm):
    folder = gpu_folder(p40x2)
    (folder / "config").unlink()
    for old in (folder / "link").iterdir():
        old.unlink()
    for name, value in files.items():
        write(folder, "link/" + name, value + "\n")
    first = pci.read(str(p40x2))[0]
    assert first["pcie"]["aspm"] == aspm
    if aspm is None:
        assert first["unavailable"]["pcie.aspm"] == "/sys/bus/pci/devices/0000:3b:00.0/config: no such file or directory"


def test_a_device_that_reads_all_ones_is_lost(p40x2):
    (gpu_folder(p40x2) / "config").write_bytes(b"\xff" * 4096)
    first, second = pci.read(str(p40x2))
    assert first["lost"] and not second["lost"]
    assert first["pcie"]["width_current"] is None and first["unavailable"]["pcie.width_current"] == "the device does not answer on the PCI bus"


@pytest.mark.parametrize("text, width", [("0", None), ("255", None), ("63", None), ("8", 8), ("Unknown", None)])
def test_odd_widths_are_not_widths(p40x2, text, width):
    folder = gpu_folder(p40x2)
    (folder / "config").write_bytes(b"")
    (folder / "current_link_width").write_text(text + "\n")
    assert pci.read(str(p40x2))[0]["pcie"]["width_current"] == width


@pytest.mark.parametrize(
    "file, content, count",
    [
        ("class", "0x030000", 2),  # VGA: a GeForce or a card with a display
        ("class", "0x040300", 1),  # the audio function of a card
        ("class", "0x0c0330", 1),  # its USB controller
        ("class", "0x068000", 1),  # NVSwitch
        ("vendor", "0x8086", 1),
        ("vendor", "", 1),
    ],
)
def test_what_counts_as_a_gpu(p40x2, file, content, count):
    (gpu_folder(p40x2) / file).write_text(content + "\n")
    assert len(pci.read(str(p40x2))) == count


def test_bound_driver_numa_node_and_files_that_are_missing(p40x2):
    driver(p40x2)
    (p40x2 / "sys/bus/pci/drivers/vfio-pci").mkdir(parents=True)
    folder = gpu_folder(p40x2)
    (folder / "driver").symlink_to(p40x2 / "sys/bus/pci/drivers/vfio-pci")
    (folder / "numa_node").write_text("-1\n")
    (folder / "subsystem_device").unlink()
    (folder / "resource").unlink()
    first = pci.read(str(p40x2))[0]
    assert first["pci"]["kernel_driver"] == "vfio-pci" and first["pci"]["numa_node"] is None and first["pci"]["subsystem_device_id"] is None
    assert first["unavailable"]["pci.numa_node"] == "the firmware assigns no NUMA node"
    assert first["unavailable"]["bar1.address"] == "/sys/bus/pci/devices/0000:3b:00.0/resource: no such file or directory"


def test_no_bus_no_gpus(tmp_path):
    assert pci.read(str(tmp_path)) == []


def test_order_is_numeric_and_knows_long_domains():
    addresses = ["10000:01:00.0", "0000:af:00.0", "0000:3b:00.1", "0000:3b:00.0", "0001:00:00.0"]
    assert sorted(addresses, key=pci.order) == ["0000:3b:00.0", "0000:3b:00.1", "0000:af:00.0", "0001:00:00.0", "10000:01:00.0"]


CORRECTABLE = "RxErr 3\nBadTLP 0\nBadDLLP 1\nRollover 0\nTimeout 0\nNonFatalErr 0\nCorrIntErr 0\nHeaderOF 0\nTOTAL_ERR_COR 4\n"


@pytest.mark.parametrize(
    "text, expected", [(CORRECTABLE, 4), ("Undefined 0\nDLP 2\n", 2), ("TOTAL_ERR_FATAL 0\n", 0), ("", None), (None, None), ("RxErr x", None)]
)
def test_errors_counted_by_the_kernel(text, expected):
    assert pci.errors(text) == expected


def test_what_only_some_devices_have(p40x2):
    folder = gpu_folder(p40x2)
    for name, text in (("aer_dev_correctable", CORRECTABLE), ("aer_dev_nonfatal", "TOTAL_ERR_NONFATAL 0\n"), ("aer_dev_fatal", "TOTAL_ERR_FATAL 1\n"),
                       ("sriov_totalvfs", "16\n"), ("sriov_numvfs", "0\n"), ("resource1_resize", "000000000000ff00\n")):  # fmt: skip
        (folder / name).write_text(text)
    (folder / "config").write_bytes((folder / "config").read_bytes()[:64])
    group = p40x2 / "sys/kernel/iommu_groups/27/devices"
    group.mkdir(parents=True)
    for address, code in (("0000:3b:00.1", "0x040300"), ("0000:00:1c.0", "0x060400"), ("0000:5e:00.0", "0x010802")):
        write(p40x2, "/sys/bus/pci/devices/%s/class" % address, code + "\n")
        (group / address).mkdir()
    (group / "0000:3b:00.0").mkdir()
    (folder / "iommu_group").symlink_to(group.parent)
    first = pci.read(str(p40x2))[0]["pci"]
    assert first["aer"] == {"correctable": 4, "nonfatal": 0, "fatal": 1} and first["sriov"] == {"total_vfs": 16, "num_vfs": 0}
    assert first["resizable_bar_sizes_mib"] == [256, 512, 1024, 2048, 4096, 8192, 16384, 32768]
    assert first["iommu_group"] == 27 and first["iommu_group_peers"] == ["0000:3b:00.1", "0000:5e:00.0"]


def test_nvswitches_are_no_gpus(p40x2):
    for name, vendor, code in (("0000:86:00.0", "0x10de", "0x068000"), ("0000:87:00.0", "0x15b3", "0x068000"), ("0000:3b:00.1", "0x10de", "0x040300")):
        write(p40x2, "/sys/bus/pci/devices/%s/vendor" % name, vendor + "\n")
        write(p40x2, "/sys/bus/pci/devices/%s/class" % name, code + "\n")
    assert pci.scan(str(p40x2)) == (["0000:3b:00.0", "0000:af:00.0"], ["0000:86:00.0"])


def space(**registers):
    """A configuration space; `at_100`: bytes from offset 0x100 on."""
    config = bytearray(pci_config.SIZE)
    config[:4] = b"\xde\x10\x38\x1b"
    for name, data in registers.items():
        offset = int(name[3:], 16)
        config[offset : offset + len(data)] = data
    return bytes(config)


ACS = b"\x0d\x00\x01\x00\x00\x00"


@pytest.mark.parametrize(
    "config, expected",
    [
        (space(at_100=ACS + b"\x1d\x00"), True),
        (space(at_100=ACS + b"\x1c\x00"), False),
        (space(at_100=b"\x01\x00\x02\x20", at_200=ACS + b"\x01\x00"), True),  # behind AER
        (space(at_100=b"\x01\x00\x02\x10"), None),  # a chain that loops
        (space(), None),
        (space()[:64], None),
        (None, None),
    ],
)
def test_source_validation(config, expected):
    assert pci_config.source_validation(config) is expected


@pytest.mark.parametrize(
    "config, expected",
    [
        # Sizes 256 MiB to 32 GiB of region 1
        (space(at_100=struct.pack("<3I", 0x10015, 0xFF << 12, 0x21)), [256 << n for n in range(8)]),
        # The second entry is the one of region 2; 256 TiB stands in the control register
        (space(at_100=struct.pack("<5I", 0x10015, 0, 0x40, 1 << 4, 1 << 16 | 2)), [1, 1 << 28]),
        (space(at_100=struct.pack("<3I", 0x10015, 0, 0x20)), []),
        (space(), []),
        (space()[:256], None),
        (None, None),
    ],
)
def test_sizes_that_bar1_can_take(config, expected):
    assert pci_config.bar1_sizes(config) == expected


@pytest.mark.parametrize(
    "registers, expected",
    [
        ({"at_0e": b"\x01", "at_24": b"\x01\x00\xf1\xff\xf0\x39\x00\x00\xf7\x39\x00\x00"}, (0x39F000000000, 0x39F7FFFFFFFF)),
        ({"at_0e": b"\x81", "at_24": b"\x00\xe0\xf0\xef"}, (0xE0000000, 0xEFFFFFFF)),  # 32 bits, multi-function
        ({"at_0e": b"\x01", "at_24": b"\xf1\xff\x01\x00"}, None),  # closed: base above limit
        ({"at_0e": b"\x00", "at_24": b"\x01\x00\xf1\xff\xf0\x39\x00\x00\xf7\x39\x00\x00"}, None),  # no bridge
    ],
)
def test_prefetchable_window(registers, expected):
    assert pci_config.prefetchable_window(space(**registers)) == expected
    assert pci_config.prefetchable_window(space(**registers)[:64]) == expected


@given(st.binary(max_size=64), st.binary(max_size=pci_config.SIZE - 256))
def test_anything_in_the_extended_space_is_survived(header, extended):
    config = header.ljust(256, b"\0") + extended
    for one in (config, config.ljust(pci_config.SIZE, b"\0")):
        assert pci_config.source_validation(one) in (True, False, None)
        sizes = pci_config.bar1_sizes(one)
        assert sizes is None or all(size > 0 for size in sizes)
        window = pci_config.prefetchable_window(one)
        assert window is None or 0 < window[0] <= window[1]


@given(st.text(max_size=200))
def test_error_counts_are_never_negative(text):
    count = pci.errors(text)
    assert count is None or count >= 0
