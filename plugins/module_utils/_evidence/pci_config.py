# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PCI configuration space says of link, windows and capabilities. Private to gpuops.fleet: the names may change in any release.

Offsets: PCI Local Bus Specification 3.0, section 6.1 and 6.7; PCI-to-PCI Bridge Architecture Specification 1.2, section 3.2.5; PCI Express
Base Specification, sections 7.5.3 (link), 7.7.8 (ACS), 7.8.6 (Resizable BAR).
"""

from __future__ import annotations

import struct
import typing as t

SIZE = 4096
STATUS = 0x06
STATUS_HAS_CAPABILITIES = 0x10
CAPABILITIES = 0x34
PCI_EXPRESS = 0x10
HEADER_BYTES = 64
HEADER_TYPE = 0x0E
BRIDGE = 1
PREFETCHABLE_BASE = 0x24
EXTENDED = 0x100
ACCESS_CONTROL = 0x000D
RESIZABLE_BAR = 0x0015

WIDTHS = (1, 2, 4, 8, 12, 16, 32)
ASPM_NAMES = {0: "disabled", 1: "l0s", 2: "l1", 3: "l0s_l1"}


def link(config: t.Optional[bytes], why: str = "") -> t.Dict[str, t.Any]:
    """`generation_current`, `generation_max`, `width_current`, `width_max` (LnkSta, LnkCap) and `aspm` (LnkCtl bits 1:0) of `config`.

    `aspm`: disabled, l0s, l1 or l0s_l1. What is not there is missing and `reason` says why; `lost` is true when the device does not answer.
    """
    if config is None:
        return {"reason": why}
    if len(config) >= 4 and config[:4] == b"\xff\xff\xff\xff":
        return {"reason": "the device does not answer on the PCI bus", "lost": True}
    if len(config) < HEADER_BYTES:
        return {"reason": "the configuration space is cut short"}
    if len(config) == HEADER_BYTES:
        # The kernel shows the first 64 bytes to users without CAP_SYS_ADMIN.
        return {"reason": "needs root"}
    offset = _capability(config, PCI_EXPRESS)
    if offset is None or offset + 0x14 > len(config):
        return {"reason": "the device has no PCI Express capability"}
    (link_capabilities,) = struct.unpack_from("<I", config, offset + 0x0C)
    link_control, link_status = struct.unpack_from("<HH", config, offset + 0x10)
    found: t.Dict[str, t.Any] = {"aspm": ASPM_NAMES[link_control & 3]}
    for suffix, register in (("current", link_status), ("max", link_capabilities)):
        generation, width = register & 0xF, register >> 4 & 0x3F
        if 1 <= generation <= 7:
            found["generation_" + suffix] = generation
        if width in WIDTHS:
            found["width_" + suffix] = width
    return found


def _capability(config: bytes, wanted: int) -> t.Optional[int]:
    (status,) = struct.unpack_from("<H", config, STATUS)
    if not status & STATUS_HAS_CAPABILITIES:
        return None
    offset = config[CAPABILITIES] & 0xFC
    # 48 capabilities fill the space between header and extended space: a longer chain is a loop.
    for _step in range(48):
        if offset < HEADER_BYTES or offset + 2 > min(len(config), 256):
            return None
        if config[offset] == wanted:
            return offset
        offset = config[offset + 1] & 0xFC
    return None


def prefetchable_window(config: t.Optional[bytes]) -> t.Optional[t.Tuple[int, int]]:
    """`(first, last)` address that the bridge with `config` passes on as prefetchable memory; None when it passes none or is no bridge.

    It stands in the first 64 bytes: every user can read it.
    """
    if config is None or len(config) < HEADER_BYTES or config[HEADER_TYPE] & 0x7F != BRIDGE:
        return None
    base, limit, base_high, limit_high = struct.unpack_from("<HHII", config, PREFETCHABLE_BASE)
    # The low four bits say whether the high halves count.
    first = (base & 0xFFF0) << 16 | (base_high << 32 if base & 0xF == 1 else 0)
    last = (limit & 0xFFF0) << 16 | 0xFFFFF | (limit_high << 32 if limit & 0xF == 1 else 0)
    return (first, last) if first <= last and first else None


def source_validation(config: t.Optional[bytes]) -> t.Optional[bool]:
    """Whether ACS Source Validation is on in the port with `config`; None without the capability or without its registers."""
    offset = _extended(config, ACCESS_CONTROL)
    return None if config is None or offset is None or offset + 8 > len(config) else bool(config[offset + 6] & 1)


def bar1_sizes(config: t.Optional[bytes]) -> t.Optional[t.List[int]]:
    """Sizes in MiB that BAR1 (region 1, or 2 behind a 64-bit BAR0) can take; [] when it is fixed, None when the registers are not readable."""
    if config is None or len(config) < SIZE or config[:4] == b"\xff\xff\xff\xff":
        return None
    offset = _extended(config, RESIZABLE_BAR)
    if offset is None or offset + 12 > len(config):
        return []
    for number in range(min(config[offset + 8] >> 5, 6)):
        if offset + 12 + 8 * number > len(config):
            break
        capability, control = struct.unpack_from("<II", config, offset + 4 + 8 * number)
        if control & 7 in (1, 2):
            # Bit 4 is 1 MiB; what is above 128 TiB went into the upper half of the control register.
            bits = capability >> 4 | (control >> 16) << 28
            return sizes(bits)
    return []


def sizes(bits: int) -> t.List[int]:
    """MiB of each set bit, bit 0 being 1 MiB, as in the kernel's `resourceN_resize`."""
    return [1 << bit for bit in range(bits.bit_length()) if bits >> bit & 1]


def _extended(config: t.Optional[bytes], wanted: int) -> t.Optional[int]:
    if config is None:
        return None
    offset = EXTENDED
    # 4096 bytes hold at most 480 capabilities of 8 bytes: a longer chain is a loop.
    for _step in range(480):
        if offset < EXTENDED or offset + 4 > len(config):
            return None
        (header,) = struct.unpack_from("<I", config, offset)
        if header in (0, 0xFFFFFFFF):
            return None
        if header & 0xFFFF == wanted:
            return offset
        offset = header >> 20 & 0xFFC
    return None
