"""What settings do on the two engines: those that are read, those that only circulate, and wrong ones."""

from __future__ import annotations

import re

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.ollama_settings import ollama_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.ollama_settings import INTENTIONS, OWN, SETTINGS
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.ollama_settings import translate, version

OLD, NEW = (0, 17, 4), (0, 33, 0)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("ollama/ollama:0.17.4", (0, 17, 4)),
        ("mirror.example:5000/ollama/ollama:0.32.15", (0, 32, 15)),
        ("ollama/ollama:0.30.11@sha256:" + "ab" * 32, (0, 30, 11)),
        ("ollama/ollama:0.17.4-rocm", (0, 17, 4)),
        ("0.33.0-rc2", (0, 33, 0)),
        ("v0.24.0", (0, 24, 0)),
        ("ollama/ollama:latest", None),
        ("mirror.example:5000/ollama", None),
        ("ollama/ollama@sha256:" + "12" * 32, None),
        ("", None),
        (None, None),
    ],
)
def test_version_of_a_reference(text, expected):
    assert version(text) == expected


# name, value, engine → environment, parameters, gpus, spread, part of the only notice (None: no notice)
EFFECTS = [
    # read as they are
    ("OLLAMA_NUM_PARALLEL", 2, OLD, {"OLLAMA_NUM_PARALLEL": "2"}, {}, None, None, None),
    ("OLLAMA_FLASH_ATTENTION", True, NEW, {"OLLAMA_FLASH_ATTENTION": "1"}, {}, None, None, None),
    ("OLLAMA_KV_CACHE_TYPE", "q8_0", NEW, {"OLLAMA_KV_CACHE_TYPE": "q8_0"}, {}, None, None, None),
    ("LLAMA_ARG_TENSOR_SPLIT", [3, 1], NEW, {"LLAMA_ARG_TENSOR_SPLIT": "3,1"}, {}, None, None, None),
    ("OLLAMA_GPU_OVERHEAD", 1073741824, OLD, {"OLLAMA_GPU_OVERHEAD": "1073741824"}, {}, None, None, None),
    ("LLAMA_ARG_N_GPU_LAYERS", 60, NEW, {"LLAMA_ARG_N_GPU_LAYERS": "60"}, {}, None, None, "turns the automatic fit off"),
    # the names of the guides
    ("OLLAMA_NUM_GPU_LAYERS", 60, OLD, {}, {}, None, None, "every layer that fits goes to the GPUs"),
    ("OLLAMA_NUM_GPU_LAYERS", 60, NEW, {}, {}, None, None, "every layer that fits goes to the GPUs"),
    ("OLLAMA_NUM_GPU_LAYERS", 0, NEW, {}, {"num_gpu": 0}, None, None, "num_gpu: 0"),
    ("OLLAMA_GPU_LAYER_OFFLOAD", 1, OLD, {}, {}, None, None, "go to the GPUs by themselves"),
    ("OLLAMA_GPU_LAYER_OFFLOAD", False, OLD, {}, {"num_gpu": 0}, None, None, "num_gpu: 0"),
    ("--gpu-layers", "60", OLD, {}, {}, None, None, "every layer that fits"),
    ("--n-gpu-layers", 30, NEW, {}, {}, None, None, "every layer that fits"),
    ("-ngl", 99, NEW, {}, {}, None, None, "every layer that fits"),
    ("OLLAMA_GPU_SPLIT", "1,1", NEW, {"LLAMA_ARG_TENSOR_SPLIT": "1,1"}, {}, None, True, "LLAMA_ARG_TENSOR_SPLIT=1,1"),
    ("OLLAMA_GPU_SPLIT", "1,1", OLD, {}, {}, None, True, "by free memory only"),
    ("--tensor-split", "24,24", NEW, {"LLAMA_ARG_TENSOR_SPLIT": "24,24"}, {}, None, True, "LLAMA_ARG_TENSOR_SPLIT=24,24"),
    ("--tensor-parallel-size", 2, OLD, {}, {}, None, True, "no tensor parallelism"),
    ("NCCL_DEBUG", "INFO", NEW, {"NCCL_DEBUG": "INFO"}, {}, None, None, "does not use NCCL"),
    ("NVIDIA_VISIBLE_DEVICES", "0,1", OLD, {}, {}, ["0", "1"], None, "GPU 0, 1"),
    ("NVIDIA_VISIBLE_DEVICES", "all", OLD, {}, {}, [], None, "every GPU"),
    ("CUDA_VISIBLE_DEVICES", [0, 1], NEW, {}, {}, ["0", "1"], None, "GPU 0, 1"),
    ("OLLAMA_NUM_GPU", 2, NEW, {}, {}, None, None, "{count: 2}"),
    ("OLLAMA_MAX_VRAM", 1, NEW, {}, {}, None, None, "LLAMA_ARG_FIT_TARGET"),
    ("--gpu-memory", "24G", OLD, {}, {}, None, None, "OLLAMA_GPU_OVERHEAD"),
    ("OLLAMA_NUM_THREADS", 8, OLD, {}, {"num_thread": 8}, None, None, "num_thread: 8"),
    ("OLLAMA_GPU_LAYERS", 60, NEW, {}, {}, None, None, "every layer that fits"),
    ("--num-gpu-layers", 60, OLD, {}, {}, None, None, "every layer that fits"),
    ("--gpu-split", "1,1", NEW, {"LLAMA_ARG_TENSOR_SPLIT": "1,1"}, {}, None, True, "LLAMA_ARG_TENSOR_SPLIT=1,1"),
    ("OLLAMA_TMPDIR", "/tmp", OLD, {}, {}, None, None, "left out"),
    ("OLLAMA_NEW_ENGINE", 1, OLD, {}, {}, None, None, "left out"),
    ("OLLAMA_MULTIUSER_CACHE", 1, NEW, {}, {}, None, None, "left out"),
    ("OLLAMA_INTEL_GPU", 1, NEW, {}, {}, None, None, "left out"),
    # right names on the wrong engine
    ("OLLAMA_GPU_OVERHEAD", 2147483648, NEW, {"LLAMA_ARG_FIT_TARGET": "2048"}, {}, None, None, "LLAMA_ARG_FIT_TARGET=2048"),
    ("OLLAMA_GPU_OVERHEAD", 1, NEW, {"LLAMA_ARG_FIT_TARGET": "1024"}, {}, None, None, "LLAMA_ARG_FIT_TARGET=1024"),
    ("LLAMA_ARG_FIT_TARGET", "1024,2048", OLD, {"OLLAMA_GPU_OVERHEAD": "2147483648"}, {}, None, None, "OLLAMA_GPU_OVERHEAD=2147483648"),
    ("LLAMA_ARG_TENSOR_SPLIT", "1,1", OLD, {}, {}, None, True, "by free memory only"),
    ("LLAMA_ARG_N_GPU_LAYERS", 60, OLD, {}, {}, None, None, "every layer that fits"),
    ("LLAMA_ARG_THREADS", 4, OLD, {}, {"num_thread": 4}, None, None, "num_thread: 4"),
    ("LLAMA_ARG_SPLIT_MODE", "row", OLD, {}, {}, None, None, "0.30 and newer does"),
]


@pytest.mark.parametrize("row", EFFECTS)
def test_effect(row):
    name, value, engine, environment, parameters, gpus, spread, notice = row
    found = translate({name: value}, engine)
    assert found["problems"] == []
    assert (found["environment"], found["parameters"], found["gpus"], found["sched_spread"]) == (environment, parameters, gpus, spread)
    if notice is None:
        assert found["notices"] == []
    else:
        assert len(found["notices"]) == 1 and notice in found["notices"][0] and found["notices"][0].startswith(name + "=")


PROBLEMS = [
    ({"OLLAMA_NUM_PARALEL": 2}, "did you mean OLLAMA_NUM_PARALLEL?"),
    ({"ollama_flash_attention": 1}, "did you mean OLLAMA_FLASH_ATTENTION?"),
    ({"SOMETHING": 1}, "is no setting of the server; known are CUDA_DEVICE_ORDER"),
    ({"OLLAMA_HOST": "0.0.0.0"}, "use ollama_bind_address and ollama_port"),
    ({"OLLAMA_CONTEXT_LENGTH": 4096}, "use ollama_context_length"),
    ({"OLLAMA_SCHED_SPREAD": 1}, "use ollama_sched_spread"),
    # each of these sends a server to the processor, or is silently ignored
    ({"LLAMA_ARG_SPLIT_MODE": "bogus"}, "it must match (none|layer|row|tensor)"),
    ({"LLAMA_ARG_TENSOR_SPLIT": "1,x"}, "LLAMA_ARG_TENSOR_SPLIT is 1,x"),
    ({"LLAMA_ARG_N_GPU_LAYERS": "abc"}, "LLAMA_ARG_N_GPU_LAYERS is abc"),
    ({"LLAMA_ARG_FIT_TARGET": "1024\n2048"}, "it must match"),
    ({"OLLAMA_NUM_PARALLEL": "abc"}, "OLLAMA_NUM_PARALLEL is abc"),
    ({"OLLAMA_KV_CACHE_TYPE": "q5_0"}, "it must match (f16|q8_0|q4_0)"),
    ({"OLLAMA_LLM_LIBRARY": ""}, "OLLAMA_LLM_LIBRARY is empty"),
    ({"OLLAMA_NUM_GPU_LAYERS": "many"}, "a whole number was expected"),
    ({"OLLAMA_GPU_SPLIT": "half"}, "proportions such as 1,1 were expected"),
    ({"CUDA_VISIBLE_DEVICES": "-1"}, "indices or UUIDs"),
    ({"CUDA_VISIBLE_DEVICES": "0", "NVIDIA_VISIBLE_DEVICES": "0,1"}, "names other GPUs"),
]


@pytest.mark.parametrize("settings, message", PROBLEMS)
@pytest.mark.parametrize("engine", [OLD, NEW])
def test_refused(settings, message, engine):
    found = translate(settings, engine)
    assert len(found["problems"]) == 1 and message in found["problems"][0]
    assert found["environment"] == {}


def test_every_name_has_one_meaning_and_every_intention_an_answer():
    assert not set(SETTINGS) & set(OWN) and not set(SETTINGS) & set(INTENTIONS) and not set(OWN) & set(INTENTIONS)
    rows = {name.lstrip("-").replace("-", "_") for name, *_effect in EFFECTS}
    assert set(INTENTIONS) <= rows
    for name in INTENTIONS:
        found = [translate({name: "1"}, engine) for engine in (OLD, NEW)]
        assert all(one["notices"] and not one["problems"] for one in found), name


def test_every_pattern_is_a_pattern():
    for pattern in SETTINGS.values():
        re.compile(pattern)


def test_filter():
    assert ollama_settings({"OLLAMA_GPU_SPLIT": "1,1"}, "ollama/ollama:0.17.4")["environment"] == {}
    assert ollama_settings({"OLLAMA_GPU_SPLIT": "1,1"})["environment"] == {"LLAMA_ARG_TENSOR_SPLIT": "1,1"}
    with pytest.raises(AnsibleFilterError, match="a dictionary of settings is needed, not list"):
        ollama_settings([])
