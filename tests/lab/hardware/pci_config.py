"""PCI configuration space of a GPU and of the root port above it (PCI Express Base Specification 3.1, chapter 7)."""
from __future__ import annotations

import struct
from dataclasses import dataclass

SIZE = 4096
# PCI Express capability: Link Capabilities at +0x0c, Link Control at +0x10, Link Status at +0x12.
EXPRESS = 0x78
_POWER_MANAGEMENT, _MSI = 0x60, 0x68
ASPM = {"none": 0, "off": 0, "l0s": 1, "l1": 2, "l0s_l1": 3}
# Extended capabilities (7.8.4, 7.7.8, 7.8.6; Single Root I/O Virtualization specification 1.1, chapter 3.3): where they lie and how long they are.
_ERRORS, _ACCESS, _RESIZABLE, _VIRTUAL = 0x100, 0x148, 0xBB0, 0xBCC
_ERRORS_ID, _ACCESS_ID, _RESIZABLE_ID, _VIRTUAL_ID = 0x0001, 0x000D, 0x0015, 0x0010
# What the kernel switches on with the IOMMU: source validation, request and completion redirect, upstream forwarding (drivers/pci/pci.c).
_ACCESS_OFFERED, _ACCESS_ON = 0x001F, 0x001D
_SPEEDS = {1: "2.5", 2: "5.0", 3: "8.0", 4: "16.0", 5: "32.0"}


@dataclass(frozen=True)
class Link:
    """A PCI Express link as one of its ends describes it; ASPM values are the register's two bits."""

    generation: int
    width: int
    aspm_support: int
    aspm_control: int
    trained_generation: int = 0  # 0: the highest
    trained_width: int = 0

    @property
    def current(self) -> tuple[int, int]:
        """Generation and lanes in use."""
        return self.trained_generation or self.generation, self.trained_width or self.width


def speed_text(generation: int) -> str:
    """Return a speed as sysfs prints it."""
    return f"{_SPEEDS[generation]} GT/s PCIe"


class _Space:
    def __init__(self) -> None:
        self.bytes = bytearray(SIZE)

    def put(self, layout: str, offset: int, *values: int) -> None:
        struct.pack_into("<" + layout, self.bytes, offset, *values)

    def identity(self, vendor: int, device: int, class_code: int, revision: int, header: int) -> None:
        self.put("HHHH", 0, vendor, device, 0x0406, 0x0010)  # command: memory, bus master, no INTx; status: capability list
        self.put("I", 8, class_code << 8 | revision)
        self.put("BBBB", 12, 8, 0, header, 0)
        self.put("B", 0x34, _POWER_MANAGEMENT)
        self.put("BB", 0x3C, 0xFF, 1)

    def capabilities(self, port_type: int, link: Link) -> None:
        self.put("BBHH", _POWER_MANAGEMENT, 0x01, _MSI, 0x0003, 0x0008)
        self.put("BBH", _MSI, 0x05, EXPRESS, 0x0080)
        self.put("BBH", EXPRESS, 0x10, 0, 2 | port_type << 4)
        self.put("I", EXPRESS + 4, 0x8001 | (0x8DE0 if port_type == 0 else 0))  # payload 256 bytes, extended tags; latencies of an endpoint
        self.put("HH", EXPRESS + 8, 0x2930, 0)
        # Speed, width, ASPM support, exit latencies (L0s < 1 us, L1 < 4 us), clock power management of an endpoint.
        self.put("I", EXPRESS + 0x0C, link.generation | link.width << 4 | link.aspm_support << 10 | 4 << 12 | 2 << 15 | (port_type == 0) << 18)
        self.put("HH", EXPRESS + 0x10, 0x0040 | link.aspm_control, 0x1000 | link.current[1] << 4 | link.current[0])
        self.put("I", EXPRESS + 0x2C, (1 << link.generation) - 1 << 1)
        self.put("H", EXPRESS + 0x30, link.generation)

    def extend(self, capabilities: dict[int, tuple[int, int, bytes]]) -> None:
        """Chain extended capabilities: offset → (id, version, what follows the header)."""
        offsets = sorted(capabilities)
        for offset, following in zip(offsets, [*offsets[1:], 0], strict=True):
            number, version, body = capabilities[offset]
            self.put("I", offset, number | version << 16 | following << 20)
            self.bytes[offset + 4 : offset + 4 + len(body)] = body


_ERROR_REPORTING = (_ERRORS_ID, 2, bytes(0x44))


def _resizable(bars: dict[int, tuple[int, int]]) -> bytes:
    """Registers of Resizable BAR. `bars`: index → (bit mask of sizes, bit 0 is 1 MiB; number of the present size)."""
    count = len(bars)
    return b"".join(struct.pack("<II", bits << 4 & 0xFFFFFFFF, index | count << 5 | size << 8) for index, (bits, size) in sorted(bars.items()))


def _virtual(functions: int, device: int) -> bytes:
    """Registers of SR-IOV with `functions` virtual functions, none of them on."""
    body = bytearray(0x3C)
    struct.pack_into("<IHHHH", body, 0, 0, 0, 0, functions, functions)
    struct.pack_into("<HHHHHII", body, 0x0C, 0, 0, 4, 1, 0, 0x553, 1)
    struct.pack_into("<H", body, 0x16, device)
    return bytes(body)


def endpoint(
    *, ids: tuple[int, int], subsystem: tuple[int, int], class_code: int, revision: int, bars: dict[int, tuple[int, bool]], link: Link,
    resizable: dict[int, tuple[int, int]], virtual_functions: int,
) -> bytes:  # fmt: skip
    """Return the space of a device. `bars`: index → (address, 64-bit prefetchable); an address of 0 is an unassigned region.

    `resizable`: index of a BAR → (mask of the sizes that it can take, number of the present one); 0 `virtual_functions`: no SR-IOV.
    """
    space = _Space()
    space.identity(*ids, class_code, revision, header=0)
    for index, (address, is_64bit) in bars.items():
        if is_64bit:
            space.put("Q", 0x10 + 4 * index, address | 0xC)
        else:
            space.put("I", 0x10 + 4 * index, address)
    space.put("HH", 0x2C, *subsystem)
    space.capabilities(0, link)
    extended = {_ERRORS: _ERROR_REPORTING}
    if resizable:
        extended[_RESIZABLE] = (_RESIZABLE_ID, 1, _resizable(resizable))
    if virtual_functions:
        extended[_VIRTUAL] = (_VIRTUAL_ID, 1, _virtual(virtual_functions, ids[1]))
    space.extend(extended)
    return bytes(space.bytes)


def root_port(
    *, ids: tuple[int, int], buses: tuple[int, int], memory: tuple[int, int] | None, prefetchable: tuple[int, int] | None, link: Link,
    access_control: bool | None,
) -> bytes:  # fmt: skip
    """Return the space of a root port. `buses`: primary, secondary; the windows are (first, last) address or None when closed.

    `access_control`: ACS on or off, None for a port without it.
    """
    space = _Space()
    space.identity(*ids, 0x060400, 0x04, header=1)
    space.put("BBBB", 0x18, buses[0], buses[1], buses[1], 0)
    space.put("BB", 0x1C, 0xF0, 0x00)  # no I/O window: base above limit
    first, last = memory or (0xFFF00000, 0x000FFFFF)
    space.put("HH", 0x20, first >> 16 & 0xFFF0, last >> 16 & 0xFFF0)
    first, last = prefetchable or (0xFFF00000, 0x000FFFFF)
    space.put("HH", 0x24, first >> 16 & 0xFFF0 | 1, last >> 16 & 0xFFF0 | 1)
    space.put("II", 0x28, first >> 32, last >> 32)
    space.capabilities(4, link)
    extended = {_ERRORS: _ERROR_REPORTING}
    if access_control is not None:
        extended[_ACCESS] = (_ACCESS_ID, 1, struct.pack("<HH", _ACCESS_OFFERED, _ACCESS_ON if access_control else 0))
    space.extend(extended)
    return bytes(space.bytes)
