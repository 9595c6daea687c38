# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key with which DKMS signs modules on this host, and the keys that the firmware knows. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text

Run = t.Callable[..., t.Tuple[int, str, str]]

# Ubuntu's shim and dkms, then dkms alone (dkms(8), /etc/dkms/framework.conf: mok_certificate).
CERTIFICATES = ("/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub")
FRAMEWORK = "/etc/dkms/framework.conf"
FRAMEWORK_FOLDER = "/etc/dkms/framework.conf.d"
CONFIGURED = re.compile(r"^\s*mok_certificate\s*=\s*[\"']?([^\"'\s]+)", re.MULTILINE)
# MokListRT holds the keys that shim hands to the kernel: 4 bytes of attributes, then EFI signature lists (UEFI specification, 32.4.1).
MOK_LIST = "/sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23"
COMMON_NAME = re.compile(rb"\x06\x03\x55\x04\x03[\x0c\x13\x14\x16](.)", re.DOTALL)
SUBJECT = re.compile(r"Subject:.*?CN ?= ?([^,\n]+)")


def read(run: Run, root: str = "", timeout_seconds: float = 20) -> t.Dict[str, t.Any]:
    """`{certificate, subject, enrolled, names}`: path and common name of the certificate (None without one), whether the firmware's list has it
    (None: the list cannot be read), and the common names in the list (None likewise)."""
    path = certificate(root)
    data = read_bytes(root + path)[0] if path else None
    listed, _why = read_bytes(root + MOK_LIST)
    subject = common_names(data)[-1:] if data else []
    found: t.Dict[str, t.Any] = {"certificate": path, "subject": subject[0] if subject else None, "enrolled": None, "names": None}
    if listed is not None:
        found["names"] = sorted(set(common_names(listed)))
        found["enrolled"] = data is not None and data in listed
        return found
    rc, out, _err = run(["mokutil", "--list-enrolled"], timeout_seconds=timeout_seconds)
    if rc == 0 and "Subject:" in out:
        found["names"] = sorted({name.strip() for name in SUBJECT.findall(out)})
    if path:
        rc, out, _err = run(["mokutil", "--test-key", path], timeout_seconds=timeout_seconds)
        found["enrolled"] = True if "is already enrolled" in out else False if "is not enrolled" in out else None
    return found


def certificate(root: str = "") -> t.Optional[str]:
    """Path of the certificate whose key DKMS signs with, or None."""
    texts = [read_text("%s%s/%s" % (root, FRAMEWORK_FOLDER, name))[0] for name in reversed(names(root + FRAMEWORK_FOLDER))] + [read_text(root + FRAMEWORK)[0]]
    configured = [match.group(1) for text in texts if text for match in CONFIGURED.finditer(text)]
    return next((path for path in configured + list(CERTIFICATES) if os.path.exists(root + path)), None)


def common_names(data: bytes) -> t.List[str]:
    """The common names in DER certificates, in order: issuer, then subject (ITU-T X.520, OID 2.5.4.3; short form of the length)."""
    found = []
    for match in COMMON_NAME.finditer(data):
        length = match.group(1)[0]
        text = data[match.end() : match.end() + length]
        if length < 128 and len(text) == length:
            found.append(text.decode("utf-8", "replace"))
    return found
