# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads that can block, in a child process. Private to gpuops.fleet: the names may change in any release.

A GPU that has fallen off the bus can leave a caller of NVML in a sleep that no signal ends, and a faulty library can crash its
process. So both happen to a child: whatever it has reported until then is kept, and the task goes on.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import typing as t

Emit = t.Callable[[t.Any], None]


class Child:
    """`work(emit)` in a forked process; every `emit(value)` (JSON types) arrives in `results`.

    `timeout_seconds` counts from the start of the child, so several children wait together.
    """

    def __init__(self, work: t.Callable[[Emit], None], timeout_seconds: float):
        self._deadline = time.monotonic() + timeout_seconds
        self._timeout = timeout_seconds
        self._pid = 0
        self._error = ""
        try:
            self._fd, write_end = os.pipe()
            # What is still buffered must not be written twice.
            sys.stdout.flush()
            sys.stderr.flush()
            self._pid = os.fork()
        except OSError as error:
            self._error = "cannot start a process: %s" % error
            return
        if self._pid == 0:
            _run(work, self._fd, write_end)
        os.close(write_end)

    def results(self) -> t.Tuple[t.List[t.Any], str]:
        """What the child emitted, and why nothing more came: "" (it ended well), a time-out, its crash or its error."""
        if not self._pid:
            return [], self._error
        data, ended = self._read()
        if ended:
            error = self._wait()
        else:
            error = "no answer within %g s" % self._timeout
            self._kill()
        values = []
        for line in data.split(b"\n")[:-1]:
            value = json.loads(line.decode("utf-8"))
            if isinstance(value, list):
                values.extend(value)
            else:
                error = error or value
        return values, error

    def _read(self) -> t.Tuple[bytes, bool]:
        parts: t.List[bytes] = []
        try:
            while True:
                ready, _write, _exceptional = select.select([self._fd], [], [], max(0.0, self._deadline - time.monotonic()))
                if not ready:
                    return b"".join(parts), False
                part = os.read(self._fd, 65536)
                if not part:
                    return b"".join(parts), True
                parts.append(part)
        finally:
            os.close(self._fd)

    def _wait(self) -> str:
        # The pipe is closed, the child is about to end; one that hangs in its last system call is left behind.
        for _attempt in range(50):
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                return "crashed with signal %d" % os.WTERMSIG(status) if os.WIFSIGNALED(status) else ""
            time.sleep(0.01)
        self._kill()
        return ""

    def _kill(self) -> None:
        for kill, target in ((os.killpg, self._pid), (os.kill, self._pid)):
            try:
                kill(target, signal.SIGKILL)
            except OSError:
                pass
        # Takes the child away if it died; never waits for one that cannot die.
        time.sleep(0.02)
        try:
            os.waitpid(self._pid, os.WNOHANG)
        except OSError:
            pass


def _run(work: t.Callable[[Emit], None], read_end: int, write_end: int) -> None:
    """The child's whole life. It shares no open file with the task: one that outlives it must not keep the connection open."""
    try:
        os.setsid()
        os.close(read_end)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        try:
            work(lambda value: _write(write_end, [value]))
        except Exception as error:  # a fault of our own: an answer that only looks whole would be worse
            _write(write_end, "%s: %s" % (type(error).__name__, error))
    finally:
        os._exit(0)


def _write(number: int, value: t.Any) -> None:
    """One line: a list of one value, or the text of an error."""
    data = json.dumps(value).encode("utf-8") + b"\n"
    while data:
        data = data[os.write(number, data) :]
