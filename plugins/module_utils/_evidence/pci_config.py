# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The PCI Express link in a configuration space. Private to gpuops.fleet: the names may change in any release.

Offsets: PCI Local Bus Specification 3.0, section 6.1 and 6.7; PCI Express Base Specification, section 7.5.3.
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
