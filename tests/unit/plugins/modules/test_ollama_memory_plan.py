"""The module as Ansible calls it: one source of the model, GPUs from facts or given, and how it ends."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gguf
from gguf import GGUFReader

from tests.lab.ollama import tiny_models
from tests.unit.facts_samples import facts
from tests.unit.module_runner import run

ASK = {"engine": "0.17", "num_ctx": 32768}


def plan(capsys, **params):
    return run(capsys, "ollama_memory_plan", **dict(ASK, **params))


def test_the_catalogue_and_facts(capsys):
    result = plan(capsys, model="qwen3:32b", facts=facts("p40", "p40"))
    assert not result["failed"] and result["plan"]["verdict"] == "fits" and result["status"] == "pass" and not result["changed"]
    assert [gpu["layers"] for gpu in result["plan"]["gpus"]] == [33, 32]


def test_what_does_not_fit_fails_in_one_line_with_the_ways_out(capsys):
    result = plan(capsys, model="qwen3:32b", facts=facts("p40"))
    assert result["failed"] and result["msg"].startswith("ollama.memory qwen3:32b: only 5") and "num_ctx" in result["msg"] and "\n" not in result["msg"]
    assert result["plan"]["verdict"] == "partial"
    assert plan(capsys, model="qwen3:32b", facts=facts("p40"), allow_partial=True)["status"] == "warn"


def test_a_file_and_what_the_server_shows_give_one_plan(capsys, tmp_path):
    path = tmp_path / "tiny.gguf"
    tiny_models.write_model(path, "qwen3")
    header = gguf.read(str(path))
    reference = [(str(one.name), one.tensor_type.name, [int(size) for size in one.shape]) for one in GGUFReader(path).tensors]
    assert [(one["name"], one["type"], one["shape"]) for one in header.tensors] == reference
    cards = [{"uuid": "a", "free_mib": 1000}]
    found = plan(capsys, file=str(path), gpus=cards)
    shown = plan(capsys, show={"model_info": header.metadata, "tensors": header.tensors}, gpus=cards)
    assert found["plan"]["verdict"] == "fits" and found["plan"] == shown["plan"] and found["plan"]["total_layers"] == 3


@pytest.mark.parametrize("params, words", [
    ({}, "one of the following is required"),
    ({"model": "qwen3:8b", "file": "/x"}, "mutually exclusive"),
    ({"model": "qwen4"}, "has no model qwen4"),
    ({"file": "/nonexistent.gguf"}, "could not be read"),
    ({"show": {"model_info": {}}}, "verbose"),
    ({"model": "qwen3:8b", "gpus": [{"uuid": "GPU-none"}]}, "has no GPU GPU-none"),
])  # fmt: skip
def test_what_is_asked_wrongly_is_refused(capsys, params, words):
    result = plan(capsys, facts=facts("p40"), **params)
    assert result["failed"] and words in result["msg"]
