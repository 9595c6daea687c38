"""Merging into a daemon.json: whatever was in it stays, and the second run finds nothing to do."""

from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.docker_daemon_plan import FilterModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.daemon_json import merge, plan, read
from hypothesis import given
from hypothesis import strategies as some

NVIDIA = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "args": []}}}
FOREIGN = """{
    "log-driver": "json-file",
    "log-opts": {"max-size": "10m"},
    "runtimes": {"kata": {"path": "/usr/bin/kata-runtime"}},
    "features": {"buildkit": true}
}"""

leaves = some.none() | some.booleans() | some.integers() | some.floats(allow_nan=False, allow_infinity=False) | some.text(max_size=6)
values = some.recursive(leaves, lambda below: some.lists(below, max_size=3) | some.dictionaries(some.text(max_size=6), below, max_size=3), max_leaves=8)
files = some.dictionaries(some.text(max_size=6) | some.sampled_from(["runtimes", "features", "log-opts", "labels"]), values, max_size=5)
# Settings that a user gives have no null in them where nothing is to be removed.
set_leaves = some.booleans() | some.integers() | some.text(max_size=6)
set_values = some.recursive(set_leaves, lambda below: some.lists(below, max_size=3) | some.dictionaries(some.text(max_size=6), below, max_size=3), max_leaves=6)
settings = some.dictionaries(some.text(max_size=6) | some.sampled_from(["runtimes", "features", "log-opts", "labels"]), set_values, max_size=3)
layouts = some.sampled_from([None, 1, 2, 4, "\t"])


def kept(before, after, asked):
    """Everything of `before` that was not asked to be something else is in `after`."""
    for key, value in before.items():
        if key not in asked:
            assert json.dumps(after[key], sort_keys=True) == json.dumps(value, sort_keys=True)
        elif isinstance(value, dict) and isinstance(asked[key], dict):
            kept(value, after[key], asked[key])


def holds(after, asked):
    """Everything that was asked for is in `after`."""
    for key, value in asked.items():
        if isinstance(value, dict):
            holds(after[key], value)
        else:
            assert json.dumps(after[key], sort_keys=True) == json.dumps(value, sort_keys=True)


@given(files, settings, layouts, some.booleans())
def test_any_valid_file_keeps_what_is_in_it_and_the_second_run_finds_nothing_to_do(before, asked, indent, ascii_only):
    text = json.dumps(before, indent=indent, ensure_ascii=ascii_only)
    first = plan(text, asked)
    assert first["problem"] == ""
    after = json.loads(first["text"])
    kept(before, after, asked)
    holds(after, asked)
    assert list(after)[: len(before)] == list(before)
    assert first["changed"] == (json.dumps(after, sort_keys=True) != json.dumps(before, sort_keys=True))
    assert first["changed"] or first["text"] == text
    second = plan(first["text"], asked)
    assert (second["changed"], second["action"], second["text"]) == (False, "none", first["text"])


@given(some.text(max_size=40) | values.map(json.dumps), settings)
def test_any_other_file_is_reported_and_stays_as_it_is(text, asked):
    try:
        valid = text.strip() == "" or isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        valid = False
    answer = plan(text, asked)
    if not valid:
        assert answer["problem"] or text.lstrip("\ufeff").strip() == "" or isinstance(json.loads(text.lstrip("\ufeff")), dict)
    if answer["problem"]:
        assert (answer["text"], answer["changed"], answer["action"]) == (text, False, "none")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON: Expecting property name"),
        ('{"debug": true,}', "not valid JSON"),
        ('{\n  // comment\n  "debug": true\n}', "not valid JSON"),
        ("[]", "holds no JSON object"),
        ('"text"', "holds no JSON object"),
        ("null", "holds no JSON object"),
        ('{"debug": true, "debug": false}', "has the key debug twice"),
        ('{"log-opts": {"a": "1", "a": "2"}}', "has the key a twice"),
        ('{"mtu": NaN}', "NaN is no number"),
        (b'{"labels": ["\xfc"]}'.decode("utf-8", "surrogateescape"), "not text in UTF-8"),
        ('{"mtu": 1e999}', "the number 1e999 is too large"),
        ('{"a":' * 100000, "nested too deep"),
    ],
)
def test_files_that_are_not_merged_into(text, words):
    answer = plan(text, NVIDIA)
    assert words in answer["problem"] and (answer["text"], answer["changed"]) == (text, False)


@pytest.mark.parametrize("text", [None, "", " \n", "{}", "\ufeff{}"])
def test_a_file_that_says_nothing(text):
    answer = plan(text, NVIDIA)
    assert json.loads(answer["text"]) == NVIDIA and answer["action"] == "reload"
    assert plan(text, {})["changed"] is False


@pytest.mark.parametrize(
    ("text", "asked", "action", "reload_keys", "restart_keys"),
    [
        (FOREIGN, NVIDIA, "reload", ["runtimes"], []),
        (FOREIGN, {"features": {"cdi": True}}, "restart", [], ["features"]),
        (FOREIGN, {"features": {"buildkit": False}}, "reload", ["features"], []),
        (FOREIGN, {"log-opts": {"max-size": "10m"}}, "none", [], []),
        (FOREIGN, {"log-opts": {"max-size": "20m"}, "live-restore": True}, "restart", ["live-restore"], ["log-opts"]),
        (FOREIGN, {"labels": ["a=b"], "live-restore": True}, "reload", ["labels", "live-restore"], []),
        ('{"log-level": "info"}', {"log-level": "warn"}, "restart", [], ["log-level"]),
        ('{"default-runtime": "nvidia"}', {"default-runtime": None}, "restart", [], ["default-runtime"]),
        ('{"debug": true}', {"default-runtime": None}, "none", [], []),
        ('{"debug": 1}', {"debug": True}, "reload", ["debug"], []),
        ('{"features": null}', {"features": {"cdi": True}}, "restart", [], ["features"]),
        ('{"features": {"cdi": true}}', {"features": {"cdi": None}}, "restart", [], ["features"]),
        ('{"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": ["--debug"]}}}', NVIDIA, "reload", ["runtimes"], []),
    ],
)  # fmt: skip
def test_what_a_change_takes(text, asked, action, reload_keys, restart_keys):
    answer = plan(text, asked)
    assert (answer["action"], answer["reload_keys"], answer["restart_keys"]) == (action, reload_keys, restart_keys)


def test_settings_beside_ours_survive_in_the_layout_of_the_file():
    text = plan(FOREIGN, NVIDIA)["text"]
    settings = read(text)
    assert settings["runtimes"] == {"kata": {"path": "/usr/bin/kata-runtime"}, **NVIDIA["runtimes"]}
    assert list(settings) == ["log-driver", "log-opts", "runtimes", "features"]
    assert text.startswith('{\n    "log-driver"') and text.endswith("}\n")
    assert merge({"a": {"b": 1}}, {"a": {"b": None}}) == {"a": {}}


def test_text_that_utf8_cannot_say_is_escaped():
    assert json.loads(plan('{"labels": ["\\ud800", "\u00fc"]}', {"debug": True})["text"].encode("utf-8"))["labels"] == ["\ud800", "\u00fc"]


def test_the_filter():
    docker_daemon_plan = FilterModule().filters()["docker_daemon_plan"]
    assert docker_daemon_plan(None, {"debug": True})["action"] == "reload"
    with pytest.raises(AnsibleFilterError, match="a dictionary of settings is needed, not str"):
        docker_daemon_plan("{}", "debug")
