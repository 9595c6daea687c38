"""A GGUF file's SHA-256 is computed once and never believed when the file has changed."""
import hashlib
import json
import os
import struct
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf_file

# A header of version 3 without metadata and tensors, and whatever follows.
CONTENT = b"GGUF" + struct.pack("<IQQ", 3, 0, 0) + bytes(range(256)) * 20000


def remember(model, cache):
    Path(gguf_file.note_path(str(cache), str(model.path))).write_text(json.dumps(model.note))


def test_digest_is_that_of_the_whole_file_and_is_remembered(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT)
    first = gguf_file.read(str(path), str(tmp_path))
    assert (first.sha256, first.size, first.remembered) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT), False)
    remember(first, tmp_path)
    second = gguf_file.read(str(path), str(tmp_path))
    assert (second.sha256, second.remembered) == (first.sha256, True)


@pytest.mark.parametrize("change", ["content", "time", "note", "other note"])
def test_a_changed_file_or_a_broken_note_is_read_again(tmp_path, change):
    path = tmp_path / "m.gguf"
    path.write_bytes(CONTENT)
    first = gguf_file.read(str(path), str(tmp_path))
    remember(first, tmp_path)
    note = Path(gguf_file.note_path(str(tmp_path), str(path)))
    if change == "content":
        path.write_bytes(CONTENT + b"x")
    elif change == "time":
        os.utime(path, ns=(1, 1))
    elif change == "note":
        note.write_text("{")
    else:
        note.write_text("[1]")
    again = gguf_file.read(str(path), str(tmp_path))
    assert not again.remembered
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "does not exist on the target"), (b"", "is not a GGUF file: it begins with b''"), (b"PK\3\4....", "is not a GGUF file"), ("folder", "is a folder")],
)
def test_what_is_no_model(tmp_path, content, message):
    path = tmp_path / "m.gguf"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(EvidenceError, match=message):
        gguf_file.read(str(path), str(tmp_path))
