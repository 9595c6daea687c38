# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading files that may be missing. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import typing as t

LIMIT_BYTES = 16 * 1024 * 1024


def read_bytes(path: str, limit: int = LIMIT_BYTES) -> t.Tuple[t.Optional[bytes], str]:
    """The first `limit` bytes of `path` and "", or None and the reason. Never raises.

    sysfs and efivarfs answer with EIO, EINVAL or ENODEV where other files would be missing; all are `OSError`.
    """
    try:
        with open(path, "rb", buffering=0) as handle:
            parts = []
            while limit > 0:
                part = handle.read(min(limit, 1024 * 1024))
                if not part:
                    break
                parts.append(part)
                limit -= len(part)
            return b"".join(parts), ""
    except (OSError, ValueError) as error:
        return None, reason(path, error)


def read_text(path: str, limit: int = LIMIT_BYTES) -> t.Tuple[t.Optional[str], str]:
    """As `read_bytes`, decoded as UTF-8 (bytes that are not UTF-8 are replaced) and stripped."""
    data, why = read_bytes(path, limit)
    return (None, why) if data is None else (data.decode("utf-8", "replace").strip("\0 \t\r\n"), "")


def names(path: str) -> t.List[str]:
    """The sorted names in the folder `path`; none where it cannot be read."""
    try:
        return sorted(os.listdir(path))
    except (OSError, ValueError):
        return []


def reason(path: str, error: Exception) -> str:
    """`error` as a reason for `unavailable`: the path and the system's text, without Python's decoration."""
    return "%s: %s" % (path, (getattr(error, "strerror", None) or str(error)).lower())
