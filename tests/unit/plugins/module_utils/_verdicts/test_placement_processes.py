"""The driver as a witness beside the server's log: recorded logs, with the processes that the driver showed or could have shown for each."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gpu_processes, ollama_log
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.placement_processes import Witness

LOGS = Path(__file__).parents[4] / "fixtures" / "ollama-logs"
TWO_P40, TWO_GPUS, FOUR_GPUS = "16-synthetic-0.17.4-2xP40-qwen3-32b", "05-pr11090-0.11dev-2gpu-full", "13-web-llama.cpp-4gpu-32b-q4km"
PARTIAL, ON_CPU = "10-iss14510-0.17.4-1gpu-partial-layout", "11-iss16415-0.30-driver-too-old-cpu"
A, B = "GPU-00000000-aaaa-4000-8000-000000000000", "GPU-11111111-bbbb-4000-8000-000000000001"
ENTRY = {"name": "m:latest", "digest": "d", "size": 1, "size_vram": 1, "context_length": 4096}
PIDS = {10, 11, 12}


def log_of(name):
    return ollama_log.parse((LOGS / (name + ".log")).read_text())


def on(uuid, mib, pid=11, name="/usr/bin/ollama"):
    return {uuid: [{"pid": pid, "used_memory_mib": mib, "name": name}]}


def judge(log, witness, running=(ENTRY,)):
    ask = placement.Ask("ollama", "m:latest", "d", None, True, None)
    (check,) = [one for one in placement.check(ask, placement.Seen(log, running, witness=witness)) if one.id == "ollama.processes"]
    return check


def gpus_of(name):
    log = log_of(name)
    return {log["device_uuids"].get(device, device): round(size / 2**20) for device, size in log["gpu_bytes"].items()}


def full(name, pid=11):
    """A process with what the log says and a context on each GPU of the log."""
    return {uuid: rows for gpu, mib in gpus_of(name).items() for uuid, rows in on(gpu if gpu.startswith("GPU-") else "GPU-" + gpu, mib + 205, pid).items()}


CASES = [
    (TWO_P40, Witness(full(TWO_P40), PIDS), "pass", "the driver sees the server compute on %s, %s" % (A, B)),
    (TWO_GPUS, Witness(full(TWO_GPUS), PIDS), "pass", "the driver sees the server compute on"),
    (FOUR_GPUS, Witness(full(FOUR_GPUS), PIDS), "pass", "the driver sees the server compute on"),
    (PARTIAL, Witness({}, PIDS), "skipped", "no GPU is known to hold a part"),
    # Docker does not tell the container's processes: the name must do.
    (TWO_P40, Witness(full(TWO_P40), None), "pass", "the driver sees the server compute on"),
    (TWO_P40, Witness(dict(on(A, 13960), **on(B, 13960, name="python3")), None), "fail", "no process of the server there"),
    # The process on the second GPU is another container's server.
    (TWO_P40, Witness(dict(on(A, 13960), **on(B, 13960, pid=99)), PIDS), "fail", "the log puts a part of the model on %s (13731 MiB)" % B),
    (TWO_P40, Witness(on(A, 13960), PIDS), "fail", "no process of the server there"),
    (TWO_P40, Witness(dict(on(A, 13960), **on(B, 300)), PIDS), "warn", "13731 MiB of the model on %s, and the processes of the server there hold 300 MiB" % B),
    (TWO_P40, Witness(dict(on(A, None), **on(B, None)), PIDS), "pass", "the driver sees the server compute on"),
    (FOUR_GPUS, Witness(on("GPU-1", 9000), PIDS), "fail", "the log puts the model on 4 GPUs, and the driver sees processes of the server on 1"),
    (TWO_P40, Witness({}, PIDS), "unknown", "sees no process of the server on any GPU"),
    (TWO_P40, Witness(full(TWO_P40, pid=99), PIDS), "unknown", "sees no process of the server on any GPU"),
    (TWO_P40, Witness(None, PIDS, "nvidia-smi did not answer within 60 s"), "unknown", "nvidia-smi did not answer within 60 s"),
    (TWO_P40, None, "unknown", "the driver does not tell"),
    (ON_CPU, None, "skipped", "no GPU is known to hold a part"),
]


@pytest.mark.parametrize("name, witness, status, words", CASES, ids=["%02d-%s-%s" % (n, case[0][:2], case[2]) for n, case in enumerate(CASES)])
def test_log_and_driver(name, witness, status, words):
    check = judge(log_of(name), witness)
    assert (check.status, words in check.summary) == (status, True), check.line()


def test_a_model_that_is_not_loaded_has_no_processes_to_judge():
    assert judge(log_of(TWO_P40), Witness(full(TWO_P40), PIDS), running=()).status == "unknown"
    assert judge(None, Witness(full(TWO_P40), PIDS)).status == "unknown"


# As nvidia-smi prints it: memory is [N/A] where the driver does not tell, and a name may hold commas.
PRINTED = "%s, 11, 13960, /usr/bin/ollama\n%s, 12, [N/A], /opt/a, b/ollama\n" % (A, B)


def test_what_the_driver_prints_is_read():
    found, reason = gpu_processes.read(lambda args, timeout_seconds: (0, PRINTED, ""), 5)
    assert reason == "" and found == dict(on(A, 13960), **on(B, None, pid=12, name="/opt/a, b/ollama"))
    assert gpu_processes.read(lambda args, timeout_seconds: (0, "", ""), 5) == ({}, "")
    assert gpu_processes.read(lambda args, timeout_seconds: (9, "", "NVIDIA-SMI has failed"), 5) == (None, "nvidia-smi: NVIDIA-SMI has failed")
    assert gpu_processes.read(lambda args, timeout_seconds: (124, "", ""), 5) == (None, "nvidia-smi did not answer within 5 s")


def test_facts_tell_the_same():
    devices = [{"uuid": A, "processes": [{"pid": 11, "used_memory_mib": 13960, "name": "/usr/bin/ollama"}]}, {"uuid": B, "processes": None}]
    assert gpu_processes.of_facts({"devices": devices}) == (on(A, 13960), "")
    assert gpu_processes.of_facts({"devices": devices[1:]})[0] is None


def test_processes_of_a_container():
    assert gpu_processes.of_container(lambda args, timeout_seconds: (0, "PID\n11\n12\n", ""), "ollama", 5) == {11, 12}
    assert gpu_processes.of_container(lambda args, timeout_seconds: (1, "", "No such container"), "ollama", 5) is None
