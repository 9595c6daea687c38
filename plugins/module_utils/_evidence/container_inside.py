# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks into a running container of Docker or Podman: its GPUs, and what it may open. Private to gpuops.fleet: the names may change in any release.

As in `_evidence.containers`, everything goes through the engine's command.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.containers import DOCKER, Run, reason_of

# Docker and runc quote a program that is not in the image by ", crun by `.
NO_TIMEOUT = re.compile('["`]timeout["`]')
GPU_LINE = re.compile(r"^(?:GPU|MIG)-[0-9A-Za-z/-]+, ")
LOST = re.compile(r"is lost|Unknown Error")
GPU_NODE = re.compile(r"^nvidia\d+$")
# One line a device: path, tab, what the shell says.
TRY_TO_OPEN = 'for node; do [ -c "$node" ] && printf "%s\\t%s\\n" "$node" "$( (exec 3<>"$node") 2>&1)"; done; true'


def gpus(run: Run, name: str, timeout_seconds: float, engine: str = DOCKER) -> t.Dict[str, t.Any]:
    """The GPUs that a process in the container can use: {`uuids`, `lost`: lists or None, `source`: command, `reason`: why None, `refused`: bool}.

    `lost`: those of `uuids` that do not answer any more (nvidia-smi still names them, and exits with 0).
    `refused`: nvidia-smi ran and reported an error, so processes in the container cannot use their GPUs.
    nvidia-smi is mounted together with the devices; where it is missing, a container without any /dev/nvidiaN has no GPU, and one with such
    nodes stays unknown.
    """
    query = ["nvidia-smi", "--query-gpu=uuid,temperature.gpu", "--format=csv,noheader"]
    source = "%s exec %s %s" % (engine, name, " ".join(query))
    rc, out, err = _limited(run, [engine, "exec", name], query, timeout_seconds)
    lines = [line.strip() for line in out.splitlines() if line.strip()]
    if rc == 0 and lines and all(GPU_LINE.match(line) for line in lines):
        found = dict(line.split(", ", 1) for line in lines)
        return _answer(source, sorted(found), sorted(uuid for uuid, temperature in found.items() if LOST.search(temperature)))
    text = " ".join((out + " " + err).split())
    if rc in (126, 127) and "nvidia-smi" in text:
        nodes = _nodes(run, [engine, "exec", name], timeout_seconds)
        if nodes == []:
            return _answer("%s exec %s ls /dev" % (engine, name), [])
        return _answer(source, None, reason="there is no nvidia-smi in the container" + (", but %s" % ", ".join(nodes) if nodes else ""))
    if "No devices were found" in text:
        return _answer(source, [])
    # 125 to 127 are the engine's own; a program's end by time-out tells nothing about the GPUs.
    return _answer(source, None, reason=reason_of("nvidia-smi", rc, text, timeout_seconds), refused=rc not in (0, 124, 125, 126, 127))


def _limited(run: Run, into: t.List[str], command: t.List[str], timeout_seconds: float) -> t.Tuple[int, str, str]:
    """Run `command` in the container. The time-out is kept inside too: when only the engine's command is killed, a program that hangs stays behind."""
    inside = ["timeout", "-s", "KILL", "%d" % max(1, round(timeout_seconds))]
    rc, out, err = run(into + inside + command, timeout_seconds=timeout_seconds + 5)
    if rc in (126, 127) and NO_TIMEOUT.search(out + err):
        return run(into + command, timeout_seconds=timeout_seconds)
    return (124 if rc == 137 else rc), out, err


def opened(run: Run, name: str, paths: t.Sequence[str], timeout_seconds: float, engine: str = DOCKER) -> t.Tuple[t.Optional[t.Dict[str, str]], str]:
    """What a process in the container is told when it opens each of `paths` (character devices): path to the error, "" without one.

    A device that its control group forbids answers "Operation not permitted"; any other answer comes from the driver, so the group allows it.
    Nothing is read or written. (None, reason) when the container has no shell to try it with.
    """
    if not paths:
        return {}, ""
    rc, out, err = _limited(run, [engine, "exec", name], ["sh", "-c", TRY_TO_OPEN, "sh"] + list(paths), timeout_seconds)
    if rc != 0:
        return None, reason_of("sh", rc, err or out, timeout_seconds)
    found = dict(line.split("\t", 1) for line in out.splitlines() if "\t" in line)
    return {path: error.rsplit(": ", 1)[-1].strip() for path, error in found.items() if path in paths}, ""


def _answer(source: str, uuids: t.Optional[t.List[str]], lost: t.Sequence[str] = (), reason: str = "", refused: bool = False) -> t.Dict[str, t.Any]:
    return {"uuids": uuids, "lost": list(lost), "source": source, "reason": reason, "refused": refused}


def _nodes(run: Run, into: t.List[str], timeout_seconds: float) -> t.Optional[t.List[str]]:
    rc, out, _err = run(into + ["ls", "/dev"], timeout_seconds=timeout_seconds)
    return None if rc != 0 else sorted("/dev/%s" % word for word in out.split() if GPU_NODE.match(word))
