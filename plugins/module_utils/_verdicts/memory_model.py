# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a model asks of memory: the weights of each layer, and the width of its KV cache. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ggml_types import tensor_bytes
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_models import MODELS, Entry
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError, PolicyError

Json = t.Dict[str, t.Any]
BLOCKS = 512
LARGEST = 2**40  # of a count of heads or the like: beyond every model, and small enough for any arithmetic
# The input embedding stays in host memory, whatever is computed on GPUs.
HOST_TENSORS = ("token_embd.", "per_layer_token_embd.")
# Every n-th block of these architectures sees the whole context, the others only a window.
GLOBAL_EVERY = {"gemma3": 6, "gptoss": 2, "gpt-oss": 2}


@dataclasses.dataclass(frozen=True)
class Model:
    """All sizes in bytes. `blocks`: weights a block; `kv_width`: values of the KV cache a token, a block; `sliding`: blocks with a window."""

    name: str
    architecture: str
    blocks: t.Tuple[int, ...]
    output: int
    host: int
    file: int
    kv_width: t.Tuple[int, ...]
    sliding: t.Tuple[bool, ...]
    window: int
    embedding: int
    heads: int
    kv_heads: int
    vocabulary: int
    context: t.Optional[int] = None
    recurrent: bool = False


def from_catalogue(name: str) -> Model:
    """A model of the catalogue; PolicyError with the nearest name when there is none."""
    entry = MODELS.get(name)
    if entry is None:
        close = difflib.get_close_matches(name, MODELS, 1)
        hint = "did you mean %s?" % close[0] if close else "known are %s" % ", ".join(sorted(MODELS))
        raise PolicyError("the catalogue has no model %s: %s Any other model can be planned from its file" % (name, hint), option="model")
    weights = entry.vocabulary * entry.embedding
    host = tensor_bytes(entry.embedding_type, weights) or 0
    output = (host if entry.output_type is None else tensor_bytes(entry.output_type, weights) or 0) + 4 * entry.embedding
    in_blocks = entry.file_bytes - host - (output if entry.output_type else 0)
    return Model(
        name=name,
        architecture=entry.architecture,
        blocks=tuple(_block_bytes(entry, block, in_blocks) for block in range(entry.blocks)),
        output=output,
        host=host,
        file=entry.file_bytes,
        kv_width=(2 * entry.kv_heads * entry.key_length,) * entry.blocks,
        sliding=_sliding(entry.architecture, entry.blocks, entry.window, None),
        window=entry.window,
        embedding=entry.embedding,
        heads=entry.heads,
        kv_heads=entry.kv_heads,
        vocabulary=entry.vocabulary,
    )


def _block_bytes(entry: Entry, block: int, in_blocks: int) -> int:
    if entry.layer_bytes is None:
        return in_blocks // entry.blocks
    # llama.cpp, use_more_bits(): the first and last eighth, and every third block between.
    eighth = entry.blocks // 8
    return entry.layer_bytes[0 if block < eighth or block >= 7 * entry.blocks // 8 or (block - eighth) % 3 == 2 else 1]


def from_metadata(name: str, metadata: t.Any, tensors: t.Any, file_bytes: t.Optional[int] = None) -> Model:
    """A model from the metadata of its GGUF file and its tensors [{name, type, shape}]; EvidenceError when they do not tell enough."""
    if not isinstance(metadata, dict) or not isinstance(tensors, list) or not tensors:
        raise EvidenceError("%s: metadata and tensors are needed; /api/show of Ollama 0.30 and newer tells tensors only with verbose" % name)
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise EvidenceError("%s: general.architecture is missing" % name)
    read = _Reader(name, metadata, architecture)
    number = read.number("block_count")
    if number > BLOCKS:
        raise EvidenceError("%s: %d blocks, more than %d" % (name, number, BLOCKS))
    embedding, heads = read.number("embedding_length"), max(read.each("attention.head_count", number))
    if not heads or not number:
        raise EvidenceError("%s: it has no blocks or no attention" % name)
    kv_heads = read.each("attention.head_count_kv", number, heads)
    key = read.number("attention.key_length", embedding // heads)
    value = read.number("attention.value_length", embedding // heads)
    window = read.number("attention.sliding_window", 0)
    blocks, output, host, vocabulary = _weights(name, tensors, number, embedding)
    return Model(
        name=name,
        architecture=architecture,
        blocks=tuple(blocks),
        output=output,
        host=host,
        file=file_bytes or sum(blocks) + output + host,
        kv_width=tuple(count * (key + value) for count in kv_heads),
        sliding=_sliding(architecture, number, window, read.raw("attention.sliding_window_pattern")),
        window=window,
        embedding=embedding,
        heads=heads,
        kv_heads=max(kv_heads),
        vocabulary=vocabulary or read.number("vocab_size"),
        context=read.number("context_length", 0) or None,
        recurrent=any(str(found).startswith(architecture + ".ssm.") for found in metadata),
    )


class _Reader:
    def __init__(self, name: str, metadata: Json, architecture: str):
        self.name, self.metadata, self.architecture = name, metadata, architecture

    def raw(self, key: str) -> t.Any:
        return self.metadata.get("%s.%s" % (self.architecture, key))

    def number(self, key: str, default: t.Optional[int] = None) -> int:
        """A whole number, or `default`."""
        return self.checked(key, default if self.raw(key) is None else self.raw(key))

    def each(self, key: str, blocks: int, default: t.Optional[int] = None) -> t.List[int]:
        """One number a block; the file has one for all, or a list."""
        found = self.raw(key)
        if isinstance(found, list):
            if len(found) != blocks:
                raise EvidenceError("%s: %s has %d values for %d blocks" % (self.name, key, len(found), blocks))
            return [self.checked(key, one) for one in found] or [0]
        return [self.number(key, default)] * max(1, blocks)

    def checked(self, key: str, value: t.Any) -> int:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # from JSON
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST:
            raise EvidenceError("%s: %s.%s is %.80r, a whole number is needed" % (self.name, self.architecture, key, value))
        return value


def _weights(name: str, tensors: t.List[t.Any], number: int, embedding: int) -> t.Tuple[t.List[int], int, int, int]:
    """Bytes of each block, of the output, in host memory, and the size of the vocabulary (0: not known)."""
    blocks, output, host, vocabulary, copied, separate = [0] * number, 0, 0, 0, 0, False
    for tensor in tensors:
        title, size, weights = _tensor(name, tensor)
        block = re.match(r"blk\.([0-9]{1,6})\.", title)
        if block and int(block.group(1)) < number:
            blocks[int(block.group(1))] += size
        elif title.startswith(HOST_TENSORS):
            host += size
            if title == "token_embd.weight":
                copied, vocabulary = size, weights // embedding if embedding else 0
        else:
            output += size
            separate = separate or title == "output.weight"
    # Without a tensor of its own, the output computes with a copy of the embedding on the GPU.
    return blocks, output + (0 if separate else copied), host, vocabulary


def _tensor(name: str, tensor: t.Any) -> t.Tuple[str, int, int]:
    shape = tensor.get("shape") if isinstance(tensor, dict) else None
    weights = 1
    for length in shape if isinstance(shape, list) and len(shape) <= 4 else [None]:
        if isinstance(length, bool) or not isinstance(length, int) or not 0 <= length < LARGEST:
            raise EvidenceError("%s: the shape of a tensor is not readable: %.80r" % (name, tensor))
        weights *= length
    size = tensor_bytes(str(tensor.get("type")), weights)
    if size is None or size >= 2**60:
        raise EvidenceError("%s: the size of a tensor is not known: %.80r" % (name, tensor))
    return str(tensor.get("name")), size, weights


def _sliding(architecture: str, blocks: int, window: int, pattern: t.Any) -> t.Tuple[bool, ...]:
    """Which blocks keep only a window. Unknown patterns count as whole context: more than is needed, never less."""
    if not window:
        return (False,) * blocks
    if isinstance(pattern, list) and len(pattern) == blocks and all(isinstance(one, bool) for one in pattern):
        return tuple(pattern)
    every = GLOBAL_EVERY.get(architecture)
    return tuple(every is not None and (block + 1) % every != 0 for block in range(blocks))
