"""200 clients at the same time through the balancer of two replicas: does every stream end well, and how soon does it begin."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench import playbook
from tests.bench.runs import SITE
from tests.lab.node import lifecycle
from tests.lab.node.inventory import write_inventory
from tests.lab.ollama import streams
from tests.lab.ollama.build import build_models

NAME = "bench-load"
PORT = 12000
CLIENTS, TOKENS = 200, 16


def measure() -> dict[str, Any]:
    """`clients`, `tokens_each`, `errors`, `cut`, `seconds` until the last stream ended, `first_p50_seconds`, `first_p95_seconds`, `tokens_per_second`.

    The tiny model on the processor of this machine: the figures are those of balancer, servers and network, not of GPUs.
    """
    models = [{"name": "tiny", "upload": str(build_models()["tiny-qwen3"])}]
    instance = {"name": "load", "port": PORT, "topology": "replicas", "models": models}
    lifecycle.up("p40x2", NAME)
    try:
        node = lifecycle.find(NAME)
        with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
            inventory = write_inventory(node, Path(scratch) / "hosts.yml")
            playbook.run("gpuops.fleet.site", "-i", str(inventory), "-i", str(SITE), "-e", json.dumps({"ollama_instances": [instance]}))
        begun = time.monotonic()
        found = streams.ask(node, PORT, "tiny", TOKENS, CLIENTS)
        seconds = time.monotonic() - begun
    finally:
        lifecycle.down(NAME)
    first = [one.first_seconds for one in found if one.first_seconds is not None]
    shares = statistics.quantiles(first, n=20) if len(first) > 1 else [0.0] * 19
    return {
        "clients": len(found),
        "tokens_each": TOKENS,
        "errors": sum(one.status != 200 or bool(one.error) for one in found),
        "cut": sum(one.cut for one in found),
        "seconds": round(seconds, 1),
        "first_p50_seconds": round(shares[9], 2),
        "first_p95_seconds": round(shares[18], 2),
        "tokens_per_second": round(sum(one.tokens for one in found) / seconds),
    }


def line(found: dict[str, Any]) -> str:
    """The result as a line of Markdown."""
    where = f"{found['clients']} streams of {found['tokens_each']} tokens at the same time through HAProxy on two replicas (tiny model, processor)"
    ended = f"{found['errors']} errors, {found['cut']} cut, all ended after {found['seconds']} s"
    times = f"first token p50 {found['first_p50_seconds']} s, p95 {found['first_p95_seconds']} s, {found['tokens_per_second']} tokens/s"
    return f"{where}: {ended}; {times}."
