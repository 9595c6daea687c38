"""ollama_model and the placement check through Ansible, against the real Ollama server 0.17.4.

The server runs as a process, or in a container of the machine's Docker, on the loopback interface.
"""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.lab.ollama.build import build_image_archive, build_models, build_server, build_store
from tests.lab.ollama.image import REFERENCE
from tests.lab.ollama.registry import Registry

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[4]
STEPS = (("check", True), ("run", False), ("again", False), ("again in check", True))
UUIDS = ["GPU-11111111-2222-3333-4444-555555555555", "GPU-22222222-2222-3333-4444-555555555555"]


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def state(url):
    """What the server has in store (it lists models of one moment in any order) and in memory (the time until a model is unloaded runs on by itself)."""
    stored = sorted((item["name"], item["digest"], item["modified_at"]) for item in get(url + "/api/tags")["models"])
    return stored, [(item["name"], item["digest"], item["context_length"]) for item in get(url + "/api/ps")["models"]]


def wait_for(url):
    for _ in range(150):
        with contextlib.suppress(OSError):
            return get(url + "/api/version")["version"]
        time.sleep(0.2)
    raise AssertionError("no server at " + url)


@pytest.fixture(scope="module")
def ansible(tmp_path_factory):
    """Runs a module on this machine and returns its result; `failed` is set when the task failed."""
    collections = tmp_path_factory.mktemp("collections")
    (collections / "ansible_collections/gpuops").mkdir(parents=True)
    (collections / "ansible_collections/gpuops/fleet").symlink_to(ROOT)
    environment = os.environ | {"ANSIBLE_COLLECTIONS_PATH": str(collections), "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_HOME": str(collections / "home")}
    environment["ANSIBLE_CALLBACK_RESULT_FORMAT"] = "json"

    def run(module, check=False, **arguments):
        command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-m", f"gpuops.fleet.{module}", "-a", json.dumps(arguments), "--diff"]
        command += ["-e", f"ansible_python_interpreter={sys.executable}", *(["--check"] if check else [])]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        found = re.search(r"^localhost \| (\w+)!? => (\{.*\})$", done.stdout, re.MULTILINE | re.DOTALL)
        assert found, done.stdout + done.stderr
        return json.loads(found[2]) | {"failed": found[1] == "FAILED", "output": done.stdout + done.stderr}

    return run


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Address of a real server with an empty store."""
    home = tmp_path_factory.mktemp("ollama")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "OLLAMA_HOST": address, "OLLAMA_NO_CLOUD": "1"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen([build_server(), "serve"], env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            assert wait_for("http://" + address) == "0.17.4"
            yield "http://" + address
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(20)


@pytest.fixture(scope="module")
def registry():
    with Registry(build_store()) as instance:
        yield instance


@pytest.fixture
def model(ansible, server, tmp_path):
    """Runs ollama_model in four steps (check, run, again, again in check); returns the results after judging what holds for every use."""

    def four_steps(**arguments):
        notes = tmp_path / str(len(list(tmp_path.iterdir()))) / "notes"
        notes.parent.mkdir()
        arguments = {"base_url": server, "cache_directory": str(notes), **arguments}
        before = state(server)
        results = []
        for step, check in STEPS:
            results.append(ansible("ollama_model", check=check, **arguments))
            assert not results[-1]["failed"], (step, results[-1]["msg"])
            if step == "check":
                assert state(server) == before
                assert not notes.exists()
        assert [result["changed"] for result in results] == [True, True, False, False]
        assert results[0]["steps"] == results[1]["steps"] != []
        assert [result["steps"] for result in results[2:]] == [[], []]
        assert results[1]["digest"] == results[2]["digest"] == results[3]["digest"]
        return results

    yield four_steps
    for name in [item["name"] for item in get(server + "/api/tags")["models"]]:
        ansible("ollama_model", base_url=server, name=name, state="absent")


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_from_a_file(model, server, name):
    results = model(name=name, file=str(build_models()[name]), parameters={"num_ctx": 1024, "stop": ["x"]}, loaded=True)
    assert results[1]["steps"] == ["upload", "create", "load"]
    assert '"num_ctx": 1024' in results[0]["output"] and '"state": "absent"' in results[0]["output"]
    entry = get(server + "/api/ps")["models"][0]
    assert (entry["name"], entry["context_length"], entry["digest"]) == (name + ":latest", 1024, results[1]["digest"])
    assert entry["expires_at"] > "2200"


def test_changed_options_make_the_model_anew_and_load_it_anew(model, server):
    path = str(build_models()["tiny-llama"])
    model(name="tiny", file=path, parameters={"num_ctx": 1024}, loaded=True)
    results = model(name="tiny", file=path, parameters={"num_ctx": 512}, loaded=True)
    assert results[1]["steps"] == ["create", "load"]
    assert get(server + "/api/ps")["models"][0]["context_length"] == 512
    assert model(name="tiny", file=path, parameters={})[1]["steps"] == ["create"]
    assert model(name="tiny", loaded=True)[1]["steps"] == ["load"]
    assert model(name="tiny", loaded=False)[1]["steps"] == ["unload"]
    assert get(server + "/api/ps")["models"] == []
    assert model(name="tiny", template="{% raw %}Q: {{ .Prompt }}{% endraw %}")[1]["steps"] == ["create"]


def test_from_a_registry_under_a_short_name(model, server, registry):
    source = f"{registry.address}/library/tiny-qwen3"
    results = model(name="tiny", source=source, insecure=True, loaded=True)
    assert results[1]["steps"] == ["pull", "copy", "load"]
    digests = {item["name"]: item["digest"] for item in get(server + "/api/tags")["models"]}
    assert digests == dict.fromkeys(["tiny:latest", source + ":latest"], results[1]["digest"])
    asked = len(registry.requests)
    results = model(name="derived", source=source, insecure=True, parameters={"num_ctx": 256, "temperature": 0.5})
    assert results[1]["steps"] == ["create"]
    assert len(registry.requests) == asked


def test_removal(model, server):
    model(name="tiny", file=str(build_models()["tiny-llama"]), loaded=True)
    results = model(name="tiny", state="absent")
    assert results[1]["steps"] == ["unload", "delete"]
    assert state(server) == ([], [])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"name": "x", "file": "/nowhere/x.gguf"}, ("evidence", "the model file /nowhere/x.gguf does not exist on the target")),
        ({"name": "x", "file": __file__}, ("evidence", "is not a GGUF file")),
        ({"name": " "}, ("policy", "name is empty")),
        ({"name": "x", "parameters": {"gpu_layers": 60}}, ("policy", "Ollama has no option gpu_layers; use num_gpu")),
        ({"name": "REGISTRY/library/none", "insecure": True}, ("service", "pull model manifest: file does not exist")),
        ({"name": "x", "source": "REGISTRY/library/tiny-llama"}, ("service", "set insecure: true for a trusted registry that speaks plain HTTP")),
        ({"name": "x", "base_url": "http://127.0.0.1:1"}, ("unreachable", "no Ollama server answers at http://127.0.0.1:1: Connection refused")),
    ],
)
def test_failures_are_one_line_and_leave_the_server_as_it_is(ansible, server, registry, arguments, expected):
    kind, message = expected
    arguments = {key: value.replace("REGISTRY", registry.address) if isinstance(value, str) else value for key, value in arguments.items()}
    before = get(server + "/api/tags")
    result = ansible("ollama_model", **{"base_url": server, **arguments})
    assert (result["failed"], result["error"]["kind"]) == (True, kind)
    assert message in result["msg"] and "\n" not in result["msg"]
    assert get(server + "/api/tags") == before


def test_a_file_that_was_cut_is_refused_before_it_is_sent(ansible, server, tmp_path):
    whole = build_models()["tiny-llama"].read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[:-1000])
    result = ansible("ollama_model", base_url=server, name="cut", file=str(tmp_path / "cut.gguf"), cache_directory=str(tmp_path / "notes"))
    assert result["failed"] and result["error"]["kind"] == "evidence"
    assert re.search(rf"cut.gguf is not a usable GGUF file: it has {len(whole) - 1000} bytes and needs \d+: it was cut", result["msg"])
    assert not (tmp_path / "notes").exists() and get(server + "/api/tags")["models"] == []


def test_a_store_without_room_is_left_alone(ansible, server, registry, tmp_path):
    """A file system with less free space than the model has: 64 KiB of memory."""
    store = tmp_path / "store"
    store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(store)], check=True)
    try:
        arguments = {"base_url": server, "cache_directory": str(tmp_path / "notes"), "store_path": str(store)}
        upload = ansible("ollama_model", name="tiny", file=str(build_models()["tiny-llama"]), **arguments)
        # The server tells sizes every 60 ms; a model as small as this one is there before, unless the connection breaks.
        registry.cut_after = 100000
        pulled = ansible("ollama_model", name=f"{registry.address}/library/tiny-llama", insecure=True, **arguments)
    finally:
        subprocess.run(["umount", str(store)], check=True)
    for result in (upload, pulled):
        assert result["failed"] and result["error"]["kind"] == "action", result
        assert re.search(rf"tiny\S* needs \d+ MiB more in the model store, and {store} has 0 MiB free", result["msg"])
    assert get(server + "/api/tags")["models"] == []


def test_a_pull_goes_on_where_the_connection_broke(ansible, server, registry, tmp_path):
    registry.cut_after = 200000
    before = len(registry.requests)
    result = ansible("ollama_model", base_url=server, name=f"{registry.address}/library/tiny-qwen3", insecure=True, progress_file=str(tmp_path / "progress"))
    assert not result["failed"] and result["steps"] == ["pull"]
    ranges = [request.rpartition("bytes=")[2] for request in registry.requests[before:] if "GET /storage/" in request]
    assert ranges[1].startswith("200000-") and ranges[0].startswith("0-")
    assert not (tmp_path / "progress").exists()
    ansible("ollama_model", base_url=server, name=result["name"], state="absent")


def test_a_pull_that_the_server_gave_up_is_asked_for_again_and_not_begun_again(ansible, server, registry):
    """The weights come, then the registry cuts every connection; the server ends with an error, and it is the module that tries again."""
    registry.spared_heads, registry.dropped_heads = 1, 2
    before = len(registry.requests)
    result = ansible("ollama_model", base_url=server, name=f"{registry.address}/library/tiny-qwen3", insecure=True)
    assert not result["failed"] and result["steps"] == ["pull"], result
    assert registry.dropped_heads == 0
    asked = registry.requests[before:]
    assert sum("/manifests/" in request for request in asked) == 2, asked
    weights = next(request for request in asked if "GET /storage/" in request).split()[1]
    size = build_models()["tiny-qwen3"].stat().st_size
    ranges = [request.rpartition("bytes=")[2].split("-") for request in asked if weights in request]
    assert sum(int(last) - int(first) + 1 for first, last in ranges) == size, ranges
    ansible("ollama_model", base_url=server, name=result["name"], state="absent")


def test_one_look_tells_which_models_of_which_servers_need_work(ansible, server, registry, tmp_path):
    notes = str(tmp_path / "notes")
    file, source = str(build_models()["tiny-llama"]), f"{registry.address}/library/tiny-qwen3"
    wishes = [{"name": "mine", "file": file, "loaded": True}, {"name": "pulled", "source": source, "parameters": {"num_ctx": 512}, "loaded": False}]
    servers = [{"name": "one", "base_url": server, "models": wishes}]

    def plan(check=False, **change):
        return ansible("ollama_model_plan", check=check, cache_directory=notes, servers=change.get("servers", servers))

    assert [(one["server"], one["model"], one["steps"]) for one in plan()["plans"]] == [("one", "mine", ["read"]), ("one", "pulled", ["pull", "create"])]
    for wish in wishes:
        assert not ansible("ollama_model", base_url=server, cache_directory=notes, insecure=True, **wish)["failed"]
    asked = len(registry.requests)
    done = plan()
    assert not done["changed"] and [one["steps"] for one in done["plans"]] == [[], []]
    assert len(registry.requests) == asked
    wishes[0]["parameters"], wishes[1]["loaded"] = {"num_ctx": 1024}, True
    assert [one["steps"] for one in plan()["plans"]] == [["upload", "create", "load"], ["load"]]
    wishes[1] = {"name": "pulled", "parameters": {"num_ctxx": 1}}
    assert "Ollama has no option num_ctxx; did you mean num_ctx?" in plan()["msg"]
    gone = [{"name": "gone", "base_url": "http://127.0.0.1:1", "models": [{"name": "x"}]}]
    assert plan(servers=gone)["error"]["kind"] == "unreachable"
    assert plan(check=True, servers=gone)["plans"] == [{"server": "gone", "model": "x", "steps": ["pull"]}]
    for name in ("mine", "pulled", source):
        ansible("ollama_model", base_url=server, name=name, state="absent")


def test_a_pull_can_be_left_to_a_later_task(ansible, server, registry):
    arguments = {"base_url": server, "name": "tiny", "source": f"{registry.address}/library/tiny-llama", "insecure": True}
    before = len(registry.requests)
    left = ansible("ollama_model", pull=False, **arguments)
    assert (left["changed"], left["steps"], left["pull_needed"], left["digest"]) == (False, [], True, None)
    assert len(registry.requests) == before
    assert ansible("ollama_model", check=True, pull=False, **arguments)["steps"] == ["pull", "copy"]
    done = ansible("ollama_model", **arguments)
    assert (done["changed"], done["steps"], done["pull_needed"]) == (True, ["pull", "copy"], False)
    again = ansible("ollama_model", pull=False, **arguments)
    assert (again["changed"], again["pull_needed"], again["digest"]) == (False, False, done["digest"])
    for name in ("tiny", arguments["source"]):
        ansible("ollama_model", base_url=server, name=name, state="absent")


def test_check_mode_before_the_server_is_there(ansible):
    result = ansible("ollama_model", check=True, name="x", base_url="http://127.0.0.1:1")
    assert (result["failed"], result["changed"], result["steps"]) == (False, True, ["pull"])
    assert "yet to be installed" in result["output"]


@pytest.fixture(scope="module")
def container(tmp_path_factory):
    """Name and address of a real server in a container, with an nvidia-smi whose answer is a file: (name, address, file)."""
    folder = tmp_path_factory.mktemp("container")
    (folder / "nvidia-smi").write_text('#!/bin/sh\n[ "$*" = "--query-gpu=uuid,temperature.gpu --format=csv,noheader" ] || exit 2\n. /smi/answer\n')
    (folder / "nvidia-smi").chmod(0o755)
    (folder / "answer").write_text("exit 9\n")
    name = "gpuops-test-ollama-%d" % os.getpid()
    # An image of this name that was there before is somebody else's and stays.
    ours = subprocess.run(["docker", "image", "inspect", REFERENCE], capture_output=True, check=False).returncode != 0
    subprocess.run(["docker", "load", "--quiet", "--input", build_image_archive()], check=True, stdout=subprocess.DEVNULL)
    mounts = ["-v", f"{folder}:/smi:ro", "-v", f"{folder}/nvidia-smi:/usr/bin/nvidia-smi:ro"]
    subprocess.run(["docker", "run", "--detach", "--name", name, "-p", "127.0.0.1::11434", *mounts, REFERENCE], check=True, stdout=subprocess.DEVNULL)
    try:
        port = subprocess.run(["docker", "port", name, "11434/tcp"], check=True, capture_output=True, text=True).stdout.strip()
        wait_for("http://" + port)
        yield name, "http://" + port, folder / "answer"
    finally:
        subprocess.run(["docker", "rm", "--force", "--volumes", name], check=True, stdout=subprocess.DEVNULL)
        if ours:
            subprocess.run(["docker", "image", "rm", REFERENCE], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("answer", "expected_uuids", "words"),
    [
        ("\n".join(f"echo {uuid}, 30" for uuid in UUIDS), UUIDS, "container.gpus: pass"),
        (f"echo {UUIDS[0]}, 30", UUIDS, "the container has 1 of 2 GPUs: missing " + UUIDS[1]),
        ("\n".join(f"echo {uuid}, 30" for uuid in UUIDS), UUIDS[:1], "not asked for " + UUIDS[1]),
        ("echo 'Failed to initialize NVML: Unknown Error'; exit 255", UUIDS, "daemon-reload"),
        ("sleep 60", UUIDS, "nvidia-smi did not answer within 2 s"),
    ],
)
def test_gpus_of_a_container(ansible, container, answer, expected_uuids, words):
    container[2].write_text(answer + "\n")
    result = ansible("gpu_container_check", container=container[0], expected_uuids=expected_uuids, timeout_seconds=2)
    passed = ["%s: pass" % check["id"] for check in result["checks"] if check["status"] == "pass"]
    assert words in "\n".join([result["msg"], *passed])
    assert result["failed"] == (result["status"] == "fail") == (words not in ("container.gpus: pass", "nvidia-smi did not answer within 2 s"))


@pytest.mark.parametrize("name", ["tiny-llama", "tiny-qwen3"])
def test_placement_on_the_processor_fails_or_warns_and_never_passes(ansible, container, tmp_path, name):
    arguments = {"container": container[0], "base_url": container[1], "model": name, "expected_uuids": UUIDS}
    absent = ansible("ollama_placement_check", **arguments)
    assert [check["status"] for check in absent["checks"]] == ["fail", "fail"] + ["unknown"] * 4
    loaded = ansible("ollama_model", name=name, base_url=container[1], file=str(build_models()[name]), cache_directory=str(tmp_path), loaded=True)
    assert loaded["loaded"]
    required = ansible("ollama_placement_check", num_ctx=2048, **arguments)
    assert required["failed"]
    assert [check["status"] for check in required["checks"]] == ["fail", "fail", "fail", "skipped", "pass", "skipped"]
    assert required["placement"]["verdict"] == "cpu"
    assert required["placement"]["offloaded"] == (None if name == "tiny-llama" else [0, 3])
    accepted = ansible("ollama_placement_check", require_gpu=False, **arguments)
    assert not accepted["failed"] and not accepted["changed"]
    assert [check["status"] for check in accepted["checks"]] == ["warn", "warn", "warn", "skipped", "skipped", "skipped"]
    assert all("accepted by require_gpu: false" in check["summary"] for check in accepted["checks"][:3])
    models = [{"name": name, "num_ctx": 2048}, {"name": "absent"}]
    servers = [{"container": container[0], "base_url": container[1], "expected_uuids": UUIDS, "models": models}]
    several = ansible("ollama_placement_check", servers=servers)
    # What is about the container is told once.
    assert [check["status"] for check in several["checks"]] == [check["status"] for check in required["checks"]] + ["unknown"] * 4
    assert [(one["model"], one["placement"] and one["placement"]["verdict"]) for one in several["placements"]] == [(name, "cpu"), ("absent", "cpu")]


def test_placement_of_a_container_that_is_not_there(ansible):
    result = ansible("ollama_placement_check", container="gpuops-none", model="x", base_url="http://127.0.0.1:1", fail_on=["fail", "unknown"])
    assert result["failed"] and [check["status"] for check in result["checks"]] == ["unknown"] * 6
    assert "No such container: gpuops-none" in result["msg"] and "no Ollama server answers" in result["msg"]
