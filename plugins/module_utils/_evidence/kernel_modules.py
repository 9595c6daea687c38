# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA kernel modules on disk. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import os
import re
import struct
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, reason

Run = t.Callable[..., t.Tuple[int, str, str]]

# The main module; Debian names it after the driver's flavour and branch. Not nvidia-uvm, nvidia-drm, nvidiafb, i2c-nvidia-gpu.
MODULE = r"nvidia(?:-(?:current|legacy-\d+xx|tesla(?:-\d+)?)(?:-open)?)?\.ko(?:\.xz|\.zst|\.gz)?"
IN_MODULES_DEP = re.compile(rb"^((?:[^:\n]*/)?" + MODULE.encode() + rb"):", re.MULTILINE)
FILE = re.compile("^%s$" % MODULE)
SIGNATURE_MAGIC = b"~Module signature appended~\n"
SIGNATURE_BYTES = 16384
COMMON_NAME = b"\x06\x03\x55\x04\x03"  # DER of the object identifier 2.5.4.3
# Where packages put it, in the order in which depmod prefers them; looked at when modules.dep does not know it (yet).
FOLDERS = ("updates/dkms", "updates", "extra", "extra/nvidia", "weak-updates/nvidia", "kernel/drivers/video", "kernel/drivers/char/drm")


def versions(run: Run, root: str = "", timeout_seconds: float = 20) -> t.Tuple[t.Dict[str, t.Dict[str, t.Any]], t.Dict[str, str]]:
    """`({kernel release: {version, license, path, signer}}, {kernel release: reason})` of the NVIDIA module of every kernel below /lib/modules.

    `signer`: common name of who signed the module, None when it is not signed. Kernels without the module are in neither.
    """
    found: t.Dict[str, t.Dict[str, t.Any]] = {}
    unreadable: t.Dict[str, str] = {}
    base = root + "/lib/modules"
    for kernel in names(base):
        path = _path("%s/%s" % (base, kernel))
        if path is None:
            continue
        info, why = modinfo(path) if path.endswith(".ko") else _modinfo_command(run, path, timeout_seconds)
        if info.get("version"):
            found[kernel] = {"version": info["version"], "license": info.get("license"), "path": path, "signer": info.get("signer") or None}
        else:
            unreadable[kernel] = why or "%s names no version" % path
    return found, unreadable


def _path(folder: str) -> t.Optional[str]:
    data, _why = read_bytes(folder + "/modules.dep")
    match = IN_MODULES_DEP.search(data or b"")
    if match:
        path = os.path.join(folder, match.group(1).decode("utf-8", "replace"))
        if os.path.exists(path):
            return path
    prebuilt = ["kernel/" + name for name in names(folder + "/kernel") if name.startswith("nvidia")]
    for below in list(FOLDERS) + prebuilt:
        for name in names("%s/%s" % (folder, below)):
            if FILE.match(name):
                return "%s/%s/%s" % (folder, below, name)
    return None


def modinfo(path: str) -> t.Tuple[t.Dict[str, str], str]:
    """The `.modinfo` section of the uncompressed module `path` as a dict (first value of each key), and why it is empty.

    Reads the section table and two sections, never the whole file: the closed module is 60 MB and more.
    ELF: System V ABI, "ELF Header" and "Sections"; `.modinfo` holds NUL-separated key=value texts (kernel, include/linux/module.h).
    """
    try:
        with open(path, "rb") as handle:
            section = _section(handle, b".modinfo")
            handle.seek(0, os.SEEK_END)
            size = handle.tell()
            handle.seek(max(0, size - SIGNATURE_BYTES))
            signed_by = signer(handle.read())
    except (OSError, ValueError) as error:
        return {}, reason(path, error)
    except (struct.error, IndexError):
        return {}, "%s: not a readable ELF object" % path
    if section is None:
        return {}, "%s: no .modinfo section" % path
    info: t.Dict[str, str] = {}
    for item in section.split(b"\0"):
        key, equals, value = item.decode("utf-8", "replace").partition("=")
        if equals:
            info.setdefault(key, value)
    if signed_by:
        info["signer"] = signed_by
    return info, ""


def signer(tail: bytes) -> t.Optional[str]:
    """Common name of the issuer in the signature at the end of a module, as `modinfo -F signer`; None when it is not signed or not understood.

    The end is a PKCS#7 message, struct module_signature (12 bytes, the last four the message's length) and a magic text (kernel,
    include/linux/module_signature.h). The message holds no certificates, so its only common name is that of the signer.
    """
    if not tail.endswith(SIGNATURE_MAGIC) or len(tail) < len(SIGNATURE_MAGIC) + 12:
        return None
    end = len(tail) - len(SIGNATURE_MAGIC) - 12
    (length,) = struct.unpack_from(">I", tail, end + 8)
    message = tail[max(0, end - length) : end]
    at = message.find(COMMON_NAME)
    if at < 0 or at + len(COMMON_NAME) + 2 > len(message):
        return None
    start = at + len(COMMON_NAME) + 2
    # Names are shorter than 128 bytes: one byte of length.
    return message[start : start + message[start - 1]].decode("utf-8", "replace") or None


def _section(handle: t.BinaryIO, wanted: bytes) -> t.Optional[bytes]:
    header = handle.read(64)
    if header[:4] != b"\x7fELF" or header[4:5] not in (b"\x01", b"\x02"):
        raise ValueError("not an ELF object")
    order = ">" if header[5:6] == b"\x02" else "<"
    wide = header[4:5] == b"\x02"
    (table,) = struct.unpack_from(order + ("Q" if wide else "I"), header, 0x28 if wide else 0x20)
    size, count, names_index = struct.unpack_from(order + "HHH", header, 0x3A if wide else 0x2E)
    handle.seek(table)
    raw = handle.read(size * count)

    def entry(number: int) -> t.Tuple[int, int, int]:
        # sh_name, sh_offset, sh_size
        if wide:
            name, _type, _flags, _address, offset, length = struct.unpack_from(order + "IIQQQQ", raw, number * size)
        else:
            name, _type, _flags, _address, offset, length = struct.unpack_from(order + "IIIIII", raw, number * size)
        return name, offset, min(length, 1024 * 1024)

    _name, offset, length = entry(names_index)
    handle.seek(offset)
    section_names = handle.read(length)
    for number in range(count):
        name, offset, length = entry(number)
        if section_names[name : name + len(wanted) + 1] == wanted + b"\0":
            handle.seek(offset)
            return handle.read(length)
    return None


def _modinfo_command(run: Run, path: str, timeout_seconds: float) -> t.Tuple[t.Dict[str, str], str]:
    # kmod unpacks in C what would take Python a second and the memory of the whole module.
    rc, out, err = run(["modinfo", path], timeout_seconds=timeout_seconds)
    if rc != 0:
        return {}, "modinfo %s: rc %d %s" % (path, rc, (err or out).strip()[:200])
    info: t.Dict[str, str] = {}
    for line in out.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            info.setdefault(key.strip(), value.strip())
    return info, ""
