"""What modules cost on the target, as the target itself sees it: an interpreter that notes every module that it ran."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.node.node import Node

INTERPRETER = "/usr/local/bin/metered-python3"
_LOG = "/run/bench.jsonl"

# Runs the real interpreter and notes what the child cost (getrusage(2), RUSAGE_CHILDREN; ru_maxrss is in KiB). Needs a connection without pipelining:
# with it a module comes through standard input, and its name is not among the arguments.
_PROGRAM = f"""#!/usr/bin/python3
import json, os, resource, subprocess, sys
code = subprocess.call(["/usr/bin/python3"] + sys.argv[1:])
cost = resource.getrusage(resource.RUSAGE_CHILDREN)
modules = [part.split("AnsiballZ_")[-1].split(".py")[0] for part in sys.argv if "AnsiballZ_" in part]
if modules:
    with open("{_LOG}", "a") as log:
        log.write(json.dumps({{"module": modules[0], "cpu_seconds": cost.ru_utime + cost.ru_stime, "peak_mib": cost.ru_maxrss / 1024}}) + "\\n")
sys.exit(code)
"""


def install(node: Node) -> None:
    """Put the interpreter into the node, and forget what an earlier one noted."""
    node.write(INTERPRETER, _PROGRAM)
    node.run("chmod", "755", INTERPRETER)
    # Written by whoever the connection logs in as.
    node.write(_LOG, "")
    node.run("chmod", "666", _LOG)


def noted(node: Node) -> list[dict[str, Any]]:
    """The modules that ran on the node since `install`, in order: `module` (short name), `cpu_seconds`, `peak_mib`."""
    return [json.loads(line) for line in node.read(_LOG).splitlines()]
