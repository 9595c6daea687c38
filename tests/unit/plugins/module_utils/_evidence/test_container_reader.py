"""What Docker answers, and what the reader makes of it. The texts are those of Docker 20.10 to 28 and of nvidia-smi 580."""
import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import containers

UUIDS = ["GPU-11111111-2222-3333-4444-555555555555", "GPU-22222222-2222-3333-4444-555555555555"]
NOT_THERE = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"nvidia-smi\": executable file not found in $PATH: unknown"
STATE = {"Status": "running", "Running": True, "Paused": False, "Restarting": False, "ExitCode": 0, "Error": "", "StartedAt": "2026-11-24T21:58:10.5Z"}


def docker(answers):
    """A `run` that answers by the words after `docker`; anything that was not foreseen is an error of the test."""
    def run(args, timeout_seconds=None):
        assert args[0] == "docker" and timeout_seconds
        return answers[next(key for key in answers if " ".join(args[1:]).startswith(key))]
    return run


@pytest.mark.parametrize(
    ("rc", "out", "err", "found", "reason"),
    [
        (1, "[]\n", "Error response from daemon: No such container: x", False, "No such container"),
        (1, "[]\n", "Error: No such container: x", False, "No such container"),
        (1, "[]\n", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", None, "Cannot connect"),
        (127, "", "[Errno 2] No such file or directory: b'docker'", None, "No such file"),
        (124, "", "", None, "did not answer within 5 s"),
        (0, "{", "", None, "something else"),
        (0, "[{}]", "", None, "something else"),
    ],
)
def test_inspect_without_a_container(rc, out, err, found, reason):
    answer = containers.inspect(docker({"container inspect x": (rc, out, err)}), "x", 5)
    assert answer["found"] is found
    assert reason in answer["reason"]


def test_inspect():
    text = json.dumps([{"State": dict(STATE, Health={"Status": "healthy"}), "Config": {"Image": "ollama/ollama:0.17.4", "Env": ["PATH=/bin", "A=b=c"]},
                        "HostConfig": {"Runtime": "nvidia", "DeviceRequests": None, "Devices": [{"PathOnHost": "/dev/nvidia0"}]}}])
    answer = containers.inspect(docker({"container inspect ollama": (0, text, "")}), "ollama", 5)
    assert answer == {
        "found": True, "reason": "", "status": "running", "running": True, "paused": False, "restarting": False, "exit_code": 0, "health": "healthy",
        "error": "", "started_at": "2026-11-24T21:58:10.5Z", "image": "ollama/ollama:0.17.4", "runtime": "nvidia", "device_requests": [],
        "devices": ["/dev/nvidia0"], "environment": {"PATH": "/bin", "A": "b=c"}, "privileged": False, "pid": STATE.get("Pid", 0),
    }


def test_running_containers():
    assert containers.running(docker({"container ls --format": (0, "b\na,alias\n", "")}), 5) == (["a", "b"], "")
    names, reason = containers.running(docker({"container ls --format": (1, "", "Cannot connect to the Docker daemon")}), 5)
    assert names is None and "Cannot connect" in reason


@pytest.mark.parametrize(
    ("rc", "out", "err", "opened", "reason"),
    [
        (0, "/dev/nvidia0\tsh: 1: cannot open /dev/nvidia0: Operation not permitted\n/dev/nvidiactl\t\n", "",
         {"/dev/nvidia0": "Operation not permitted", "/dev/nvidiactl": ""}, ""),
        (0, "/dev/nvidia0\tsh: can't open /dev/nvidia0: No such device or address\n/dev/nvidiactl\tbash: line 1: /dev/nvidiactl: Operation not permitted\n", "",
         {"/dev/nvidia0": "No such device or address", "/dev/nvidiactl": "Operation not permitted"}, ""),
        (127, "", 'exec: "sh": executable file not found in $PATH', None, "executable file not found"),
        (124, "", "", None, "did not answer within 5 s"),
    ],
)  # fmt: skip
def test_devices_are_opened(rc, out, err, opened, reason):
    run = docker({"exec c timeout -s KILL 5 sh -c": (rc, out, err)})
    found, why = containers.opened(run, "c", ["/dev/nvidia0", "/dev/nvidiactl"], 5)
    assert found == opened and reason in why
    assert containers.opened(run, "c", [], 5) == ({}, "")


def test_log_has_both_streams_since_the_start():
    run = docker({"logs --since 2026-11-24T21:58:10.5Z x": (0, "out\n", "err\n"), "logs --since never": (1, "", "invalid value for \"since\"")})
    assert containers.log(run, "x", "2026-11-24T21:58:10.5Z", 5) == ("out\n\nerr\n", "")
    assert containers.log(run, "x", "never", 5) == (None, 'docker logs: invalid value for "since"')


SMI = "exec c timeout -s KILL 5 nvidia-smi --query-gpu=uuid,temperature.gpu --format=csv,noheader"


@pytest.mark.parametrize(
    ("smi", "devices", "uuids", "reason"),  # a refusal is an error that nvidia-smi itself reports: exit status 2 to 15, or 255
    [
        ((0, "%s, 31\n%s, [N/A]\n" % (UUIDS[1], UUIDS[0]), ""), None, UUIDS, ""),
        ((6, "No devices were found\n", ""), None, [], ""),
        ((255, "Failed to initialize NVML: Unknown Error\n", ""), None, None, "nvidia-smi: Failed to initialize NVML: Unknown Error"),
        ((15, "Unable to determine the device handle for GPU0: 0000:3B:00.0: GPU is lost.\n", ""), None, None, "GPU is lost"),
        ((0, "", ""), None, None, "exit status 0"),
        ((0, "GPU-1, 30\nsomething else\n", ""), None, None, "something else"),
        ((124, "", ""), None, None, "did not answer within 5 s"),
        ((137, "", ""), None, None, "did not answer within 5 s"),
        ((126, "", NOT_THERE), (0, "console\nfd\nnull\n", ""), [], ""),
        ((127, "", "timeout: failed to run command 'nvidia-smi': No such file or directory"), (0, "null\n", ""), [], ""),
        ((127, "", NOT_THERE), (0, "null\nnvidia0\nnvidiactl\n", ""), None, "no nvidia-smi in the container, but /dev/nvidia0"),
        ((126, "", NOT_THERE), (126, "", "exec: \"ls\": not found"), None, "no nvidia-smi in the container"),
    ],
)
def test_gpus(smi, devices, uuids, reason):
    answer = containers.gpus(docker({SMI: smi, "exec c ls /dev": devices}), "c", 5)
    assert (answer["uuids"], answer["lost"]) == (uuids, [])
    assert reason in answer["reason"] and bool(answer["reason"]) == (uuids is None)
    assert answer["refused"] == (smi[0] in (15, 255))


def test_a_lost_gpu_is_still_named():
    # As the recording tests/fixtures/nvidia-smi of a host with a lost GPU shows it: exit status 0, the UUID, no temperature.
    answer = containers.gpus(docker({SMI: (0, "%s, 30\n%s, [GPU is lost]\n" % tuple(UUIDS), "")}), "c", 5)
    assert (answer["uuids"], answer["lost"], answer["refused"]) == (UUIDS, UUIDS[1:], False)


def test_an_image_without_timeout():
    missing = (126, "", NOT_THERE.replace("nvidia-smi", "timeout"))
    answer = containers.gpus(docker({"exec c timeout": missing, "exec c nvidia-smi": (0, UUIDS[0] + ", 30\n", "")}), "c", 5)
    assert answer["uuids"] == UUIDS[:1]
