"""What check.yml costs the controller when the fleet grows: the cached facts of one server under many names, judged as a fleet."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.bench import playbook
from tests.bench.runs import CHECK, KNOWN
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory

ONE = "bench-fleet"
NAMES = "gpu%04d"


def measure(sizes: list[int], forks: int) -> list[dict[str, Any]]:
    """One row a size: `hosts`, `seconds`, `cpu_seconds` of the controller, `per_host_seconds`, `per_host_cpu_seconds`, `peak_mib` of its largest process."""
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        folder = Path(scratch)
        facts = _facts(folder / "one")
        return [_replay(folder / str(hosts), facts, hosts, forks) for hosts in sizes]


def _cache(folder: Path) -> dict[str, str]:
    return {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder), "ANSIBLE_CACHE_PLUGIN_TIMEOUT": "0"}


def _facts(folder: Path) -> Path:
    """The cache file of a server with two GPUs, as gpuops.fleet.facts leaves it."""
    lifecycle.up("p40x2", ONE)
    try:
        inventory = write_inventory(lifecycle.find(ONE), folder / "hosts.yml")
        playbook.run("gpuops.fleet.facts", "-i", str(inventory), "-e", json.dumps(KNOWN), **_cache(folder / "facts"))
    finally:
        lifecycle.down(ONE)
    return next((folder / "facts").glob(f"*{ONE}"))


def _replay(folder: Path, facts: Path, hosts: int, forks: int) -> dict[str, Any]:
    cache = folder / "facts"
    cache.mkdir(parents=True)
    names = [NAMES % number for number in range(hosts)]
    for name in names:
        # The cache may put a word of its own before the name.
        shutil.copy(facts, cache / facts.name.replace(ONE, name))
    inventory = folder / "hosts.ini"
    inventory.write_text("\n".join(names) + "\n")
    variables = json.dumps({**KNOWN, "gpu_preflight_from_cache": True})
    arguments = ["-i", str(inventory), "-e", variables, "--forks", str(forks)]
    done = playbook.run(CHECK, *arguments, **_cache(cache), ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default", ANSIBLE_DISPLAY_OK_HOSTS="false")
    judged = len(re.findall(r"unreachable=0\s+failed=0\s", done.output))
    if judged != hosts:
        raise RuntimeError(f"{judged} of {hosts} hosts were judged: {done.output[-2000:]}")
    return {
        "hosts": hosts, "seconds": round(done.seconds, 1), "cpu_seconds": round(done.cpu_seconds, 1),
        "per_host_seconds": round(done.seconds / hosts, 3), "per_host_cpu_seconds": round(done.cpu_seconds / hosts, 3), "peak_mib": round(done.peak_mib),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The rows as lines of Markdown."""
    lines = ["| hosts | s | s a host | controller CPU s | CPU s a host | largest process MiB |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row["hosts"], row["seconds"], row["per_host_seconds"], row["cpu_seconds"], row["per_host_cpu_seconds"], row["peak_mib"])
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines
