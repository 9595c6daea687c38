"""What is said about a container and the GPUs inside."""
import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import containers

A, B, C = ("GPU-%d1111111-2222-3333-4444-555555555555" % number for number in (1, 2, 3))
RUNNING = {
    "found": True, "reason": "", "status": "running", "running": True, "paused": False, "restarting": False, "exit_code": 0, "health": None, "error": "",
    "started_at": "2026-11-24T21:58:10.5Z", "image": "i", "runtime": "runc", "device_requests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=%s" % A]}],
    "devices": [], "environment": {}, "privileged": False, "pid": 4711,
}
SEEN = {
    "state": RUNNING, "host": {"loaded_version": None, "nodes": {}, "gpus": []}, "specs": [], "gpus": None, "inside": None, "opened": None, "opened_reason": "",
}


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({}, "pass", "the container runs"),
        ({"health": "healthy"}, "pass", "is healthy"),
        ({"health": "starting"}, "warn", "not passed yet"),
        ({"health": "unhealthy"}, "fail", "unhealthy"),
        ({"paused": True, "status": "paused"}, "fail", "paused"),
        ({"restarting": True, "status": "restarting", "exit_code": 1}, "fail", "again and again"),
        ({"running": False, "status": "exited", "exit_code": 137}, "fail", "does not run"),
        ({"running": False, "status": "created", "exit_code": 128, "error": "failed to stat CDI host device"}, "fail", "does not run"),
        ({"found": False, "reason": "docker: No such container: ollama"}, "fail", "no such container"),
        ({"found": None, "reason": "docker did not answer within 30 s"}, "unknown", "did not answer within 30 s"),
    ],
)
def test_running(change, status, words):
    check = containers.running(dict(RUNNING, **change), "ollama")
    assert (check.id, check.subject, check.status) == ("container.running", "ollama", status)
    assert words in check.summary
    if change.get("error"):
        assert change["error"] in check.line()


@pytest.mark.parametrize(
    ("found", "expected", "status", "words"),
    [
        ([A, B], [B, A], "pass", "exactly the 2 GPUs"),
        ([], [], "pass", "exactly the 0 GPUs"),
        ([A], [A, B], "fail", "1 of 2 GPUs: missing %s" % B),
        ([A, B, C], [A, B], "fail", "2 of 2 GPUs: not asked for %s" % C),
        ([C], [A], "fail", "0 of 1 GPUs: missing %s; not asked for %s" % (A, C)),
        ([A], [], "fail", "not asked for %s" % A),
        (None, [A], "unknown", "could not be read: nvidia-smi: broken"),
    ],
)
def test_gpus(found, expected, status, words):
    gpus = {"uuids": found, "source": "docker exec ollama nvidia-smi", "reason": "nvidia-smi: broken" if found is None else "", "refused": False, "lost": []}
    check = containers.gpus(RUNNING, gpus, "ollama", expected)
    assert (check.id, check.status) == ("container.gpus", status)
    assert words in check.summary


def test_gpus_of_a_container_that_does_not_run_are_not_judged():
    seen = dict(SEEN, state=dict(RUNNING, running=False), gpus=None, inside=None, opened=None)
    assert [(check.id, check.status) for check in containers.check(seen, "ollama", [A])][:2] == [("container.running", "fail"), ("container.gpus", "skipped")]


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"device_requests": [{"Driver": "cdi"}]}, "", "device requests (cdi)"),
        ({"device_requests": [], "runtime": "nvidia"}, "", "NVIDIA_VISIBLE_DEVICES"),
        ({"device_requests": []}, "", "asks for no GPU"),
        ({}, "nvidia-smi: Failed to initialize NVML: Unknown Error", "daemon-reload"),
    ],
)
def test_remedy_fits_how_the_container_got_its_gpus(change, reason, words):
    gpus = {"uuids": None if reason else [], "source": "x", "reason": reason, "refused": bool(reason), "lost": []}
    check = containers.gpus(dict(RUNNING, **change), gpus, "ollama", [A])
    assert check.status == "fail" and reason in check.line()
    assert words in check.remedy and "recreate the container" in check.remedy


def test_a_lost_gpu_fails_though_the_set_is_right():
    gpus = {"uuids": [A, B], "lost": [B], "source": "docker exec ollama nvidia-smi", "reason": "", "refused": False}
    check = containers.gpus(RUNNING, gpus, "ollama", [A, B])
    assert (check.status, check.summary) == ("fail", "the GPU %s does not answer any more" % B)
    assert A not in check.evidence[0]["value"] and "reboot" in check.remedy
