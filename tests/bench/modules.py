"""`gpu_facts` beside `ping` and `setup` on one node, through Docker and through SSH."""

from __future__ import annotations

import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import meter, playbook
from tests.bench.ssh import open_ssh
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

MODULES = {"ping": "ansible.builtin.ping", "setup": "ansible.builtin.setup", "gpu_facts": "gpuops.fleet.gpu_facts"}
# What gpu_facts may cost, in wall time over the same connection.
LIMITS = {"ping": 1.5, "setup": 0.5}


def measure(profile: str, runs: int) -> dict[str, Any]:
    """Per connection, per module: median wall seconds; per module: median CPU seconds and highest peak memory in MiB on the target."""
    name = f"bench-{profile}"
    lifecycle.up(profile, name)
    try:
        node = lifecycle.find(name)
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            folder = Path(scratch)
            through = {"docker": write_inventory(node, folder / "docker.yml"), "ssh": open_ssh(node, folder)}
            wall = {connection: _wall(inventory, folder, runs) for connection, inventory in through.items()}
            meter.install(node)
            _wall(through["docker"], folder, max(3, runs // 3), meter.INTERPRETER)
            cost = meter.noted(node)
    finally:
        lifecycle.down(name)
    return {"wall_seconds": wall, "cost": {module: _cost(cost, module) for module in MODULES}}


def _wall(inventory: Path, folder: Path, runs: int, interpreter: str = "/usr/bin/python3") -> dict[str, float]:
    """Median wall seconds of `runs` executions of each module, as the controller sees them (start and end of the task).

    The modules take turns, so that whatever else the machine does meets all of them; a first round that is not counted warms caches up.
    """
    tasks = [{"name": short, module: {}} for _round in range(runs + 1) for short, module in MODULES.items()]
    play = [{"name": "bench", "hosts": "all", "gather_facts": False, "vars": {"ansible_python_interpreter": interpreter}, "tasks": tasks}]
    path = folder / "play.json"
    path.write_text(json.dumps(play))
    done = playbook.run(str(path), "-i", str(inventory))
    found: dict[str, list[float]] = {short: [] for short in MODULES}
    for task in done.result["plays"][0]["tasks"][len(MODULES) :]:
        found[task["task"]["name"]].append(playbook.task_seconds(task["task"]["duration"]))
    return {short: round(statistics.median(seconds), 3) for short, seconds in found.items()}


def _cost(rows: list[dict[str, Any]], module: str) -> dict[str, float]:
    of_module = [row for row in rows if row["module"] == module]
    return {
        "cpu_seconds": round(statistics.median(row["cpu_seconds"] for row in of_module), 3),
        "peak_mib": round(max(row["peak_mib"] for row in of_module), 1),
    }


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """The results by profile as lines of Markdown."""
    lines = ["| profile | connection | module | wall s | × ping | × setup | CPU s | peak MiB |", "|---|---|---|---|---|---|---|---|"]
    for profile, found in results.items():
        for connection, wall in found["wall_seconds"].items():
            for module, seconds in wall.items():
                cost = found["cost"][module]
                ratios = f"{seconds / wall['ping']:.2f} | {seconds / wall['setup']:.2f}"
                lines.append(f"| {profile} | {connection} | {module} | {seconds:.3f} | {ratios} | {cost['cpu_seconds']:.3f} | {cost['peak_mib']:.1f} |")
    return lines
