"""The record of what was stopped: what is read of it, what is refused, and how it is written."""

from __future__ import annotations

import json
import os
import stat

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import drain
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import drain_record

SERVICE = {"kind": "service", "name": "nvidia-persistenced.service"}
CONTAINER = {"kind": "container", "name": "ollama", "id": "c2a1", "image": "ollama/ollama:0.17.4", "restart_policy": {"Name": "always", "MaximumRetryCount": 0},
             "restarting": False, "stop_seconds": 10}  # fmt: skip


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "new" / "drain.json"
    assert drain_record.read(str(path)) == []
    drain.write_record(str(path), [CONTAINER])
    drain.write_record(str(path), [CONTAINER, SERVICE])
    assert drain_record.read(str(path)) == [CONTAINER, SERVICE]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and os.listdir(path.parent) == ["drain.json"]
    drain.write_record(str(path), [])
    assert os.listdir(path.parent) == []
    drain.write_record(str(path), [])


def test_a_draft_that_a_run_left_is_no_hindrance(tmp_path):
    (tmp_path / "drain.json.new").write_text("{half")
    drain.write_record(str(tmp_path / "drain.json"), [SERVICE])
    assert drain_record.read(str(tmp_path / "drain.json")) == [SERVICE] and os.listdir(tmp_path) == ["drain.json"]


def test_a_full_disk_leaves_the_record_as_it_was(tmp_path, monkeypatch):
    path = str(tmp_path / "drain.json")
    drain.write_record(path, [SERVICE])

    def full(_number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ActionError, match="drain.json cannot be written: No space left on device"):
        drain.write_record(path, [SERVICE, CONTAINER])
    assert drain_record.read(path) == [SERVICE]


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "null", "{}", '{"version": 1}', '{"version": 2, "stopped": []}', '{"version": 1, "stopped": 5}', '{"version": 1, "stopped": [5]}',
        '{"version": 1, "stopped": [{"kind": "process", "name": "4711"}]}', '{"version": 1, "stopped": [{"kind": "service"}]}',
        '{"version": 1, "stopped": [{"kind": "container", "name": "ollama", "id": "c2a1"}]}',
    ],
)  # fmt: skip
def test_a_record_that_is_not_understood_is_an_error(tmp_path, text):
    path = tmp_path / "drain.json"
    path.write_text(text)
    with pytest.raises(EvidenceError, match="drain.json, is not understood .*: start by hand what it names, then remove it"):
        drain_record.read(str(path))
    assert path.read_text() == text


def test_a_record_that_is_no_file_is_an_error(tmp_path):
    with pytest.raises(EvidenceError, match="the record of what was stopped cannot be read: .*is a directory"):
        drain_record.read(str(tmp_path))


def test_the_union_keeps_how_things_were_at_first():
    later = dict(CONTAINER, restart_policy={"Name": "no", "MaximumRetryCount": 0})
    again = dict(CONTAINER, id="d3b2")  # another container of the same name
    assert drain_record.merge([CONTAINER], [later, SERVICE, again, SERVICE][:3]) == [CONTAINER, SERVICE, again]
    assert drain_record.merge([], []) == []
    # Somebody else has begun to stop it: nobody's to start again, unless an earlier run had.
    ending = dict(SERVICE, ending=True)
    assert drain_record.merge([], [ending]) == [] and drain_record.merge([SERVICE], [ending]) == [SERVICE]


def test_two_runs_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(drain, "LOCK", str(tmp_path / "lock"))
    with drain.locked(), pytest.raises(ActionError, match="another run drains or resumes this host at this moment"), drain.locked():
        pass
    with drain.locked():
        pass


def test_the_record_is_plain_json(tmp_path):
    drain.write_record(str(tmp_path / "drain.json"), [SERVICE])
    assert json.loads((tmp_path / "drain.json").read_text()) == {"version": 1, "stopped": [SERVICE]}
