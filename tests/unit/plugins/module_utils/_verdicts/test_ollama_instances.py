"""Instances as people write them, and the containers they come to on a host with two Tesla P40."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.ollama_instances import ollama_instances

from tests.unit.facts_samples import device

TWO = [device(), device(number=1)]
UUIDS = [gpu["uuid"] for gpu in TWO]
BARE = [device(uuid=None, index=None, state="no_driver"), device(number=1, uuid=None, index=None, state="no_driver")]
DEFAULTS = {"name": "ollama", "image": "ollama/ollama:0.17.4", "port": 11434, "bind_address": "127.0.0.1", "sched_spread": True, "topology": "spread",
            "gpus": [], "environment": {}, "models": [{"name": "tiny"}], "exclusive": True}


def resolve(*instances, devices=None, **defaults):
    return ollama_instances(list(instances), dict(DEFAULTS, **defaults), devices or TWO)


def names(found):
    return [(server["name"], server["port"], server["uuids"]) for server in found["servers"]]


def test_one_server_over_all_gpus_is_the_default():
    found = resolve({})
    assert found["problems"] == [] and found["balancers"] == []
    assert names(found) == [("ollama", 11434, sorted(UUIDS))]
    server = found["servers"][0]
    assert (server["url"], server["balanced"], server["environment"]) == ("http://127.0.0.1:11434", False, {"OLLAMA_SCHED_SPREAD": "1"})
    assert [model["name"] for model in server["models"]] == ["tiny"]


def test_replicas_get_a_gpu_each_and_ports_after_the_balancers():
    found = resolve({"name": "chat", "topology": "replicas", "bind_address": "0.0.0.0", "port": 8000})
    assert found["problems"] == []
    assert names(found) == [("chat-0", 8001, [UUIDS[0]]), ("chat-1", 8002, [UUIDS[1]])]
    assert {server["address"] for server in found["servers"]} == {"127.0.0.1"}
    (balancer,) = found["balancers"]
    assert (balancer["name"], balancer["address"], balancer["port"], balancer["url"]) == ("chat-balancer", "0.0.0.0", 8000, "http://127.0.0.1:8000")
    assert balancer["by_model"] is False
    assert balancer["servers"] == [{"name": f"chat-{number}", "port": 8001 + number, "models": ["tiny", "tiny:latest"]} for number in (0, 1)]


def test_replicas_of_two_gpus_on_two_gpus_are_one_server_without_a_balancer():
    found = resolve({"topology": "replicas", "gpus_per_replica": 2})
    assert names(found) == [("ollama", 11434, sorted(UUIDS))] and found["balancers"] == []


def test_pinned_models_have_servers_of_their_own_and_the_balancer_goes_by_model():
    models = [{"name": "small", "gpus": [0]}, {"name": "large:32b", "gpus": {"indices": [1]}}, {"name": "embed", "gpus": [UUIDS[0]]}]
    found = resolve({"topology": "pinned", "models": models})
    assert found["problems"] == []
    assert [(server["uuids"], [model["name"] for model in server["models"]]) for server in found["servers"]] == [
        ([UUIDS[0]], ["small", "embed"]), ([UUIDS[1]], ["large:32b"])]
    assert found["balancers"][0]["by_model"] is True
    assert found["balancers"][0]["servers"][1]["models"] == ["large:32b"]


def test_two_instances_on_a_gpu_each():
    found = resolve({"name": "one1", "gpus": [0]}, {"name": "two2", "gpus": {"model": "P40", "count": 1}, "port": 11500, "exclusive": False}, devices=TWO)
    assert "one1 and two2 both want GPU %s" % UUIDS[0] in found["problems"][0].replace("  ", " ")
    found = resolve({"name": "one1", "gpus": [0]}, {"name": "two2", "gpus": [1], "port": 11500})
    assert found["problems"] == [] and names(found) == [("one1", 11434, [UUIDS[0]]), ("two2", 11500, [UUIDS[1]])]


def test_a_gpu_is_shared_when_both_say_so():
    found = resolve({"name": "one1"}, {"name": "two2", "port": 11500}, exclusive=False)
    assert found["problems"] == [] and len(found["servers"]) == 2


def test_settings_that_circulate_become_what_they_mean():
    environment = {"NVIDIA_VISIBLE_DEVICES": "1", "OLLAMA_NUM_GPU_LAYERS": 60, "OLLAMA_NUM_THREADS": 4}
    found = resolve({"environment": environment, "models": [{"name": "tiny"}, {"name": "other", "parameters": {"num_thread": 2}}]})
    assert found["problems"] == [] and names(found) == [("ollama", 11434, [UUIDS[1]])]
    assert [model["parameters"] for model in found["servers"][0]["models"]] == [{"num_thread": 4}, {"num_thread": 2}]
    assert len(found["notices"]) == 3 and all(line.startswith("ollama: ") for line in found["notices"])


def test_before_there_is_a_driver_gpus_are_counted_by_their_place():
    found = resolve({"name": "chat", "topology": "replicas"}, devices=BARE)
    assert found["problems"] == [] and names(found) == [("chat-0", 11435, None), ("chat-1", 11436, None)]
    assert [server["devices"][0]["bus_address"] for server in found["servers"]] == [gpu["bus_address"] for gpu in BARE]
    found = resolve({"gpus": [UUIDS[0]]}, devices=BARE)
    assert found["problems"] == [] and found["servers"][0]["uuids"] == [UUIDS[0]]
    assert "there is no GPU 9" in resolve({"gpus": [9]}, devices=BARE)["problems"][0]


@pytest.mark.parametrize(
    "instances, message",
    [
        ([{"gpus": [9]}], "instance ollama: there is no GPU 9 on this host"),
        ([{"gpus": {"count": 3}}], "of 3 GPU(s) wanted, 2 can be had"),
        ([{"gpus": {"model": "H100"}}], "no GPU of this host is a H100"),
        ([{"name": "x y"}], "the name may hold letters"),
        ([{"port": 0}], "port 0 is no port"),
        ([{"topology": "ring"}], "topology ring is not known: use spread, replicas or pinned"),
        ([{"topology": "replicas", "gpus_per_replica": 3}], "2 GPU(s) cannot be shared out in groups of 3"),
        ([{"topology": "pinned"}], "model tiny does not say which of the GPUs it gets"),
        ([{"topology": "pinned", "models": []}], "needs models, each with gpus"),
        ([{"topology": "pinned", "models": [{"name": "a1", "gpus": [0]}, {"name": "b1", "gpus": [0, 1]}]}], "only a part of the GPUs of another model"),
        ([{"topology": "pinned", "gpus": [0], "models": [{"name": "a1", "gpus": [1]}]}], "is none of the instance's"),
        ([{"gpus": [0], "environment": {"CUDA_VISIBLE_DEVICES": "1"}}], "chosen twice"),
        ([{"environment": {"OLLAMA_NUM_PARALEL": 1}}], "did you mean OLLAMA_NUM_PARALLEL?"),
        ([{"name": "aa", "gpus": [0]}, {"name": "bb", "gpus": [1]}], "instances aa and bb both want port 11434"),
        ([{"name": "aa", "gpus": [0]}, {"name": "aa", "gpus": [1], "port": 2}], "instances aa and aa both want the name aa"),
        ([{"name": "aa", "topology": "replicas"}, {"name": "bb", "gpus": [1], "port": 11436, "exclusive": False}], "both want port 11436"),
    ],
)
def test_wishes_that_cannot_be_met(instances, message):
    assert any(message in problem for problem in resolve(*instances)["problems"])


def test_filter_refuses_other_types():
    with pytest.raises(AnsibleFilterError, match="a list is needed, not dict"):
        ollama_instances({}, {}, [])


def questions(*models, devices=None, **instance):
    (server,) = resolve(dict({"models": list(models)}, **instance), devices=devices)["servers"]
    return server["questions"]


def test_models_of_a_server_are_one_question_with_their_files_where_they_are():
    models = [{"name": "a1", "file": "/srv/a.gguf"}, {"name": "b1", "upload": "/home/b.gguf"}, {"name": "qwen3:32b"}, {"name": "own", "source": "m.org/own"}]
    (found,) = questions(*models, {"name": "idle", "upload": "/home/c.gguf", "loaded": False}, context_length=8192, environment={"OLLAMA_MAX_LOADED_MODELS": 4})
    assert (found["server"], found["models"], found["on_host"], found["on_controller"]) == (
        "ollama", ["a1", "b1", "qwen3:32b", "own"], ["/srv/a.gguf"], ["/home/b.gguf"])
    assert found["options"]["models"] == [
        {"name": "a1", "num_ctx": 8192, "file": "/srv/a.gguf"}, {"name": "b1", "num_ctx": 8192, "file": "/home/b.gguf"},
        {"name": "qwen3:32b", "num_ctx": 8192, "model": "qwen3:32b"}, {"name": "own", "num_ctx": 8192}]
    assert found["options"]["sched_spread"] is True and found["options"]["max_loaded_models"] == 4


def test_what_modules_are_asked_about_a_server():
    models = [{"name": "a1", "file": "/srv/a.gguf", "parameters": {"num_ctx": 2048}}, {"name": "qwen3", "loaded": False, "insecure": True},
              {"name": "b1", "source": "m.org:5000/team/own:q4"}, {"name": "c1", "upload": "/home/c.gguf"}]
    (server,) = resolve({"models": models, "require_gpu": False})["servers"]
    assert server["plan"]["models"] == [
        {"name": "a1", "file": "/srv/a.gguf", "parameters": {"num_ctx": 2048}, "loaded": True}, {"name": "qwen3", "loaded": False},
        {"name": "b1", "source": "m.org:5000/team/own:q4", "loaded": True}, {"name": "c1", "loaded": True}]
    assert server["proof"]["models"] == [{"name": "a1", "num_ctx": 2048}, {"name": "b1"}, {"name": "c1"}]
    assert (server["proof"]["container"], server["proof"]["expected_uuids"], server["proof"]["require_gpu"]) == ("ollama", sorted(UUIDS), False)
    assert [(one["name"], one["manifest"], one["stored"], one["insecure"]) for one in server["pulls"]] == [
        ("qwen3", "http://registry.ollama.ai/v2/library/qwen3/manifests/latest", "registry.ollama.ai/library/qwen3/latest", True),
        ("b1", "https://m.org:5000/v2/team/own/manifests/q4", "m.org:5000/team/own/q4", False)]


@pytest.mark.parametrize("image, engine", [("ollama/ollama:0.17.4", "0.17"), ("ollama/ollama:0.24.0", "0.17"), ("o/o:0.30.0", "0.30"), ("x/y:latest", "0.30")])
def test_the_engine_follows_the_image(image, engine):
    assert questions({"name": "qwen3:8b"}, image=image)[0]["options"]["engine"] == engine


def test_settings_of_server_and_model_count():
    environment = {"OLLAMA_NUM_PARALLEL": 4, "OLLAMA_KV_CACHE_TYPE": "q8_0", "OLLAMA_FLASH_ATTENTION": 0}
    options = questions({"name": "qwen3:8b", "parameters": {"num_ctx": 2048}}, environment=environment)[0]["options"]
    assert (options["models"][0]["num_ctx"], options["num_parallel"], options["kv_cache_type"], options["flash_attention"]) == (2048, 4, "q8_0", False)


@pytest.mark.parametrize("model", [{"name": "qwen3:8b", "loaded": False}, {"name": "qwen3:8b", "parameters": {"num_gpu": 0}}, {"name": "unknown"}])
def test_models_that_need_no_plan(model):
    assert questions(model) == []


def test_memory_of_the_server_itself_is_free_for_it():
    memory = {"memory__total_mib": 23040, "memory__reserved_mib": 0, "memory__used_mib": 20000}
    processes = [{"pid": 1, "name": "/usr/bin/ollama", "used_memory_mib": 14000}, {"pid": 2, "name": "python3", "used_memory_mib": 6000}]
    one = device(processes=processes, **memory)
    assert questions({"name": "qwen3:8b"}, devices=[one])[0]["options"]["gpus"] == [{"uuid": one["uuid"], "free_mib": 23040 - 6000 - 205}]
    assert "gpus" not in questions({"name": "qwen3:8b"}, devices=[device(memory__total_mib=None)])[0]["options"]
