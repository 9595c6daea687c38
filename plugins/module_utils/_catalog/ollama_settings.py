# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of an Ollama server: what is read, since when, and what circulates but is not. Private to gpuops.fleet: the names may change in any release.

Source: envconfig/config.go of Ollama 0.17.4 and 0.33, llm/llama_server.go of 0.33 (the engine gets the server's whole environment), common/arg.cpp of
llama.cpp b10488; read 2026-11-24.
"""

from __future__ import annotations

# From this version on every GGUF model is served by llama.cpp's own server, which reads LLAMA_ARG_*.
LLAMA_SERVER_SINCE = (0, 30)

BOOLEAN = "(0|1|[Tt]rue|[Ff]alse)"
COUNT = "[0-9]+"
TEXT = ".+"

# name: what a value must look like, as a whole. A malformed LLAMA_ARG_* makes the server compute on the processor without an error.
SETTINGS = {
    "OLLAMA_DEBUG": "[0-2]",
    "OLLAMA_FLASH_ATTENTION": BOOLEAN,
    "OLLAMA_GPU_OVERHEAD": COUNT,
    "OLLAMA_KV_CACHE_TYPE": "(f16|q8_0|q4_0)",
    "OLLAMA_LLM_LIBRARY": "[a-z0-9_]+",
    "OLLAMA_LOAD_TIMEOUT": "-?[0-9]+[a-z0-9.]*",
    "OLLAMA_MAX_LOADED_MODELS": COUNT,
    "OLLAMA_MAX_QUEUE": COUNT,
    "OLLAMA_NOPRUNE": BOOLEAN,
    "OLLAMA_NO_CLOUD": BOOLEAN,
    "OLLAMA_NUM_PARALLEL": COUNT,
    "OLLAMA_ORIGINS": TEXT,
    "OLLAMA_VULKAN": BOOLEAN,
    "LLAMA_ARG_FIT": "(on|off)",
    "LLAMA_ARG_FIT_TARGET": "[0-9]+(,[0-9]+)*",
    "LLAMA_ARG_N_CPU_MOE": COUNT,
    "LLAMA_ARG_N_GPU_LAYERS": COUNT,
    "LLAMA_ARG_SPLIT_MODE": "(none|layer|row|tensor)",
    "LLAMA_ARG_TENSOR_SPLIT": r"[0-9]+(\.[0-9]+)?(,[0-9]+(\.[0-9]+)?)*",
    "LLAMA_ARG_THREADS": "-?[0-9]+",
    "CUDA_DEVICE_ORDER": "(FASTEST_FIRST|PCI_BUS_ID)",
    "GGML_CUDA_DISABLE_GRAPHS": TEXT,
    "GGML_CUDA_ENABLE_UNIFIED_MEMORY": TEXT,
    "GGML_CUDA_NO_PINNED": TEXT,
    "GGML_CUDA_P2P": TEXT,
    "HTTP_PROXY": TEXT,
    "HTTPS_PROXY": TEXT,
    "NO_PROXY": TEXT,
}

# Settings that have a variable of their own, and its name.
OWN = {
    "OLLAMA_HOST": "ollama_bind_address and ollama_port",
    "OLLAMA_MODELS": "ollama_volume",
    "OLLAMA_CONTEXT_LENGTH": "ollama_context_length",
    "OLLAMA_KEEP_ALIVE": "ollama_keep_alive",
    "OLLAMA_SCHED_SPREAD": "ollama_sched_spread",
    "NVIDIA_DRIVER_CAPABILITIES": "nothing: the container gets compute and utility, which is what the server needs",
}

# Names from guides, as command line flags, variables or model options, and what whoever writes them wants: a key of _verdicts/ollama_settings.py.
# A flag is written here without its leading dashes and with underscores.
INTENTIONS = {
    "OLLAMA_NUM_GPU_LAYERS": "layers",
    "OLLAMA_GPU_LAYERS": "layers",
    "OLLAMA_GPU_LAYER_OFFLOAD": "offload",
    "gpu_layers": "layers",
    "n_gpu_layers": "layers",
    "num_gpu_layers": "layers",
    "ngl": "layers",
    "OLLAMA_GPU_SPLIT": "split",
    "tensor_split": "split",
    "gpu_split": "split",
    "CUDA_VISIBLE_DEVICES": "devices",
    "NVIDIA_VISIBLE_DEVICES": "devices",
    "OLLAMA_NUM_GPU": "device_count",
    "OLLAMA_MAX_VRAM": "memory_limit",
    "gpu_memory": "memory_limit",
    "tensor_parallel_size": "tensor_parallel",
    "OLLAMA_NUM_THREADS": "threads",
    "NCCL_DEBUG": "nccl",
    "OLLAMA_TMPDIR": "nothing",
    "OLLAMA_NEW_ENGINE": "nothing",
    "OLLAMA_MULTIUSER_CACHE": "nothing",
    "OLLAMA_INTEL_GPU": "nothing",
}
