# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the header of a GGUF file: metadata and the list of tensors, never their data. Private to gpuops.fleet: the names may change in any release.

Layout: the GGUF specification of ggml (docs/gguf.md), versions 2 and 3, little-endian. Every size in the file is believed only within limits.
"""

from __future__ import annotations

import os
import stat
import struct
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ggml_types import TYPES, tensor_bytes
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError

MAGIC = b"GGUF"
HEADER_BYTES = 128 * 2**20  # the largest vocabularies take about 10 MiB
KEYS = TENSORS = 65536
NAME_BYTES = 65535  # limit of the specification for keys
KEPT_BYTES = 65536  # a longer text (a chat template) is skipped
ELEMENTS = 4 * 2**20
KEPT_ELEMENTS = 4096  # a longer array (tokens, merges) is skipped
DIMENSIONS = 4
TEXT, ARRAY = 8, 9
# Number of the type of a value → struct format.
VALUES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class GgufHeader(t.NamedTuple):
    """`metadata`: key → value, None for what is long (as `model_info` of Ollama's /api/show); `tensors`: [{name, type, shape}]; `size`: bytes of the file."""

    path: str
    size: int
    metadata: t.Dict[str, t.Any]
    tensors: t.List[t.Dict[str, t.Any]]


def read(path: str) -> GgufHeader:
    """Read the header of the file at `path`; EvidenceError when it is missing, no GGUF, damaged or shorter than its tensors need."""
    try:
        # Not opened unless it is a regular file: a named pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise EvidenceError("%s is not a regular file" % path, path=path)
        with open(path, "rb") as source:
            return _Header(path, source, os.fstat(source.fileno()).st_size).read()
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        raise EvidenceError("the model file %s could not be read: %s" % (path, getattr(error, "strerror", None) or error), path=path) from error


class _Header:
    def __init__(self, path: str, source: t.BinaryIO, size: int):
        self.path, self.source, self.size, self.position = path, source, size, 0

    def bad(self, why: str) -> EvidenceError:
        return EvidenceError("%s is not a usable GGUF file: %s" % (self.path, why), path=self.path, position=self.position)

    def advance(self, count: int) -> None:
        self.position += count
        if self.position > self.size:
            raise self.bad("it ends inside its header, at byte %d" % self.size)
        if self.position > HEADER_BYTES:
            raise self.bad("its header is longer than %d bytes" % HEADER_BYTES)

    def take(self, count: int) -> bytes:
        self.advance(count)
        data = self.source.read(count)
        if len(data) != count:
            raise self.bad("it became shorter while it was read")
        return data

    def skip(self, count: int) -> None:
        self.advance(count)
        self.source.seek(self.position)

    def number(self, form: str) -> t.Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def count(self, what: str, limit: int) -> int:
        found: int = self.number("Q")
        if found > limit:
            raise self.bad("it claims %d %s, more than %d" % (found, what, limit))
        return found

    def name(self) -> str:
        return self.take(self.count("bytes of a name", NAME_BYTES)).decode("utf-8", "replace")

    def text(self, keep: bool = True) -> t.Optional[str]:
        length = self.count("bytes of a text", HEADER_BYTES)
        if keep and length <= KEPT_BYTES:
            return self.take(length).decode("utf-8", "replace")
        self.skip(length)
        return None

    def value(self) -> t.Any:
        kind = self.number("I")
        if kind == TEXT:
            return self.text()
        if kind == ARRAY:
            return self.array()
        if kind not in VALUES:
            raise self.bad("a value has the unknown type %d" % kind)
        return self.scalar(kind)

    def scalar(self, kind: int) -> t.Any:
        return self.number(VALUES[kind])

    def array(self) -> t.Optional[t.List[t.Any]]:
        kind, length = self.number("I"), self.count("elements of an array", ELEMENTS)
        if kind == TEXT:
            for _number in range(length):
                self.text(keep=False)
            return None
        if kind not in VALUES:
            raise self.bad("an array has elements of the type %d" % kind)
        if length > KEPT_ELEMENTS:
            self.skip(length * struct.calcsize("<" + VALUES[kind]))
            return None
        return [self.scalar(kind) for _number in range(length)]

    def read(self) -> GgufHeader:
        magic = self.take(min(len(MAGIC), self.size))
        if magic != MAGIC:
            raise EvidenceError("%s is not a GGUF file: it begins with %r instead of %r" % (self.path, magic, MAGIC), path=self.path)
        version = self.number("I")
        if version not in (2, 3):
            raise self.bad("version %d (2 and 3, little-endian, are known)" % version)
        tensors, keys = self.count("tensors", TENSORS), self.count("keys", KEYS)
        metadata: t.Dict[str, t.Any] = {}
        for _number in range(keys):
            key = self.name()
            metadata[key] = self.value()
        listed, needed = [], 0
        for _number in range(tensors):
            tensor, end = self.tensor()
            listed.append(tensor)
            needed = max(needed, end)
        self.complete(metadata.get("general.alignment", 32), needed)
        return GgufHeader(self.path, self.size, metadata, listed)

    def tensor(self) -> t.Tuple[t.Dict[str, t.Any], int]:
        """One tensor, and where it ends in the data."""
        name, dimensions = self.name(), self.number("I")
        if dimensions > DIMENSIONS:
            raise self.bad("tensor %s has %d dimensions" % (name[:80], dimensions))
        shape = [self.number("Q") for _number in range(dimensions)]
        kind, offset = self.number("I"), self.number("Q")
        if kind not in TYPES:
            raise self.bad("tensor %s has the unknown type %d" % (name[:80], kind))
        weights = 1
        for length in shape:
            weights *= length
        return {"name": name, "type": TYPES[kind][0], "shape": shape}, offset + (tensor_bytes(TYPES[kind][0], weights) or 0)

    def complete(self, alignment: t.Any, needed: int) -> None:
        """Refuse a file that is shorter than its header says: a download that was cut."""
        if isinstance(alignment, bool) or not isinstance(alignment, int) or not 0 < alignment <= 65536:
            raise self.bad("its alignment is %r" % (alignment,))
        end = -(-self.position // alignment) * alignment + needed
        if needed and end > self.size:
            raise self.bad("it has %d bytes and needs %d: it was cut" % (self.size, end))
