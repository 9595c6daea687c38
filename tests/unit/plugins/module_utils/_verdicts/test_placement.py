"""Placement checks, from recorded server logs and the running list."""
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import ollama_log
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement

LOGS = Path(__file__).parents[4] / "fixtures" / "ollama-logs"
A, B = "GPU-00000000-aaaa-4000-8000-000000000000", "GPU-11111111-bbbb-4000-8000-000000000001"
ON_GPU = {"name": "m:latest", "digest": "d", "size": 29000000000, "size_vram": 29000000000}
ON_CPU = dict(ON_GPU, size_vram=0)
TWO_P40 = "16-synthetic-0.17.4-2xP40-qwen3-32b"
CPU_LLAMA = "01-run-0.17.4-cpu-llamarunner"
CPU_OLLAMA = "02-run-0.17.4-cpu-ollamaengine"
TOO_OLD = "11-iss16415-0.30-driver-too-old-cpu"
MOE = "14-web-llama.cpp-moe-on-cpu-but-N-of-N"
FOUR_GPUS = "13-web-llama.cpp-4gpu-32b-q4km"


def text_of(name):
    return (LOGS / (name + ".log")).read_text()


def judge(text, running, expected=None, require_gpu=True, **seen):
    log = None if text is None else ollama_log.parse(text)
    checks = placement.check(placement.Ask("ollama", "m:latest", "d", expected, require_gpu), placement.Seen(log, running, **seen))
    names = ("gpus_accepted", "library", "offload", "balance", "context", "processes")
    assert [check.id for check in checks] == ["ollama." + name for name in names]
    assert [check.subject for check in checks] == ["ollama"] * 2 + ["m:latest"] * 4
    return checks[:3]


STATUSES = [
    (TWO_P40, [ON_GPU], [A, B], True, "pass pass pass"),
    (TWO_P40, [ON_GPU], None, True, "pass pass pass"),
    (TWO_P40, [ON_GPU], [A], True, "fail pass pass"),
    (TWO_P40, [ON_GPU], [A, B, "GPU-3"], True, "fail pass pass"),
    # The two witnesses disagree: the poorer answer holds.
    (TWO_P40, [dict(ON_GPU, size_vram=20000000000)], [A, B], True, "pass pass fail"),
    (TWO_P40, [ON_CPU], [A, B], True, "pass pass fail"),
    (TWO_P40, [], [A, B], True, "pass pass unknown"),
    (TWO_P40, [dict(ON_GPU, digest="other")], [A, B], True, "pass pass unknown"),
    (TWO_P40, None, [A, B], True, "pass pass unknown"),
    (CPU_LLAMA, [ON_CPU], [A, B], True, "fail fail fail"),
    (CPU_LLAMA, [ON_CPU], [A, B], False, "warn warn warn"),
    (CPU_LLAMA, [ON_CPU], None, False, "warn warn warn"),
    # The list's fallback to "all in GPU memory" does not outweigh the log.
    (CPU_LLAMA, [ON_GPU], [A, B], True, "fail fail fail"),
    (CPU_OLLAMA, [ON_CPU], [A], True, "fail fail fail"),
    (TOO_OLD, [ON_CPU], [A, B], True, "fail fail fail"),
    (MOE, [ON_GPU], None, True, "unknown pass fail"),
    (FOUR_GPUS, [ON_GPU], None, True, "unknown pass pass"),
    ("03-iss13320-0.13-cpu-fallback", [ON_CPU], None, True, "unknown unknown fail"),
    ("10-iss14510-0.17.4-1gpu-partial-layout", [ON_GPU], None, True, "unknown pass unknown"),
    ("08-iss13372-0.12.3-4gpu-single-used-qwen3-32b", [ON_GPU], None, True, "unknown pass unknown"),
    ("05-pr11090-0.11dev-2gpu-full", [ON_GPU], None, True, "unknown pass pass"),
]


@pytest.mark.parametrize(("name", "running", "expected", "require_gpu", "statuses"), STATUSES)
def test_statuses(name, running, expected, require_gpu, statuses):
    assert " ".join(check.status for check in judge(text_of(name), running, expected, require_gpu)) == statuses


def test_every_recorded_log_is_judged():
    assert {path.stem for path in LOGS.glob("*.log")} == {case[0] for case in STATUSES}


def test_no_log_and_no_answer_is_unknown():
    checks = judge(None, None, log_reason="docker: No such container: ollama", api_reason="no Ollama server answers: Connection refused")
    assert [check.status for check in checks] == ["unknown"] * 3
    assert "No such container" in checks[0].summary and "Connection refused" in checks[2].summary


def test_summaries_name_gpus_numbers_and_causes():
    assert judge(text_of(TWO_P40), [ON_GPU])[2].summary == "65/65 layers on GPU: %s 33 layers 13.4 GiB, %s 32 layers 13.4 GiB" % (A, B)
    assert judge(text_of(TWO_P40), [ON_GPU], [A, "GPU-3"])[0].summary == "the server took 1 of 2 GPUs: missing GPU-3; not asked for %s" % B
    accepted = judge(text_of(TOO_OLD), [ON_CPU])[0]
    assert "570 or newer" in accepted.remedy and "2 GPUs dropped" in accepted.line()
    assert judge(text_of(CPU_LLAMA), [ON_CPU], require_gpu=False)[2].summary == "the model runs on the processor, accepted by require_gpu: false"


VULKAN = text_of(TWO_P40).replace("library=CUDA", "library=Vulkan")
BROKEN = text_of(TWO_P40) + 'time=T level=ERROR source=server.go:1 msg="error loading llama server" error="llama runner process has terminated: CUDA error"\n'
# Ollama 0.30 and newer number the GPUs and keep the UUID in filter_id; without a filter only the number is left.
NUMBERED = text_of(TWO_P40).replace('id=%s filter_id=""' % A, "id=0 filter_id=%s" % A).replace('id=%s filter_id=""' % B, "id=1 filter_id=%s" % B)
NAMELESS = text_of(TWO_P40).replace('id=%s filter_id=""' % A, 'id=0 filter_id=""').replace('id=%s filter_id=""' % B, 'id=1 filter_id=""')


@pytest.mark.parametrize(
    ("text", "require_gpu", "statuses", "index", "words"),
    [
        (VULKAN, True, "pass fail pass", 1, "Vulkan instead of CUDA"),
        (VULKAN, False, "pass warn pass", 1, "accepted by require_gpu: false"),
        (BROKEN, True, "pass pass fail", 2, "llama runner process has terminated: CUDA error"),
        (BROKEN, False, "pass pass fail", 2, "the load broke"),
        (NUMBERED, True, "pass pass pass", 0, "exactly the 2 GPUs"),
        (NAMELESS, True, "unknown pass pass", 0, "does not tell which"),
    ],
)
def test_varied_logs(text, require_gpu, statuses, index, words):
    checks = judge(text, [ON_GPU], [A, B], require_gpu)
    assert " ".join(check.status for check in checks) == statuses
    assert words in checks[index].summary


def test_only_the_last_load_of_the_model_counts():
    def load(blob, layers):
        start = 'level=INFO msg="starting runner" cmd="/usr/bin/ollama runner --model /root/.ollama/models/blobs/sha256-%s --port 1"' % (blob * 64)
        size = 'level=INFO msg="model weights" device=%s size="1.0 GiB"' % ("CUDA0" if layers else "CPU")
        return "\n".join([start, 'level=INFO msg="offloaded %d/3 layers to GPU"' % layers, size, ""])

    server = 'level=INFO msg="inference compute" id=%s filter_id="" library=CUDA name=CUDA0 description="Tesla P40"\n' % A
    text = server + load("a", 0) + load("b", 3) + load("a", 3) + load("b", 0)
    assert placement.conclude(ollama_log.parse(text, "a" * 64)) == "full"
    assert placement.conclude(ollama_log.parse(text, "b" * 64)) == "cpu"
    assert ollama_log.parse(text, "a" * 64)["device_uuids"] == {"CUDA0": A}
    missing = ollama_log.parse(text, "c" * 64)
    assert (missing["load_found"], placement.conclude(missing)) == (False, "incomplete")


@pytest.mark.parametrize(
    ("tensors", "size"),
    [
        # qwen3:32b, where the server's log gives 437575680 bytes of input weights; its type there is Q4_K.
        ([{"name": "token_embd.weight", "type": "Q4_K", "shape": [5120, 151936]}, {"name": "output.weight", "type": "Q6_K", "shape": [1, 1]}], 437575680),
        ([{"name": "token_embd.weight", "type": "new", "shape": [1, 1]}], None),
        ([{"name": "token_embd_norm.weight", "type": "F32", "shape": [8]}], None),
        ([], None),
        (None, None),
    ],
)
def test_embedding_bytes(tensors, size):
    assert placement.embedding_bytes(tensors) == size


def test_a_large_embedding_in_host_memory_is_no_fallback():
    text = 'msg="offloaded 29/29 layers to GPU"\nmsg="model weights" device=CUDA0 size="400.0 MiB"\nmsg="model weights" device=CPU size="150.0 MiB"\n'
    assert placement.conclude(ollama_log.parse(text)) == "partial"
    assert placement.conclude(ollama_log.parse(text), embedding=150 * 2**20) == "full"
