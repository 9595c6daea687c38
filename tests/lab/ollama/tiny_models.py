"""Language models of half a megabyte with random weights, for the real Ollama server.

A model file must be whole for a server to load it: hyperparameters, a vocabulary, every tensor of its architecture. What it answers is
nonsense, but it answers. Two architectures, because Ollama 0.17 has two engines with two dialects of log lines:

* `llama` runs in the engine that wraps llama.cpp,
* `qwen3` runs in Ollama's own engine.

The same arguments always give the same bytes.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import gguf
import numpy as np

ARCHITECTURES = ("llama", "qwen3")
CHAT_TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of a model. Head dimension (embedding / heads) is a multiple of 32, so that a quantised KV cache works too."""

    blocks: int = 2
    embedding: int = 128
    heads: int = 4
    kv_heads: int = 2
    feed_forward: int = 128
    context: int = 2048

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.embedding // self.heads


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Tokens, their kinds, and which of them must never be sampled (control tokens, and bytes that alone are no valid UTF-8)."""

    model: str
    pre: str
    tokens: list[str]
    kinds: list[gguf.TokenType]
    unspeakable: list[bool]


def sentencepiece() -> Vocabulary:
    """Specials, all 256 bytes, the word mark and printable ASCII: the least that llama.cpp's SPM tokenizer needs."""
    letters = ["▁"] + [chr(code) for code in range(33, 127)]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + letters
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(letters)
    return Vocabulary("llama", "default", tokens, kinds, [True] * 259 + [False] * len(letters))


def byte_pairs() -> Vocabulary:
    """GPT-2's byte alphabet (every byte as a printable character), one merge and the control tokens of Qwen."""
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = [chr(byte) for byte in printable] + [chr(256 + number) for number in range(len(others))]
    control = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    kinds = [gguf.TokenType.NORMAL] * 257 + [gguf.TokenType.CONTROL] * len(control)
    unspeakable = [not 33 <= byte < 127 for byte in printable + others] + [False] + [True] * len(control)
    return Vocabulary("gpt2", "qwen2", alphabet + ["ab"] + control, kinds, unspeakable)


def write_model(path: Path, architecture: str, shape: Shape | None = None) -> None:
    """Write a model of `architecture` to `path`."""
    if architecture not in ARCHITECTURES:
        raise ValueError(f"{architecture!r} is none of {', '.join(ARCHITECTURES)}")
    shape = shape or Shape()
    words = sentencepiece() if architecture == "llama" else byte_pairs()
    writer = gguf.GGUFWriter(path, architecture)
    _write_hyperparameters(writer, architecture, shape, len(words.tokens))
    _write_vocabulary(writer, words)
    _add_tensors(writer, architecture, shape, words)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_hyperparameters(writer: gguf.GGUFWriter, architecture: str, shape: Shape, vocabulary: int) -> None:
    writer.add_name(f"tiny-{architecture}")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.embedding)
    writer.add_block_count(shape.blocks)
    writer.add_feed_forward_length(shape.feed_forward)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head)
    writer.add_value_length(shape.head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(shape.head)
    writer.add_vocab_size(vocabulary)


def _write_vocabulary(writer: gguf.GGUFWriter, words: Vocabulary) -> None:
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_chat_template(CHAT_TEMPLATE)
    last = len(words.tokens) - 1
    if words.model == "llama":
        writer.add_token_scores([0.0 if mute else -1.0 - number / 100 for number, mute in enumerate(words.unspeakable)])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_unk_token_id(0)
        writer.add_add_bos_token(True)
        writer.add_add_eos_token(False)
    else:
        writer.add_token_merges(["a b"])
        writer.add_bos_token_id(last - 2)
        writer.add_eos_token_id(last)
        writer.add_pad_token_id(last - 2)
        writer.add_add_bos_token(False)


def _add_tensors(writer: gguf.GGUFWriter, architecture: str, shape: Shape, words: Vocabulary) -> None:
    random = np.random.default_rng(seed=0)

    def weights(*size: int) -> np.ndarray:
        return (random.standard_normal(size) * 0.05).astype(np.float32)

    def add(name: str, values: np.ndarray) -> None:
        # Norms are vectors and stay in single precision, as in every real file.
        writer.add_tensor(f"{name}.weight", values if values.ndim == 1 else values.astype(np.float16))

    # Channel 0 is the same large number for every token, so it survives the norms; with it the output layer can push tokens down.
    embedding = weights(len(words.tokens), shape.embedding)
    embedding[:, 0] = 4.0
    output = weights(len(words.tokens), shape.embedding) * 4
    output[:, 0] = np.where(words.unspeakable, -20.0, 0.0)
    add("token_embd", embedding)
    add("output_norm", np.ones(shape.embedding, np.float32))
    add("output", output)
    for block in range(shape.blocks):
        prefix = f"blk.{block}"
        add(f"{prefix}.attn_norm", np.ones(shape.embedding, np.float32))
        add(f"{prefix}.ffn_norm", np.ones(shape.embedding, np.float32))
        add(f"{prefix}.attn_q", weights(shape.embedding, shape.embedding))
        add(f"{prefix}.attn_k", weights(shape.head * shape.kv_heads, shape.embedding))
        add(f"{prefix}.attn_v", weights(shape.head * shape.kv_heads, shape.embedding))
        add(f"{prefix}.attn_output", weights(shape.embedding, shape.embedding))
        if architecture == "qwen3":
            add(f"{prefix}.attn_q_norm", np.ones(shape.head, np.float32))
            add(f"{prefix}.attn_k_norm", np.ones(shape.head, np.float32))
        add(f"{prefix}.ffn_gate", weights(shape.feed_forward, shape.embedding))
        add(f"{prefix}.ffn_up", weights(shape.feed_forward, shape.embedding))
        add(f"{prefix}.ffn_down", weights(shape.embedding, shape.feed_forward))
