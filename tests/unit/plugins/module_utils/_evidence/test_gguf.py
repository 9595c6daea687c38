"""The header of a GGUF file: what is read, what is refused, and that nothing else happens with any bytes."""

from __future__ import annotations

import os
import struct
import tempfile

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf
from hypothesis import given, settings
from hypothesis import strategies as st


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def pair(key, kind, data):
    return text(key) + struct.pack("<I", kind) + data


PAIRS = [
    pair("general.architecture", 8, text("qwen3")),
    pair("general.alignment", 4, struct.pack("<I", 64)),
    pair("qwen3.block_count", 4, struct.pack("<I", 2)),
    pair("qwen3.scale", 6, struct.pack("<f", 0.5)),
    pair("qwen3.pattern", 9, struct.pack("<IQ", 7, 2) + b"\x01\x00"),
    pair("tokens", 9, struct.pack("<IQ", 8, 3) + text("a") + text("bb") + text("")),
    pair("scores", 9, struct.pack("<IQ", 6, 5000) + bytes(20000)),
    pair("template", 8, text("x" * 70000)),
]


def tensor(name="blk.0.w.weight", shape=(256, 4), kind=12, offset=0):
    return text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", one) for one in shape) + struct.pack("<IQ", kind, offset)


TENSORS = (tensor(),)


def content(*, pairs=PAIRS, tensors=TENSORS, version=3, counts=None, magic=b"GGUF"):
    head = magic + struct.pack("<I", version) + struct.pack("<QQ", *(counts or (len(tensors), len(pairs)))) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 64) + bytes(4 * 144)


def read(data):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        return gguf.read(file.name)


@pytest.mark.parametrize("version", [2, 3])
def test_a_header_is_read(version):
    found = read(content(version=version))
    assert found.metadata == {
        "general.architecture": "qwen3", "general.alignment": 64, "qwen3.block_count": 2, "qwen3.scale": 0.5, "qwen3.pattern": [True, False],
        "tokens": None, "scores": None, "template": None,
    }  # fmt: skip
    assert found.tensors == [{"name": "blk.0.w.weight", "type": "Q4_K", "shape": [256, 4]}]
    assert found.size == len(content())


BAD = [
    (b"", "not a GGUF file"),
    (b"GG", "not a GGUF file"),
    (b"<html>", "not a GGUF file"),
    (content(magic=b"GGML"), "not a GGUF file"),
    (b"GGUF\x03", "ends inside its header"),
    (content(version=1), "version 1"),
    (content(version=0x03000000), "version 50331648"),
    (content(counts=(2**60, 1)), "tensors, more than"),
    (content(counts=(1, 2**63)), "keys, more than"),
    (content()[:200], "ends inside its header"),
    (content()[:-1], "it was cut"),
    (content(pairs=[pair("a", 8, struct.pack("<Q", 2**40))]), "bytes of a text, more than"),
    (content(pairs=[pair("a", 13, b"")]), "unknown type 13"),
    (content(pairs=[pair("a", 9, struct.pack("<IQ", 9, 1))]), "elements of the type 9"),
    (content(pairs=[pair("a", 9, struct.pack("<IQ", 0, 2**50))]), "elements of an array, more than"),
    (content(pairs=[pair("general.alignment", 4, struct.pack("<I", 0))]), "alignment is 0"),
    (content(tensors=[tensor(shape=(1,) * 5)]), "5 dimensions"),
    (content(tensors=[tensor(kind=99)]), "unknown type 99"),
    (content(tensors=[tensor(offset=2**62)]), "it was cut"),
]


@pytest.mark.parametrize("data, why", BAD, ids=[why for _data, why in BAD])
def test_a_damaged_file_is_refused_in_one_line(data, why):
    with pytest.raises(EvidenceError, match=why) as caught:
        read(data)
    assert "\n" not in caught.value.message


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", "a\0b"):
        with pytest.raises(EvidenceError):
            gguf.read(str(path))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 700), st.binary(min_size=1, max_size=8)), min_size=1, max_size=4), st.integers(0, 200))
def test_changed_bytes_never_do_anything_else(changes, cut):
    data = bytearray(content(pairs=PAIRS[:6]))
    for place, new in changes:
        data[place : place + len(new)] = new
    try:
        found = read(bytes(data[: len(data) - cut]))
    except EvidenceError:
        return
    assert isinstance(found.metadata, dict) and all(set(one) == {"name", "type", "shape"} for one in found.tensors)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 3))
def test_any_bytes_after_a_good_beginning_never_do_anything_else(rest, tensors, keys):
    try:
        read(b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + rest)
    except EvidenceError as error:
        assert error.message
