"""Cost of `gpu_facts` beside `ping` and `setup`, of a check of one server and of a fleet, of a site run that changes nothing, and replicas under load.

Usage: python3 -m tests.bench [modules] [check] [fleet] [site] [load] [--runs 10] [--hosts 50 100 250 500] [--forks 5] [--output bench]
Without a name all parts. Writes OUTPUT/bench.json and OUTPUT/bench.md and prints the latter.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.bench import fleet, load, modules, runs

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("modules", "check", "fleet", "site", "load")
PROFILES = ("p40x2", "h100x8")


def report(results: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines: list[str] = []
    if "modules" in results:
        lines += [*modules.table(results["modules"]), ""]
    lines += [line for one in runs.lines(results) for line in (one, "")]
    if "load" in results:
        lines += [load.line(results["load"]), ""]
    if "fleet" in results:
        lines += ["`check.yml` from the fact cache:", "", *fleet.table(results["fleet"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--hosts", type=int, nargs="+", default=[50, 100, 250, 500])
    parser.add_argument("--forks", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "bench")
    options = parser.parse_args()
    parts = options.parts or PARTS
    results: dict[str, Any] = {}
    if "modules" in parts:
        results["modules"] = {profile: modules.measure(profile, options.runs) for profile in PROFILES}
    if "check" in parts:
        results["check"] = runs.check()
    if "fleet" in parts:
        results["fleet"] = fleet.measure(options.hosts, options.forks)
    if "site" in parts:
        results["site"] = runs.site()
    if "load" in parts:
        results["load"] = load.measure()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    (options.output / "bench.md").write_text(report(results))
    print(report(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
