# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Well-known models, for planning before there is a file. Private to gpuops.fleet: the names may change in any release.

The figures are those of the metadata of each model's GGUF file, and of the size that the Ollama library lists (decimal GB), which is
rounded: a plan from the file itself is exact, one from here is good to some percent.
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Entry:
    """One model of the Ollama library in its default quantisation. Key and value are of one length in all of them.

    `output_type` None: the output uses the input embedding. `layer_bytes`: weights of the larger and of the smaller blocks (Q4_K_M keeps
    some blocks in more bits), where they are known; without them all blocks count alike.
    """

    architecture: str
    blocks: int
    kv_heads: int
    key_length: int
    embedding: int
    heads: int
    vocabulary: int
    file_bytes: int
    embedding_type: str = "Q4_K"
    output_type: t.Optional[str] = "Q6_K"
    window: int = 0
    layer_bytes: t.Optional[t.Tuple[int, int]] = None


QWEN3, LLAMA3, GEMMA3, GPT_OSS = 151936, 128256, 262144, 201088  # sizes of the vocabularies

MODELS = {
    "qwen3:8b": Entry("qwen3", 36, 8, 128, 4096, 32, QWEN3, 5200000000),
    "qwen3:14b": Entry("qwen3", 40, 8, 128, 5120, 40, QWEN3, 9300000000),
    "qwen3:30b": Entry("qwen3moe", 48, 4, 128, 2048, 32, QWEN3, 18600000000),
    "qwen3:32b": Entry("qwen3", 64, 8, 128, 5120, 64, QWEN3, 20201253588, layer_bytes=(315638784, 281846784)),
    "llama3.1:8b": Entry("llama", 32, 8, 128, 4096, 32, LLAMA3, 4900000000),
    "llama3.1:70b": Entry("llama", 80, 8, 128, 8192, 64, LLAMA3, 42500000000),
    "gemma3:27b": Entry("gemma3", 62, 16, 128, 5376, 32, GEMMA3, 17400000000, embedding_type="Q6_K", output_type=None, window=1024),
    "gpt-oss:20b": Entry("gptoss", 24, 8, 64, 2880, 64, GPT_OSS, 13800000000, embedding_type="BF16", output_type="BF16", window=128),
    "gpt-oss:120b": Entry("gptoss", 36, 8, 64, 2880, 64, GPT_OSS, 65400000000, embedding_type="BF16", output_type="BF16", window=128),
}
MODELS["qwen3:30b-a3b"] = MODELS["qwen3:30b"]
