"""Setting through pynvml and through nvidia-smi: on the NVML double both read the same, and what one sets the other sees."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import gpu_settings as setting
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import kept_settings as keeping
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gpu_settings

from tests.lab.cache import cached
from tests.lab.nvml import build
from tests.unit.gpu_machine import machine

VERSION = "580.95.05"
ROOT = os.path.abspath(os.path.join(os.path.dirname(build.__file__), "../../.."))
# One step a line in: [reader, wished] sets what differs on all GPUs and reads with both readers. A process of its own for the dynamic linker.
STEPS = """
import json, subprocess, sys
import tests.unit.conftest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import gpu_settings as setting
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.gpu_settings import add_supported_clocks, read
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.gpu_settings import changes
def run(args, timeout_seconds=None):
    done = subprocess.run(args, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    return done.returncode, done.stdout, done.stderr
def both():
    return [read(run, 10, reader)[1] for reader in ("pynvml", "nvidia-smi")]
answers = []
for reader, wished in json.load(sys.stdin):
    try:
        if "clocks" in wished:
            gpus = both()[0]
            add_supported_clocks(run, reader, gpus, 10)
            answers.append([gpu["supported_clocks"] for gpu in gpus])
            continue
        setting.apply(run, reader, changes(both()[0], wished), 10)
        answers.append(both())
    except Exception as error:
        answers.append("%s: %s" % (type(error).__name__, error))
print(json.dumps(answers))
"""

needs_double = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the NVML double with")


def user_space(out):
    build.build(VERSION, out)
    build.link(out)


def steps(root, *wanted):
    tree = cached("nvml-user-space", [VERSION, *build.sources()], user_space)
    environment = dict(os.environ, LD_LIBRARY_PATH=str(tree / build.LIBRARY_DIRECTORY), LAB_NVML_STATE=str(root / "nvml"),
                       PATH="%s:%s" % (tree / "usr/bin", os.environ["PATH"]))  # fmt: skip
    done = subprocess.run([sys.executable, "-c", STEPS], input=json.dumps(wanted), cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def held(gpus, *keys):
    return [tuple(gpu[key] for key in keys) for gpu in gpus]


@needs_double
@pytest.mark.parametrize("reader", ["pynvml", "nvidia-smi"])
def test_both_ways_set_and_see_the_same(tmp_path, reader):
    machine(tmp_path, "p40x2")
    wished = {"persistence_mode": True, "power_limit_watts": 187.5, "compute_mode": "exclusive_process", "ecc_mode": False}
    before, after = steps(tmp_path, (reader, {}), (reader, wished))
    keys = ("persistence_mode", "power_limit_watts", "compute_mode", "ecc_mode", "ecc_mode_pending")
    for gpus in before:
        assert held(gpus, *keys) == [(False, 250.0, "default", True, True)] * 2
    for gpus in after:
        assert held(gpus, *keys) == [(True, 187.5, "exclusive_process", True, False)] * 2
    assert before[0] == before[1] and after[0] == after[1]
    assert held(before[0], "index", "bus_address", "name") == [(0, "0000:3b:00.0", "Tesla P40"), (1, "0000:af:00.0", "Tesla P40")]


@needs_double
@pytest.mark.parametrize("reader", ["pynvml", "nvidia-smi"])
def test_clocks(tmp_path, reader):
    machine(tmp_path, "p40x2")
    wished = {"memory_mhz": 3615, "graphics_mhz": 1404}
    (after,) = steps(tmp_path, (reader, {"application_clocks": wished}))
    assert held(after[0], "memory_clock_mhz", "graphics_clock_mhz") == held(after[1], "memory_clock_mhz", "graphics_clock_mhz") == [(3615, 1404)] * 2


@needs_double
def test_both_list_the_same_clocks(tmp_path):
    machine(tmp_path, "mixed")
    (tmp_path / "nvml/gpu1/supported_clocks").write_text("error 3\n")
    one, other = steps(tmp_path, ("pynvml", {"clocks": True}), ("nvidia-smi", {"clocks": True}))
    assert one == other and one[1] is None
    assert [[memory for memory, _graphics in gpu] for gpu in (one[0], one[2])] == [[3615, 405], [1215]]
    assert one[0][0][1][:2] == [1531, 1518] and one[0][1][1] == [544] and len(one[2][0][1]) == 81


@needs_double
@pytest.mark.parametrize("model", ["mixed", "h100x8"])
def test_both_read_the_same_of_other_models(tmp_path, model):
    machine(tmp_path, model)
    (found,) = steps(tmp_path, ("pynvml", {}))
    assert found[0] == found[1] and all(gpu["uuid"] and not gpu["lost"] for gpu in found[0])


@needs_double
@pytest.mark.parametrize("reader", ["pynvml", "nvidia-smi"])
def test_a_lost_gpu_and_a_refusal_are_told_in_one_line(tmp_path, reader):
    machine(tmp_path, "p40x2")
    (tmp_path / "nvml/gpu1/lost").write_text("1\n")
    (lost,) = steps(tmp_path, (reader, {"persistence_mode": True}))
    assert lost == "EvidenceError: GPU 1 (Tesla P40 at 0000:af:00.0) is lost: its settings can be neither read nor set"
    (tmp_path / "nvml/gpu1/lost").unlink()
    (tmp_path / "nvml/calls").mkdir(exist_ok=True)
    (tmp_path / "nvml/calls/nvmlDeviceSetPowerManagementLimit").write_text("error 4\n")
    (refused,) = steps(tmp_path, (reader, {"power_limit_watts": 200.0}))
    assert refused.startswith("ActionError: power_limit_watts of GPU 0 (Tesla P40 at 0000:3b:00.0) cannot be set: ")
    assert "permission" in refused.lower()


HEAD = "0, GPU-0, 00000000:3B:00.0, Tesla P40, "


@pytest.mark.parametrize(
    "row, key, value, reason",
    [
        ("Enabled, 250.00, 125.00, 250.00, Default, Enabled, Enabled, 3615, 1303, 3615, 1531, 28", "power_limit_watts", 250.0, None),
        ("Enabled, [N/A], [N/A], [N/A], Exclusive_Process, [N/A], [N/A], [N/A], [N/A], 3615, 1531, 28", "power_limit_watts", None, "not supported"),
        ("Enabled, [Not Supported], 1, 1, Prohibited, [N/A], [N/A], [N/A], [N/A], 3615, 1531, 28", "power_limit_watts", None, "not supported"),
        ("[Unknown Error], 250.00, 125.00, 250.00, Default, Enabled, Enabled, 1, 1, 1, 1, 28", "persistence_mode", None, "Unknown Error"),
        ("Enabled, 250.00, 125.00, 250.00, Default, Enabled, Enabled, [Requested functionality has been deprecated], 1, 1, 1, 28", "memory_clock_mhz", None,
         "Requested functionality has been deprecated"),
    ],
)  # fmt: skip
def test_what_nvidia_smi_prints_in_place_of_a_value_is_a_reason(row, key, value, reason):
    _reader, (gpu,) = gpu_settings.read(lambda args, timeout_seconds=None: (0, HEAD + row + "\n", ""), reader="nvidia-smi")
    assert (gpu[key], gpu["unavailable"].get(key), gpu["bus_address"]) == (value, reason, "0000:3b:00.0")


@pytest.mark.parametrize(
    "answer, words",
    [
        ((127, "", "not found"), "nvidia-smi is not installed"),
        ((124, "", ""), "no answer within 20 s"),
        ((9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", ""), "couldn't communicate with the NVIDIA driver. (rc 9)"),
        ((0, "", ""), "no output (rc 0)"),
        ((0, "No devices were found\n", ""), "No devices were found (rc 0)"),
    ],
)
def test_no_answer_is_one_line(answer, words):
    with pytest.raises(EvidenceError, match="the settings of the GPUs cannot be read through nvidia-smi: ") as raised:
        gpu_settings.read(lambda args, timeout_seconds=None: answer, reader="nvidia-smi")
    assert str(raised.value).endswith(words)


def test_a_setter_that_hangs_is_given_up():
    change = {"uuid": "GPU-0", "who": "GPU 0", "setting": "ecc_mode", "option": "-e", "word": "1"}
    with pytest.raises(ActionError, match="ecc_mode of GPU 0 cannot be set: no answer within 20 s"):
        setting.apply(lambda args, timeout_seconds=None: (124, "", ""), "nvidia-smi", [change])


def test_files_are_written_whole_and_removed_with_their_folder(tmp_path):
    one, two = tmp_path / "a/x", tmp_path / "b/y"
    keeping.write({str(one): "text\n", str(two): None}, os.replace, str(tmp_path))
    assert one.read_text() == "text\n" and one.stat().st_mode & 0o777 == 0o644
    keeping.write({str(one): None}, os.replace, str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    two.parent.write_text("in the way")
    with pytest.raises(ActionError, match="y cannot be written: "):
        keeping.write({str(two): "text"}, os.replace, str(tmp_path))


def test_a_unit_that_does_not_start_is_told_with_its_log():
    answers = {"systemctl": (1, "", "Job for x.service failed.\n"), "journalctl": (0, "Power limit refused\nx.service: Failed\n", "")}
    with pytest.raises(ActionError, match=r"systemctl restart x.service fails: Job for x.service failed. \(log: Power limit refused x.service: Failed\)"):
        keeping.systemctl(lambda args, timeout_seconds=None: answers[args[0]], "restart", "x.service")
