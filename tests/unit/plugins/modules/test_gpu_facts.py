"""gpu_facts as Ansible runs it: arguments in, JSON out, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import yaml
from ansible_collections.gpuops.fleet.plugins.modules import gpu_facts

RUN = """
import sys
sys.path.insert(0, %r)
import tests.unit.conftest
from ansible.module_utils import basic
try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:
    basic._ANSIBLE_ARGS = sys.argv[1].encode()
    from ansible_collections.gpuops.fleet.plugins.modules import gpu_facts
    gpu_facts.main()
else:
    import json
    from ansible_collections.gpuops.fleet.plugins.modules import gpu_facts
    with patch_module_args(json.loads(sys.argv[1])["ANSIBLE_MODULE_ARGS"]):
        gpu_facts.main()
"""


def run(**parameters):
    root = os.path.abspath(os.path.join(os.path.dirname(gpu_facts.__file__), "..", ".."))
    code = RUN % root
    done = subprocess.run([sys.executable, "-c", code, json.dumps({"ANSIBLE_MODULE_ARGS": parameters})], capture_output=True, text=True, check=False, cwd=root)
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def test_facts_of_this_machine():
    result = run(timeout_seconds=5)
    facts = result["ansible_facts"]["gpu"]
    assert result["changed"] is False and set(facts) == {"count", "devices", "driver", "host"}
    assert facts["count"] == len(facts["devices"]) and facts["host"]["kernel_release"] == os.uname().release


def test_check_mode_and_subsets():
    result = run(_ansible_check_mode=True, gather_subset=["pci"], reader="none")
    assert result["ansible_facts"]["gpu"]["driver"]["unavailable"]["packages"] == "not gathered"


@pytest.mark.parametrize(
    "parameters, message", [({"timeout_seconds": 0}, "timeout_seconds is 0, but must be at least 1"), ({"reader": "x"}, "value of reader must be one of")]
)
def test_refused_arguments(parameters, message):
    result = run(**parameters)
    assert result["failed"] is True and message in result["msg"]


def test_arguments_and_documentation_agree():
    documented = yaml.safe_load(gpu_facts.DOCUMENTATION)["options"]
    assert {name: {key: option.get(key) for key in ("type", "elements", "choices", "default")} for name, option in documented.items()} == {
        name: {key: option.get(key) for key in ("type", "elements", "choices", "default")} for name, option in gpu_facts.ARGUMENTS.items()
    }
