"""Several models on the GPUs of one server at the same time: sums a GPU, what is refused, and the ways out."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import memory_fit, memory_together
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_fit import CONTEXT_MIB, Gpu, Options, Wanted
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_model import from_catalogue

from tests.unit.facts_samples import facts
from tests.unit.module_runner import run

P40 = 22938.0  # MiB that are free for models on a Tesla P40


def wanted(*names, engine="0.17", num_ctx=8192, **options):
    """Models of the catalogue, as `NAME` or `NAME@CONTEXT`; `?` is one of unknown size."""
    found = []
    for text in names:
        name, _at, context = text.partition("@")
        model = None if name.startswith("?") else from_catalogue(name)
        found.append(Wanted(name, model, Options(engine=engine, num_ctx=int(context or num_ctx), **options), None if model is None else name))
    return found


def gpus(*free):
    return [Gpu("GPU-%d" % number, size) for number, size in enumerate(free)]


def judge(models, cards, **options):
    plan = memory_together.plan(models, cards)
    return plan, memory_together.check(models, plan, **options)


# models, GPUs, OLLAMA_MAX_LOADED_MODELS, status, words of summary and remedy
CASES = [
    (wanted("qwen3:8b", "llama3.1:8b"), gpus(P40), 0, "pass", ["fit on the GPUs together (qwen3:8b with context 8192, llama3.1:8b with context 8192"]),
    (wanted("qwen3:32b", "qwen3:8b"), gpus(P40, P40), 0, "pass", ["fit on the GPUs together"]),
    # Each fits alone, not both.
    (wanted("qwen3:14b@32768", "qwen3:8b@32768"), gpus(P40), 0, "fail",
     ["do not fit on the GPUs together: 41/41 layers of qwen3:14b,", "/37 layers of qwen3:8b", "for qwen3:8b", "1 more GPU", "loaded false for qwen3:14b"]),
    (wanted("qwen3:14b@32768", "qwen3:8b@32768", engine="0.30"), gpus(P40), 0, "fail", ["do not fit on the GPUs together"]),
    (wanted("qwen3:14b@32768", "qwen3:8b@32768", kv_cache_type="q8_0"), gpus(P40), 0, "pass", ["KV cache q8_0"]),
    (wanted("llama3.1:70b", "qwen3:8b"), gpus(P40), 0, "fail", ["llama3.1:70b"]),
    (wanted("gpt-oss:120b@131072", "llama3.1:70b@131072"), gpus(8000.0), 0, "fail", ["smaller quantisations of gpt-oss:120b and llama3.1:70b, or larger GPUs"]),
    (wanted("qwen3:8b", "llama3.1:8b"), gpus(P40, P40), 1, "fail", ["2 models are to stay in memory, and the server keeps 1", "OLLAMA_MAX_LOADED_MODELS 2"]),
    (wanted("qwen3:8b", "?a", "?b", "?c"), gpus(P40), 0, "fail", ["4 models are to stay in memory, and the server keeps 3"]),
    (wanted("qwen3:8b", "?own"), gpus(P40), 0, "pass", ["together, without ?own (qwen3:8b with"]),
    (wanted("qwen3:8b", "qwen3:8b@4096"), gpus(P40), 0, "fail", ["qwen3:8b and qwen3:8b are made from the same weights"]),
    (wanted("?a", "?b"), gpus(P40), 0, "unknown", ["cannot be planned"]),
    (wanted("qwen3:8b", "llama3.1:8b"), gpus(P40, None), 0, "unknown", ["cannot be planned"]),
]


@pytest.mark.parametrize("models, cards, most, status, words", CASES, ids=["%s-%s" % (index, case[3]) for index, case in enumerate(CASES)])
def test_models_beside_each_other(models, cards, most, status, words):
    _plan, check = judge(models, cards, max_loaded=most)
    text = check.line()
    assert check.status == status, text
    assert [word for word in words if word not in text] == [], text
    assert check.subject == " + ".join(one.name for one in models)


def test_the_ways_out_do_what_they_say():
    models = wanted("qwen3:14b@32768", "qwen3:8b@32768")
    plan, _check = judge(models, gpus(P40))
    contexts = {line.split(" for ")[1]: int(line.split()[1]) for line in plan["advice"] if line.startswith("num_ctx")}
    assert set(contexts) <= {"qwen3:14b", "qwen3:8b"} and contexts
    for name, context in contexts.items():
        for number, verdict in ((context, "fits"), (context + 1024, "partial")):
            changed = wanted(*("%s@%d" % (one.name, number if one.name == name else one.options.num_ctx) for one in models))
            assert memory_together.place(changed, gpus(P40))["verdict"] == verdict


def test_a_gpu_holds_the_sum_and_a_context_more_for_every_further_model():
    models = wanted("qwen3:14b", "qwen3:8b", sched_spread=True)
    plan, check = judge(models, gpus(P40, P40))
    for number, row in enumerate(plan["gpus"]):
        parts = [model["gpus"][number] for model in plan["models"]]
        assert row["layers"] == sum(part["layers"] for part in parts) and row["weights_mib"] == sum(part["weights_mib"] for part in parts)
        first = parts[0]
        assert parts[1]["free_mib"] == pytest.approx(P40 - first["weights_mib"] - first["kv_mib"] - first["graph_mib"] - CONTEXT_MIB, abs=2)
        assert "qwen3:14b %d layers, qwen3:8b %d layers" % (first["layers"], parts[1]["layers"]) in check.evidence[0]["value"]
    assert plan["total_layers"] == plan["layers_on_gpus"] == 41 + 37


def test_one_alone_is_planned_as_before():
    (one,) = wanted("qwen3:14b")
    alone, together = memory_fit.place(one.model, gpus(P40), one.options), memory_together.place([one], gpus(P40))
    assert (alone["gpus"][0]["layers"], alone["verdict"]) == (together["gpus"][0]["layers"], together["verdict"])


def test_partial_is_a_warning_where_it_is_allowed():
    models = wanted("qwen3:14b@32768", "qwen3:8b@32768")
    assert judge(models, gpus(P40), allow_partial=True)[1].status == "warn"


def test_the_module_plans_several_models_from_several_places(capsys):
    ask = {"engine": "0.17", "num_ctx": 8192, "facts": facts("p40")}
    models = [{"name": "mine", "model": "qwen3:14b", "num_ctx": 32768}, {"name": "other", "model": "qwen3:8b", "num_ctx": 32768}]
    result = run(capsys, "ollama_memory_plan", models=models, **ask)
    assert result["failed"] and "mine + other: do not fit on the GPUs together" in result["msg"] and "\n" not in result["msg"]
    assert run(capsys, "ollama_memory_plan", models=models[:1], **ask)["checks"][0]["subject"] == "mine"
    assert run(capsys, "ollama_memory_plan", models=[models[0], {"name": "unknown"}], **ask)["plan"]["uncounted"] == ["unknown"]
    broken = {"/x.gguf": {"size": None, "metadata": {}, "tensors": [], "error": "/x.gguf is not a GGUF file"}}
    result = run(capsys, "ollama_memory_plan", models=[{"name": "cut", "file": "/x.gguf"}], headers=broken, **ask)
    assert result["failed"] and result["msg"] == "/x.gguf is not a GGUF file"


def test_headers_of_another_host_give_the_plan_of_the_file_itself(capsys, tmp_path):
    from tests.lab.ollama import tiny_models

    path = tmp_path / "tiny.gguf"
    tiny_models.write_model(path, "qwen3")
    ask = {"engine": "0.17", "num_ctx": 1024, "gpus": [{"uuid": "a", "free_mib": 1000}]}
    files = run(capsys, "gguf_info", paths=[str(path), "/nonexistent.gguf"])["files"]
    assert files["/nonexistent.gguf"]["error"] and files[str(path)]["error"] == "" and files[str(path)]["size"] == path.stat().st_size
    there = run(capsys, "ollama_memory_plan", file=str(path), **ask)["plan"]
    moved = {"/elsewhere.gguf": files[str(path)]}
    assert run(capsys, "ollama_memory_plan", models=[{"name": "tiny", "file": "/elsewhere.gguf"}], headers=moved, **ask)["plan"] == there
