"""How much of a GPU a model takes and where its layers go. The tables were computed with Ollama's own algorithm, or measured, as each one says."""

from __future__ import annotations

import copy
import dataclasses
import re

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import EvidenceError, FleetError, PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import memory_fit, memory_model
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.memory_fit import Gpu, Options
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts
from tests.unit.junk import places, put

P40 = 22.4 * 1024  # MiB usable of a Tesla P40
QWEN = memory_model.from_catalogue("qwen3:32b")


def gpus(number, free=P40):
    return [Gpu("GPU-%d" % one, free) for one in range(number)]


# qwen3:32b Q4_K_M with flash attention, layers and GiB a GPU. Engine 0.17 without reserve: Ollama's assignLayers; need of one GPU with it.
# context, KV type, need on one, layers on one, two by default, two with spread, need of 0.30 on one, need of 0.30 on each of two
TABLE = [
    (4096, "f16", 20.16, 65, [(65, 19.71), (0, 0)], [(33, 9.99), (32, 10.03)], 20.71, 11.01),
    (4096, "q8_0", 19.69, 65, [(65, 19.24), (0, 0)], [(33, None), (32, None)], 20.24, 10.78),
    (4096, "q4_0", 19.44, 65, [(65, 18.99), (0, 0)], [(33, None), (32, None)], 19.99, 10.65),
    (32768, "f16", 27.16, 53, [(33, 13.60), (32, 13.42)], [(33, 13.60), (32, 13.42)], 27.71, 14.51),
    (32768, "q8_0", 23.41, 62, [(33, 11.67), (32, 11.60)], [(33, 11.67), (32, 11.60)], 23.96, 12.63),
    (32768, "q4_0", 21.41, 65, [(65, 20.96), (0, 0)], [(33, None), (32, None)], 21.96, 11.63),
    (40960, "f16", 29.16, 50, [(33, 14.63), (32, 14.39)], [(33, 14.63), (32, 14.39)], 29.71, 15.51),
    (40960, "q8_0", 24.47, 60, [(33, 12.21), (32, 12.12)], [(33, 12.21), (32, 12.12)], 25.02, 13.17),
    (40960, "q4_0", 21.97, 65, [(65, 21.52), (0, 0)], [(33, None), (32, None)], 22.52, 11.92),
]


def near(mib, gib):
    return mib == pytest.approx(gib * 1024, rel=0.03)


@pytest.mark.parametrize("figures", TABLE, ids=lambda row: "%d-%s" % row[:2])
def test_the_published_figures_of_qwen3_32b(figures):
    context, kind, need, layers, default, spread, need_030, each_030 = figures
    old, new = (Options(engine, context, kv_cache_type=kind) for engine in ("0.17", "0.30"))
    big = gpus(1, 80 * 1024)
    assert near(memory_fit.place(QWEN, big, old)["gpus"][0]["total_mib"], need)
    assert near(memory_fit.place(QWEN, big, new)["gpus"][0]["total_mib"], need_030)
    one = memory_fit.place(QWEN, gpus(1), old)
    assert (one["layers_on_gpus"], one["total_layers"], one["verdict"]) == (layers, 65, "fits" if layers == 65 else "partial")
    for options, wanted in ((old, default), (dataclasses.replace(old, sched_spread=True), spread)):
        rows = memory_fit.place(QWEN, gpus(2), options)["gpus"]
        assert [row["layers"] for row in rows] == [number for number, _gib in wanted]
        assert all(gib is None or near(row["total_mib"] - row["reserve_mib"], gib) for row, (_number, gib) in zip(rows, wanted, strict=True))
    rows = memory_fit.place(QWEN, gpus(2), new)["gpus"]
    assert [row["layers"] for row in rows] == [33, 32] and all(near(row["total_mib"], each_030) for row in rows)
    assert memory_fit.place(QWEN, gpus(1), new)["verdict"] == ("fits" if need_030 <= 22.4 else "partial")


@pytest.mark.parametrize("context, gib", [(4096, 19.44), (32768, 23.81), (40960, 25.06)])
def test_what_ollama_030_predicts(context, gib):
    assert memory_fit.predicted_bytes(QWEN, Options("0.30", context)) / 2**30 == pytest.approx(gib, abs=0.01)


# Model → KiB a token of the blocks that see the whole context, f16.
KV = [("qwen3:8b", 144), ("qwen3:14b", 160), ("qwen3:32b", 256), ("qwen3:30b", 96), ("llama3.1:8b", 128), ("llama3.1:70b", 320), ("gemma3:27b", 80),
      ("gpt-oss:20b", 24), ("gpt-oss:120b", 36)]  # fmt: skip


@pytest.mark.parametrize("name, kib", KV)
def test_kv_cache_a_token(name, kib):
    model = memory_model.from_catalogue(name)
    long, longer = (sum(memory_fit.kv_bytes(model, Options("0.17", context))) for context in (65536, 131072))
    assert (longer - long) / 65536 / 1024 == kib
    assert sum(model.blocks) + model.host + model.output <= model.file * (1.1 if model.host == model.output - 4 * model.embedding else 1.001)


def test_a_window_counts_once_a_request_and_the_batch():
    model = memory_model.from_catalogue("gemma3:27b")
    kv = memory_fit.kv_bytes(model, Options("0.17", 32768, num_parallel=2))
    assert [kv.index(size) for size in sorted(set(kv))] == [0, 5] and kv[0] == (1024 * 2 + 512) * 8192 and kv[5] == 65536 * 8192


def test_a_context_beyond_that_of_training_is_not_allocated():
    model = dataclasses.replace(QWEN, context=40960)
    assert memory_fit.kv_bytes(model, Options("0.30", 131072)) == memory_fit.kv_bytes(QWEN, Options("0.30", 40960))
    done = memory_fit.plan(model, gpus(2), Options("0.30", 131072))
    assert "(the model stops at 40960)" in memory_fit.check(model, done, Options("0.30", 131072)).summary


def test_sizes_that_were_measured():
    # KV cache of a real load with q8_0: 2 blocks, 2 heads of 32 for keys and for values, context 1024.
    small = dataclasses.replace(QWEN, blocks=(1, 1), kv_width=(128, 128), sliding=(False, False))
    assert sum(memory_fit.kv_bytes(small, Options("0.17", 1024, kv_cache_type="q8_0"))) == 278528
    # Compute buffer of Qwen3-32B at a batch of 1024: 633.50 MiB.
    assert memory_fit.graph_bytes(QWEN, Options("0.17", 4096)) * 2 / 2**20 == 633.5
    assert sum(QWEN.blocks) + QWEN.output == 19757689856


@pytest.mark.parametrize("context, gib", [(4096, 0.55), (32768, 4.10), (40960, 5.12)])
def test_the_graph_without_flash_attention(context, gib):
    assert memory_fit.graph_bytes(QWEN, Options("0.17", context, flash_attention=False)) / 2**30 == pytest.approx(gib, rel=0.03)


def test_other_architectures_keep_one_layer_free_in_the_old_engine():
    model = memory_model.from_catalogue("llama3.1:8b")
    row = memory_fit.place(model, gpus(1), Options("0.17", 4096))["gpus"][0]
    assert row["reserve_mib"] == round(457 + (model.blocks[0] + memory_fit.kv_bytes(model, Options("0.17", 4096))[0]) / 2**20)
    assert memory_fit.place(model, gpus(1), Options("0.17", 4096, reserve_mib=0))["gpus"][0]["reserve_mib"] == row["reserve_mib"] - 457


def test_the_new_engine_takes_the_freest_gpu_alone_and_splits_by_free_memory():
    small = memory_model.from_catalogue("qwen3:8b")
    rows = memory_fit.place(small, [Gpu("a", 10000), Gpu("b", 20000)], Options("0.30", 4096))["gpus"]
    assert [row["layers"] for row in rows] == [0, 37]
    rows = memory_fit.place(small, [Gpu("a", 10000), Gpu("b", 20000)], Options("0.30", 4096, sched_spread=True))["gpus"]
    assert [row["layers"] for row in rows] == [13, 24]


CHANGES = [("kv_cache_type", str), ("num_ctx", int), ("num_parallel", int), ("sched_spread", lambda text: text == "true"),
           ("flash_attention", lambda text: text == "true")]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(memory_model.MODELS)),
    st.lists(st.integers(0, 90000), max_size=4),
    st.builds(
        Options,
        engine=st.sampled_from(memory_fit.ENGINES),
        num_ctx=st.integers(1, 300000),
        num_parallel=st.integers(1, 8),
        kv_cache_type=st.sampled_from(["f16", "q8_0"]),
        sched_spread=st.booleans(),
        reserve_mib=st.none() | st.integers(0, 3000),
    ),
)
def test_no_plan_takes_more_than_is_free_and_each_advice_makes_it_fit(name, free, options):
    model, cards = memory_model.from_catalogue(name), [Gpu(str(number), size) for number, size in enumerate(free)]
    found = memory_fit.plan(model, cards, options)
    assert all(row["total_mib"] <= row["free_mib"] + 1 for row in found["gpus"])
    assert all(abs(row["total_mib"] - sum(row[key] for key in ("weights_mib", "kv_mib", "graph_mib", "reserve_mib"))) <= 3 for row in found["gpus"])
    placed = sum(row["layers"] for row in found["gpus"])
    assert placed == found["layers_on_gpus"] <= found["total_layers"]
    assert found["verdict"] == ("fits" if placed == found["total_layers"] else "partial" if placed else "no")
    assert not (found["advice"] and found["verdict"] == "fits")
    for line in found["advice"]:
        more = re.match(r"(\d+) more GPUs? ", line)
        if more:
            assert memory_fit.place(model, cards + [Gpu("n%d" % one, max(free)) for one in range(int(more.group(1)))], options)["verdict"] == "fits"
            continue
        change = {key: kind(value) for key, kind in CHANGES for value in re.findall(key + r" (\w+)", line)}
        assert change and memory_fit.place(model, cards, dataclasses.replace(options, **change))["verdict"] == "fits", line


# GPUs, context, allow_partial → status, a word of the line
CHECKS = [
    (gpus(2), 32768, False, "pass", "fits"),
    (gpus(1), 32768, False, "fail", "only 53/65 layers"),
    (gpus(1), 32768, True, "warn", "num_ctx 12288"),
    (gpus(1, 500), 32768, True, "fail", "no layer"),
    ([], 4096, False, "fail", "there is no GPU"),
    ([Gpu("a", None)], 4096, False, "unknown", "free memory"),
    ([Gpu("a", 90000), Gpu("b", None)], 4096, True, "unknown", "free memory"),
]


@pytest.mark.parametrize("cards, context, partial, status, words", CHECKS)
def test_the_check(cards, context, partial, status, words):
    options = Options("0.17", context)
    check = memory_fit.check(QWEN, memory_fit.plan(QWEN, cards, options), options, partial)
    assert (check.id, check.subject, check.status) == ("ollama.memory", "qwen3:32b", status) and words in check.line()


def test_recurrent_layers_are_not_planned():
    model = dataclasses.replace(QWEN, recurrent=True)
    check = memory_fit.check(model, memory_fit.plan(model, gpus(2), Options("0.30", 4096)), Options("0.30", 4096))
    assert check.status == "unknown" and "recurrent" in check.summary


def test_the_gpus_come_from_facts_or_as_given():
    some = facts("p40", "p40")
    first, second = (one["uuid"] for one in some["devices"])
    assert memory_fit.gpus_from(None, some) == [Gpu(first, 23040 - 205), Gpu(second, 23040 - 205)]
    assert memory_fit.gpus_from([{"uuid": second}, {"uuid": "x", "free_mib": 5}], some) == [Gpu(second, 23040 - 205), Gpu("x", 5)]
    assert memory_fit.gpus_from(None, facts()) == []
    assert memory_fit.gpus_from(None, facts(device("p40", memory=None)))[0].free_mib is None
    assert [gpu.free_mib for gpu in memory_fit.gpus_from(None, dict(some, count=None))] == [None]
    for bad in ([{"uuid": "x"}], [{"uuid": first}, {"uuid": first}], [{"uuid": "x", "free_mib": -1}]):
        with pytest.raises(PolicyError):
            memory_fit.gpus_from(bad, some)


@pytest.mark.parametrize("change", [{"num_ctx": 0}, {"num_parallel": 0}, {"reserve_mib": -1}, {"kv_cache_type": "q8_0", "flash_attention": False}])
def test_options_that_cannot_be(change):
    with pytest.raises(PolicyError):
        Options(**{"engine": "0.17", "num_ctx": 4096, **change})


def test_a_name_that_the_catalogue_does_not_have():
    with pytest.raises(PolicyError, match="did you mean qwen3:32b"):
        memory_model.from_catalogue("qwen3:32")


def tensors(*rows):
    return [{"name": name, "type": kind, "shape": shape} for name, kind, shape in rows]


SMALL = {
    "info": {"general.architecture": "gemma3", "gemma3.block_count": 6, "gemma3.embedding_length": 256, "gemma3.attention.head_count": 4,
             "gemma3.attention.head_count_kv": [1, 1, 1, 1, 1, 2], "gemma3.attention.key_length": 32, "gemma3.attention.value_length": 64,
             "gemma3.attention.sliding_window": 512, "gemma3.context_length": 8192, "tokenizer.ggml.tokens": None},
    "tensors": tensors(("token_embd.weight", "Q8_0", [256, 1000]), ("output_norm.weight", "F32", [256]), ("blk.5.ffn_up.weight", "Q4_K", [256, 512]),
                       ("blk.0.ffn_up.weight", "F16", [256, 512])),
}  # fmt: skip


def test_a_model_from_metadata():
    model = memory_model.from_metadata("m", SMALL["info"], SMALL["tensors"])
    assert model.blocks == (262144, 0, 0, 0, 0, 73728) and model.host == 272000 and model.output == 1024 + 272000  # tied: a copy on the GPU
    assert model.kv_width == (96, 96, 96, 96, 96, 192) and model.sliding == (True,) * 5 + (False,)
    assert (model.vocabulary, model.kv_heads, model.context, model.window) == (1000, 2, 8192, 512)
    untied = memory_model.from_metadata("m", SMALL["info"], SMALL["tensors"] + tensors(("output.weight", "F16", [256, 1000])), 10**6)
    assert untied.output == 1024 + 512000 and untied.file == 10**6


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_metadata_of_any_kind_gives_a_plan_or_one_line(data):
    some = copy.deepcopy(SMALL)
    junk = st.one_of(st.none(), st.booleans(), st.integers(), st.integers(0, 600), st.floats(), st.text(max_size=3), st.just([]), st.just({}), st.just(2**70))
    for _number in range(data.draw(st.integers(1, 3))):
        put(some, data.draw(st.sampled_from([place for place in places(SMALL) if place])), data.draw(junk))
    try:
        model = memory_model.from_metadata("m", some.get("info"), some.get("tensors"))
    except FleetError as error:
        assert isinstance(error, EvidenceError)
        return
    for engine in memory_fit.ENGINES:
        options = Options(engine, 4096)
        assert memory_fit.check(model, memory_fit.plan(model, gpus(2), options), options).line()
