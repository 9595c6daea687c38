"""Both ways to NVML, asked on the same simulated machines: every value has to be the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.lab.cache import cached
from tests.lab.nvml import build
from tests.unit.gpu_machine import driver, machine

VERSION = "580.95.05"
ROOT = os.path.abspath(os.path.join(os.path.dirname(build.__file__), "../../.."))

# Reads the facts twice in one process; a process of its own because the dynamic linker looks for libraries where it was told at its start.
READ = """
import json, subprocess, sys
import tests.unit.conftest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.gpu import read_gpu
def run(args, timeout_seconds=None):
    try:
        done = subprocess.run(args, capture_output=True, text=True, timeout=timeout_seconds, check=False)
    except FileNotFoundError as error:
        return 127, "", str(error)
    except subprocess.TimeoutExpired:
        return 124, "", ""
    return done.returncode, done.stdout, done.stderr
root, timeout_seconds, *subsets = sys.argv[1:]
readers = ("pynvml", "nvidia_smi")
print(json.dumps([read_gpu(run, reader=reader, root=root, timeout_seconds=int(timeout_seconds), gather_subset=subsets) for reader in readers]))
"""

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build the NVML double with")


def user_space(out):
    build.build(VERSION, out)
    build.link(out)


def both(root, timeout_seconds=10, path=None, subsets=("pci", "driver", "devices", "inforom", "topology")):
    """The facts that pynvml gives, and those that nvidia-smi gives."""
    tree = cached("nvml-user-space", [VERSION, *build.sources()], user_space)
    environment = dict(os.environ, PYTHONPATH=path or "", LD_LIBRARY_PATH=str(tree / build.LIBRARY_DIRECTORY), LAB_NVML_STATE=str(root / "nvml"),
                       PATH="%s:%s" % (tree / "usr/bin", os.environ["PATH"]))  # fmt: skip
    command = [sys.executable, "-c", READ, str(root), str(timeout_seconds), *subsets]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def differences(left, right, prefix=""):
    """{dotted field: (left, right)} where the values are not the same."""
    if isinstance(left, dict) and isinstance(right, dict):
        found = {}
        for key in set(left) | set(right):
            found.update(differences(left.get(key), right.get(key), ("%s.%s" % (prefix, key)).lstrip(".")))
        return found
    return {} if left == right else {prefix: (left, right)}


# From Ada on nvidia-smi prints the distance to these temperatures: there only the binding knows them.
MAY_BE_MISSING = {"temperature.slowdown_celsius", "temperature.shutdown_celsius", "temperature.gpu_max_celsius"}


def assert_same(facts):
    by_binding, by_smi = facts
    assert (by_binding["driver"]["reader"], by_smi["driver"]["reader"]) == ("pynvml", "nvidia-smi"), [one["driver"]["unavailable"] for one in facts]
    assert by_binding["driver"]["cuda_version"] == by_smi["driver"]["cuda_version"] == "13.0"
    assert by_binding["count"] == by_smi["count"]
    for left, right in zip(by_binding["devices"], by_smi["devices"], strict=True):
        assert (left["sources"].pop("nvml"), right["sources"].pop("nvml")) == ("pynvml", "nvidia-smi")
        found = differences(left, right)
        # Plain nvidia-smi, which stumbled over another GPU, leaves it open; it never says the contrary.
        if right["unavailable"].get("inforom_valid", "").startswith("nvidia-smi: rc"):
            found = {field: pair for field, pair in found.items() if field.replace("unavailable.", "") != "inforom_valid"}
        missing = {field for field in MAY_BE_MISSING if left["architecture"] == "hopper" and found.get(field, (0, 0))[1] is None}
        assert not {field: pair for field, pair in found.items() if field.replace("unavailable.", "") not in missing}
    assert by_binding["host"] == by_smi["host"]


@pytest.mark.parametrize("profile", ["p40x1", "p40x2", "p40x2-lost", "p40x2-above4g-off", "p40x2-aspm-on", "h100x8", "mixed"])
def test_every_profile(tmp_path, profile):
    hardware = machine(tmp_path, profile)
    driver(tmp_path)
    facts = both(tmp_path)
    assert facts[0]["count"] == len(hardware["gpus"]) and {one["state"] for one in facts[0]["devices"]} <= {"ok", "lost"}
    assert_same(facts)


@pytest.mark.parametrize(
    "attributes",
    [
        {"memory_used_mib": 4302, "power_usage_mw": 243217, "temperature_gpu_c": 83, "pcie_replay_counter": 12, "utilization_gpu": 99, "persistence_mode": 1},
        {"ecc_mode": 1, "ecc_mode_pending": 0, "ecc_volatile_uncorrected": 2, "ecc_aggregate_corrected": 7, "retired_pages_single_bit": 3,
         "retired_pages_double_bit": 2, "retired_pages_pending": 1},
        {"compute_mode": 3, "event_reasons": "0x88", "power_limit_mw": 187500},
        {"power_usage_mw": "error 3", "temperature_gpu_c": "error 999", "serial": "error 3", "ecc_mode": "error 3", "memory_total_mib": "error 4"},
        {"temperature_gpu_c": "error 15"},
        {"inforom_valid": "error 14", "virtualization_mode": 1},
        {"inforom_image_version": "error 3", "inforom_valid": "error 3", "virtualization_mode": 3, "temperature_gpu_max_c": 90, "temperature_memory_c": 71},
    ],
)  # fmt: skip
def test_values_and_refusals(tmp_path, attributes):
    machine(tmp_path, "p40x2")
    driver(tmp_path)
    for name, value in attributes.items():
        assert (tmp_path / "nvml/gpu1" / name).exists(), "the double has no attribute of this name"
        (tmp_path / "nvml/gpu1" / name).write_text("%s\n" % value)
    assert_same(both(tmp_path))


@pytest.mark.parametrize("code, words", [(9, "not loaded"), (18, "different versions"), (999, "unknown error")])
def test_both_say_why_nvml_does_not_start(tmp_path, code, words):
    machine(tmp_path, "p40x2")
    driver(tmp_path)
    for name in ("nvmlInit_v2", "nvmlInitWithFlags"):
        (tmp_path / "nvml/calls" / name).write_text("error %d\n" % code)
    for facts in both(tmp_path):
        assert facts["driver"]["reader"] is None and words in facts["driver"]["unavailable"]["reader"].lower()
        assert [one["state"] for one in facts["devices"]] == ["unknown", "unknown"] and facts["devices"][0]["bar1"]["size_mib"] == 32768


def test_a_gpu_that_hangs_costs_the_time_out_and_only_what_it_would_have_said(tmp_path):
    machine(tmp_path, "p40x2")
    driver(tmp_path)
    (tmp_path / "nvml/gpu1/temperature_gpu_c").write_text("hang 60\n")
    by_binding, by_smi = both(tmp_path, timeout_seconds=2)
    assert [one["state"] for one in by_binding["devices"]] == ["ok", "unknown"] and by_binding["devices"][0]["memory"]["total_mib"] == 23040
    assert by_binding["driver"]["unavailable"]["devices"] == "NVML: no answer within 2 s"
    assert [one["state"] for one in by_smi["devices"]] == ["unknown", "unknown"] and "no answer within 2 s" in by_smi["driver"]["unavailable"]["reader"]
