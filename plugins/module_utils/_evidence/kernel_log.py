# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This boot's kernel log: the journal, else the kernel's own ring buffer. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import json
import os
import re
import stat
import time
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_events
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import reason

Run = t.Callable[..., t.Tuple[int, str, str]]

# A kernel that boots writes some thousand lines; a host with a noisy driver millions. The newest count.
LINES = 20000
KMSG = "/dev/kmsg"
KMSG_DEVICE = (1, 11)
RECORD_BYTES = 8192
JOURNAL = ("journalctl", "-k", "-b", "-o", "json", "--no-pager", "--output-fields=MESSAGE", "-n", str(LINES))
MICROSECOND = 1e-6


def read(run: Run, root: str = "", timeout_seconds: float = 20) -> t.Tuple[t.Optional[t.List[kernel_events.Event]], str, str]:
    """`(events, source, reason)`: `host.kernel_events` of the facts, or None and why the log cannot be read. Never raises."""
    now = time.monotonic()
    rc, out, err = run(list(JOURNAL), timeout_seconds=timeout_seconds)
    entries, why = journal(out, now) if rc == 0 else (None, "journalctl: rc %d %s" % (rc, err.strip()[:200]))
    source = " ".join(JOURNAL[:3])
    if entries is None:
        source = KMSG
        entries, second = ring_buffer(root + KMSG, now, timeout_seconds)
        why = "%s; %s" % (why, second.replace(root, "", 1) if root else second)
    return (None, "", why) if entries is None else (kernel_events.classify(entries), source, "")


def journal(text: str, now: float) -> t.Tuple[t.Optional[t.List[kernel_events.Entry]], str]:
    """Entries `{seconds_ago, text}` that may concern GPUs from the output of `journalctl -o json`; `now` in seconds of CLOCK_MONOTONIC.

    None and the reason when it holds no message at all (every kernel logs its start, so the journal is closed to this user or not kept),
    or a line that is no record: nobody knows what it would have told.
    """
    entries = []
    messages = 0
    # Not splitlines: a message may hold characters that it takes for the end of a line.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("-- "):
            continue
        try:
            record = json.loads(line)
            message, stamp = record["MESSAGE"], record["__MONOTONIC_TIMESTAMP"]
        except (ValueError, TypeError, KeyError, RecursionError):
            stamp = None
        if not re.match(r"[0-9]{1,18}\Z", str(stamp)):
            return None, "journalctl: line %d is no record: %.60s" % (number, " ".join(line.split()))
        # null stands for a message that is too long to be shown, which no message of the kernel is.
        words = _text(message)
        messages += bool(words)
        if kernel_events.relevant(words):
            entries.append({"seconds_ago": _ago(now, int(stamp)), "text": words})
    return (entries, "") if messages else (None, "journalctl shows no message of the kernel")


def _text(message: t.Any) -> str:
    if isinstance(message, list):
        return bytes(one for one in message if isinstance(one, int) and 0 <= one < 256).decode("utf-8", "replace")
    return message if isinstance(message, str) else ""


def _ago(now: float, microseconds: int) -> int:
    return max(0, int(now - microseconds * MICROSECOND))


def ring_buffer(path: str, now: float, timeout_seconds: float) -> t.Tuple[t.Optional[t.List[kernel_events.Entry]], str]:
    """Entries from /dev/kmsg (Documentation/ABI/testing/dev-kmsg), or None and the reason."""
    try:
        # In a container something else may stand at this place, and reading a pipe would take its lines from whom they are for.
        status = os.stat(path)
        if not stat.S_ISCHR(status.st_mode) or (os.major(status.st_rdev), os.minor(status.st_rdev)) != KMSG_DEVICE:
            return None, "%s is not the kernel's log" % path
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return None, reason(path, error)
    try:
        entries = records(_record_reader(number, time.monotonic() + timeout_seconds), now)
        return entries, "" if entries is not None else "%s holds no message" % path
    except OSError as error:
        return None, reason(path, error)
    finally:
        os.close(number)


def _record_reader(number: int, deadline: float) -> t.Iterator[bytes]:
    for _line in range(LINES):
        if time.monotonic() > deadline:
            return
        try:
            record = os.read(number, RECORD_BYTES)
        except BlockingIOError:
            return
        except BrokenPipeError:
            continue  # overwritten while it was read: the next read goes on with the oldest that is left
        if not record:
            return
        yield record


def records(found: t.Iterable[bytes], now: float) -> t.Optional[t.List[kernel_events.Entry]]:
    """Entries `{seconds_ago, text}` that may concern GPUs from records of /dev/kmsg: `priority,number,microseconds,flags;message`.

    None when there is no record: a kernel that says nothing at all was not heard.
    """
    entries = []
    messages = 0
    for record in found:
        head, separator, message = record.decode("utf-8", "replace").split("\n", 1)[0].partition(";")
        fields = head.split(",")
        if not separator or len(fields) < 3 or not all(re.match(r"[0-9]{1,18}\Z", field) for field in fields[:3]):
            continue
        messages += 1
        if not kernel_events.relevant(message):
            continue
        text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda match: chr(int(match.group(1), 16)), message)
        entries.append({"seconds_ago": _ago(now, int(fields[2])), "text": text})
    return entries if messages else None
