"""The owner of AnsibleModule."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._module import CHECK_ARGUMENTS, FleetModule

from tests.unit.module_runner import patched


@pytest.fixture
def fleet():
    with patched({}):
        yield FleetModule(CHECK_ARGUMENTS)


def test_a_program_that_does_not_exist_is_rc_127(fleet):
    rc, out, err = fleet.run_command(["/nonexistent/program"])
    assert (rc, out) == (127, "") and "/nonexistent/program" in err
    assert fleet.run_command(["/nonexistent/program"], timeout_seconds=5)[0] == 127


def test_a_program_that_hangs_is_killed_and_is_rc_124(fleet):
    assert fleet.run_command(["sleep", "30"], timeout_seconds=0.1)[0] == 124


def test_a_program_that_ignores_the_end_is_killed_all_the_same(fleet):
    assert fleet.run_command(["sh", "-c", "trap '' TERM; sleep 30; sleep 30"], timeout_seconds=0.1)[0] == 124


def test_programs_speak_the_language_of_the_readers(fleet, monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert fleet.run_command(["printenv", "LC_ALL"])[1] == "C\n"


def test_an_error_of_the_collection_fails_the_task_with_details(fleet, capsys):
    def broken(_fleet):
        raise ServiceError("Docker did\nnot answer", socket="/run/docker.sock")

    with pytest.raises(SystemExit) as end:
        fleet.run(broken)
    result = json.loads(capsys.readouterr().out)
    assert end.value.code == 1 and result["msg"] == "Docker did not answer"
    assert result["error"] == {"kind": "service", "socket": "/run/docker.sock"}


def test_an_error_of_another_kind_is_a_bug_and_is_not_hidden(fleet):
    with pytest.raises(ZeroDivisionError):
        fleet.run(lambda _fleet: 1 / 0)


def test_nothing_checked_is_unknown_and_can_fail(fleet, capsys):
    with pytest.raises(SystemExit):
        fleet.finish_checks([])
    assert json.loads(capsys.readouterr().out)["status"] == "unknown"
    with pytest.raises(SystemExit) as end:
        fleet.finish_checks([], fail_on=["unknown"])
    assert end.value.code == 1 and json.loads(capsys.readouterr().out)["msg"] == "nothing was checked"


def test_a_missing_library_is_named(fleet, capsys):
    fleet.require_library("json", None)
    with pytest.raises(SystemExit):
        fleet.require_library("docker", "Traceback: no module named docker")
    result = json.loads(capsys.readouterr().out)
    assert "docker" in result["msg"] and result["error"] == {"kind": "library", "library": "docker"}
