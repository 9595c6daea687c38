"""Runs `molecule test` on every scenario, two at a time; prints the whole output of one that fails. Usage: scripts/molecule.py [SCENARIO...].

A scenario's time is mostly spent waiting for its server, so that two share two cores well. Each has a working directory of its own, which Molecule
names after the scenario, and takes down its own server alone. Interrupted, it ends both and takes their servers down.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
AT_A_TIME = 2
# Installs everything and so takes longest: started last it would run alone.
FIRST = "default"
GRACE_SECONDS = 20

_BEGUN = time.monotonic()
_running: dict[str, subprocess.Popen[bytes]] = {}
_lock = threading.Lock()
_ending = threading.Event()


def say(text: str) -> None:
    """Print one line with the seconds since the start."""
    print(f"[molecule {time.monotonic() - _BEGUN:4.0f}s] {text}", flush=True)


def test(scenario: str) -> bool:
    """Run one scenario; returns whether it passed. Its output is shown when it did not."""
    with tempfile.TemporaryFile() as output:
        with _lock:
            if _ending.is_set():
                return False
            say(f"{scenario}: begins")
            begun = time.monotonic()
            # A session of its own: what is pressed at the terminal reaches this program, which ends the scenarios in order.
            process = subprocess.Popen(["molecule", "test", "-s", scenario], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
            _running[scenario] = process
        code = process.wait()
        with _lock:
            if _ending.is_set():
                return False
            del _running[scenario]
            if code:
                output.seek(0)
                say(f"{scenario}: output")
                sys.stdout.buffer.write(output.read())
            say(f"{scenario}: {'failed' if code else 'passed'} in {time.monotonic() - begun:.0f} s")
        return code == 0


def end() -> None:
    """End what runs, and take its servers down."""
    _ending.set()
    with _lock:
        say(f"interrupted; ending {', '.join(_running) or 'nothing'}")
        for process in _running.values():
            _signal(process, signal.SIGINT)
        until = time.monotonic() + GRACE_SECONDS
        for process in _running.values():
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
        for scenario in _running:
            subprocess.run(["molecule", "destroy", "-s", scenario], cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        pass


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(names: list[str]) -> int:
    """Run the scenarios named, or all; returns the exit status."""
    there = sorted((path.parent.name for path in ROOT.glob("molecule/*/molecule.yml")), key=lambda name: (name != FIRST, name))
    unknown = set(names) - set(there)
    if unknown:
        sys.exit(f"no such scenario: {', '.join(sorted(unknown))}; there are: {', '.join(there)}")
    chosen = [name for name in there if not names or name in names]
    signal.signal(signal.SIGTERM, _interrupted)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        try:
            passed = list(pool.map(test, chosen))
        except KeyboardInterrupt:
            end()
            return 130
    failed = [name for name, good in zip(chosen, passed, strict=True) if not good]
    say(f"failed: {', '.join(failed)}" if failed else f"all {len(chosen)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
