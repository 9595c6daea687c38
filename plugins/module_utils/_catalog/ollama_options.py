# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The model options that Ollama reads. Private to gpuops.fleet: the names may change in any release.

Source: `Options` and `Runner` in api/types.go of Ollama 0.17.4 (2026-02-27), and of 0.33 for `draft_num_predict`; read 2026-11-24.
The server stores an unknown option without a word and ignores it, so they are checked here.
"""

from __future__ import annotations

# name: type of the value
OPTIONS = {
    "num_ctx": "int",
    "num_batch": "int",
    "num_gpu": "int",
    "main_gpu": "int",
    "use_mmap": "bool",
    "num_thread": "int",
    "draft_num_predict": "int",
    "num_keep": "int",
    "seed": "int",
    "num_predict": "int",
    "top_k": "int",
    "top_p": "float",
    "min_p": "float",
    "typical_p": "float",
    "repeat_last_n": "int",
    "temperature": "float",
    "repeat_penalty": "float",
    "presence_penalty": "float",
    "frequency_penalty": "float",
    "stop": "list",
}

# Names that circulate but were never options of Ollama, with what serves the purpose.
HINTS = {
    "gpu_layers": "use num_gpu, or leave it out: Ollama chooses the number of layers itself",
    "n_gpu_layers": "use num_gpu, or leave it out: Ollama chooses the number of layers itself",
    "num_gpu_layers": "use num_gpu, or leave it out: Ollama chooses the number of layers itself",
    "tensor_split": "Ollama has no such option; LLAMA_ARG_TENSOR_SPLIT in the server's environment (Ollama 0.30 and newer) sets it for all models",
    "gpu_split": "Ollama has no such option; LLAMA_ARG_TENSOR_SPLIT in the server's environment (Ollama 0.30 and newer) sets it for all models",
    "tensor_parallel_size": "Ollama has no tensor parallelism; it spreads layers by itself (OLLAMA_SCHED_SPREAD in the server's environment)",
    "context_length": "use num_ctx",
    "ctx_size": "use num_ctx",
    "max_tokens": "use num_predict",
    "flash_attention": "set OLLAMA_FLASH_ATTENTION in the server's environment",
    "kv_cache_type": "set OLLAMA_KV_CACHE_TYPE in the server's environment",
    "num_parallel": "set OLLAMA_NUM_PARALLEL in the server's environment",
    "keep_alive": "no option of a model; the module's loaded parameter keeps it in memory",
}
