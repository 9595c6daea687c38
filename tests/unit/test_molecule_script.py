"""scripts/molecule.py with a stand-in for Molecule: two at a time, the whole output of a failure, both ended when interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = sorted(path.parent.name for path in ROOT.glob("molecule/*/molecule.yml"))
STAND_IN = """#!/bin/sh
# molecule COMMAND -s SCENARIO
echo "begin $1 $3" >>"$NOTES"
[ "$1" = destroy ] || sleep "$SECONDS_EACH"
echo "end $1 $3" >>"$NOTES"
echo "output of $3, first line"
echo "output of $3, last line"
[ "$3" != "$FAULTY" ]
"""


@pytest.fixture
def start(tmp_path):
    """Starts the script, with what the stand-in is to do; returns the process."""
    program = tmp_path / "bin" / "molecule"
    program.parent.mkdir()
    program.write_text(STAND_IN)
    program.chmod(0o755)
    started = []

    def run(*names, seconds="0.3", faulty="none"):
        path = f"{program.parent}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "NOTES": str(tmp_path / "notes"), "SECONDS_EACH": seconds, "FAULTY": faulty}
        command = [sys.executable, str(ROOT / "scripts" / "molecule.py"), *names]
        # A shell starts what it puts into the background without SIGINT, and that is handed down.
        heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **heard))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def notes(tmp_path):
    path = tmp_path / "notes"
    return path.read_text().splitlines() if path.exists() else []


def test_all_scenarios_run_two_at_a_time(start, tmp_path):
    process = start()
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0 and f"all {len(SCENARIOS)} passed" in output and "first line" not in output
    assert sorted(line.split()[2] for line in notes(tmp_path) if line.startswith("end")) == SCENARIOS
    running = most = 0
    for line in notes(tmp_path):
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    assert most == 2


def test_a_failure_is_shown_whole_and_the_others_run(start, tmp_path):
    faulty = SCENARIOS[0]
    process = start(faulty=faulty)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and f"failed: {faulty}\n" in output
    assert f"output of {faulty}, first line\noutput of {faulty}, last line\n" in output and output.count("first line") == 1
    assert len([line for line in notes(tmp_path) if line.startswith("end")]) == len(SCENARIOS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_ends_both_and_takes_their_servers_down(start, tmp_path, number):
    process = start(seconds="60")
    until = time.monotonic() + 30
    while len(notes(tmp_path)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    begun = time.monotonic()
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 130 and "interrupted" in output and time.monotonic() - begun < 25
    tested = {line.split()[2] for line in notes(tmp_path) if line.startswith("begin test")}
    assert len(tested) == 2 and {line.split()[2] for line in notes(tmp_path) if line.startswith("end destroy")} == tested
    assert not [line for line in notes(tmp_path) if line.startswith("end test")]


def test_an_unknown_scenario_is_named(start):
    process = start("none-such")
    assert "no such scenario: none-such; there are: default" in process.communicate(timeout=30)[0] and process.returncode == 1
