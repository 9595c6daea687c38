"""Shares of GPUs and context lengths, from recorded server logs, and what is caught in them."""
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import ollama_log
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement

LOGS = Path(__file__).parents[4] / "fixtures" / "ollama-logs"
A, B = "GPU-00000000-aaaa-4000-8000-000000000000", "GPU-11111111-bbbb-4000-8000-000000000001"
LOADED = {"name": "m:latest", "digest": "d", "size": 29000000000, "size_vram": 29000000000, "context_length": 32768}
SPREAD = 'time=T level=INFO msg="server config" env="map[OLLAMA_NUM_PARALLEL:1 OLLAMA_SCHED_SPREAD:true http_proxy:]"\n'


def text_of(name):
    return (LOGS / (name + ".log")).read_text()


def judge(text, asked=None, entry=LOADED, trained=None, expected=(A, B)):
    log = None if text is None else ollama_log.parse(text)
    running = None if entry is None else [entry]
    return placement.check(placement.Ask("ollama", "m:latest", "d", expected, True, asked), placement.Seen(log, running, None, trained))[3:5]


TWO_P40 = text_of("16-synthetic-0.17.4-2xP40-qwen3-32b")

FASTEST_FIRST = TWO_P40.replace("Device 0:", "Device 9:").replace("Device 1:", "Device 0:").replace("Device 9:", "Device 1:")


def without_second(text):
    """The same load with nothing on CUDA1."""
    return "".join(line for line in text.splitlines(keepends=True) if "device=CUDA1" not in line)


@pytest.mark.parametrize(
    ("text", "expected", "status", "words"),
    [
        (TWO_P40, (A, B), "pass", "%s 13.4 GiB (50 %%), %s 13.4 GiB (50 %%)" % (A, B)),
        (TWO_P40, None, "pass", "share the model as their free memory"),
        (TWO_P40, (A, B, "GPU-3"), "warn", "one of 3 GPUs unused: GPU-3"),
        (SPREAD + without_second(TWO_P40), (A, B), "warn", "one of 2 GPUs unused: " + B),
        # A model that fits on one GPU is placed there unless the server is told to spread.
        (without_second(TWO_P40), (A, B), "pass", "the model is on one of 2 GPUs"),
        (TWO_P40.replace('CUDA0 size="9.2 GiB"', 'CUDA0 size="18.4 GiB"'), (A, B), "warn", "%s holds 63 %% of the model with 50 %% of the free memory" % A),
        # The free memory just before the load counts, not that of the start.
        (TWO_P40.replace('0000 library=CUDA available="21.7 GiB"', '0000 library=CUDA available="6.0 GiB"'), (A, B), "warn", "50 % of the model with 22 % of"),
        (TWO_P40.replace('available="', 'free="'), (A, B), "unknown", "does not tell the free memory of each GPU"),
        # CUDA numbers the GPUs by another order (FASTEST_FIRST) than the server lists them: only the UUID tells which is which.
        (FASTEST_FIRST.replace('CUDA0 size="9.2', 'CUDA0 size="29.2'), (A, B), "warn", "%s holds 71 %% of the model" % B),
        (text_of("13-web-llama.cpp-4gpu-32b-q4km"), None, "unknown", "does not tell which GPUs the server has; the model is on CUDA0, CUDA1, CUDA2, CUDA3"),
        (text_of("01-run-0.17.4-cpu-llamarunner"), (A, B), "skipped", "no GPU is known to hold a part"),
        (text_of("11-iss16415-0.30-driver-too-old-cpu"), (A, B), "skipped", "no GPU is known to hold a part"),
        (None, (A, B), "unknown", "log could not be read"),
    ],
)  # fmt: skip
def test_balance(text, expected, status, words):
    check = judge(text, expected=expected)[0]
    assert (check.id, check.status) == ("ollama.balance", status)
    assert words in check.summary


def test_unequal_cards_share_as_their_memory():
    text = TWO_P40.replace('0000 library=CUDA available="21.7 GiB"', '0000 library=CUDA available="43.4 GiB"')
    assert judge(text)[0].status == "warn"
    assert judge(text.replace('CUDA0 size="9.2 GiB"', 'CUDA0 size="22.6 GiB"'))[0].status == "pass"


@pytest.mark.parametrize(
    ("asked", "found", "trained", "status", "words"),
    [
        (32768, 32768, 40960, "pass", "a context of 32768 tokens"),
        (32768, 4096, 40960, "fail", "4096 tokens instead of 32768: longer input is cut silently"),
        (4096, 32768, 40960, "warn", "which takes more GPU memory"),
        (65536, 40960, 40960, "warn", "the server cut the context to the 40960 tokens"),
        (None, 4096, 40960, "skipped", "the model has 4096 tokens"),
        # A list without lengths (older servers): the log tells.
        (32768, None, None, "pass", "a context of 32768 tokens"),
        (16384, None, None, "warn", "32768 tokens instead of 16384"),
    ],
)
def test_context(asked, found, trained, status, words):
    check = judge(TWO_P40, asked, dict(LOADED, context_length=found), trained)[1]
    assert (check.id, check.status) == ("ollama.context", status)
    assert words in check.summary


def test_what_was_not_seen_is_unknown():
    assert [check.status for check in judge(TWO_P40, 1, None)] == ["unknown"] * 2
    assert [check.status for check in judge(TWO_P40, 1, dict(LOADED, name="other"))] == ["unknown"] * 2
    assert judge("", 1, dict(LOADED, context_length=None))[1].status == "unknown"


@pytest.mark.parametrize(
    ("line", "tokens"),
    [
        ('msg="starting llama-server" cmd="/usr/lib/ollama/llama-server --model /m/sha256-%s --port 1 -c 16384 -np 4 --flash-attn auto"' % ("ab" * 32), 4096),
        ('msg="starting llama-server" cmd="/usr/lib/ollama/llama-server --model /m/sha256-%s -c 8192"' % ("ab" * 32), 8192),
        ('msg=load request="{Operation:commit LoraPath:[] Parallel:2 BatchSize:512 KvSize:8192 KvCacheType: GPULayers:[]}"', 4096),
    ],
)
def test_context_of_parallel_requests(line, tokens):
    assert ollama_log.parse(line)["context"] == tokens


def test_a_list_that_claims_the_gpu_does_not_outweigh_a_log_that_tells_nothing():
    warning = 'level=WARN msg="llama-server VRAM tracking: no per-device buffer sizes were parsed"\n'
    text = "".join(line for line in TWO_P40.splitlines(keepends=True) if "level=INFO source=device.go" not in line and "offloaded" not in line) + warning
    log = ollama_log.parse(text)
    offload = placement.check(placement.Ask("ollama", "m:latest", "d", (A, B)), placement.Seen(log, [LOADED]))[2]
    assert offload.status == "unknown" and log["notes"] == {"no per-device buffer sizes were parsed": 1}
