"""Runs a module of the collection in this process, as Ansible would, and returns what it prints."""

from __future__ import annotations

import contextlib
import importlib
import json

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.text.converters import to_bytes

try:
    from ansible.module_utils.testing import patch_module_args
except ImportError:  # ansible-core before 2.19
    patch_module_args = None


@contextlib.contextmanager
def patched(params, check_mode=False):
    """Let AnsibleModule find `params`."""
    with pytest.MonkeyPatch.context() as patch:
        # A test of a filter may have loaded the controller's code into this process; a module runs without it, and returns its warnings.
        with contextlib.suppress(ImportError):
            patch.setattr(importlib.import_module("ansible.module_utils._internal"), "is_controller", False, raising=False)
        yield from _with_arguments(params, check_mode)


def _with_arguments(params, check_mode):
    args = dict(params, _ansible_check_mode=check_mode, _ansible_remote_tmp="/tmp", _ansible_keep_remote_files=False)
    if patch_module_args is not None:
        with patch_module_args(args):
            yield
    else:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(basic, "_ANSIBLE_ARGS", to_bytes(json.dumps({"ANSIBLE_MODULE_ARGS": args})))
            yield


def run(capsys, name, check_mode=False, **params):
    """The result of the module `name` with `params`; `failed` is always there."""
    module = importlib.import_module("ansible_collections.gpuops.fleet.plugins.modules.%s" % name)
    with pytest.raises(SystemExit) as end, patched(params, check_mode):
        module.main()
    result = json.loads(capsys.readouterr().out)
    result.setdefault("failed", False)
    assert bool(end.value.code) == result["failed"]
    return result
