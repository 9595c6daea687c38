"""Cost of `gpu_facts` beside `ping` and `setup`, and of a site run that changes nothing, on simulated servers.

Usage: python3 -m tests.bench [--runs 10] [--output bench] [--skip-site]
Writes OUTPUT/bench.json and OUTPUT/bench.md and prints the table.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("GPUOPS_CACHE", "/var/cache/gpuops-fleet"))
MODULES = {"ping": "ansible.builtin.ping", "setup": "ansible.builtin.setup", "gpu_facts": "gpuops.fleet.gpu_facts"}

# An interpreter for the target that runs the real one and notes what the child cost (getrusage(2), RUSAGE_CHILDREN; ru_maxrss is in KiB).
METER = """#!/usr/bin/python3
import json, os, resource, subprocess, sys
code = subprocess.call(["/usr/bin/python3"] + sys.argv[1:])
cost = resource.getrusage(resource.RUSAGE_CHILDREN)
if any("AnsiballZ" in part for part in sys.argv):
    with open("/run/bench.jsonl", "a") as log:
        log.write(json.dumps({"cpu_seconds": cost.ru_utime + cost.ru_stime, "peak_mib": cost.ru_maxrss / 1024}) + "\\n")
sys.exit(code)
"""


def lab(*arguments: str) -> str:
    """Runs the lab's entry point; progress goes to the terminal, the answer (if any) is returned."""
    return subprocess.run([sys.executable, "-m", "tests.lab", *arguments], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def inventory(name: str) -> str:
    """Path of the inventory that the lab wrote for node NAME."""
    return str(CACHE / "lab" / "inventory" / f"{name}.yml")


def run_tasks(name: str, module: str, runs: int, interpreter: str) -> list[float]:
    """Wall seconds of each of RUNS executions of MODULE on node NAME, as the controller sees them (start and end of the task)."""
    tasks = [{"name": f"run {number}", module: {}} for number in range(runs)]
    play = [{"name": "bench", "hosts": "all", "gather_facts": False, "vars": {"ansible_python_interpreter": interpreter}, "tasks": tasks}]
    playbook = CACHE / "bench-play.json"
    playbook.write_text(json.dumps(play))
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    done = subprocess.run(["ansible-playbook", "-i", inventory(name), str(playbook)], env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return [seconds(task["task"]["duration"]) for task in json.loads(done.stdout)["plays"][0]["tasks"]]


def seconds(duration: dict) -> float:
    """Length of a task in seconds, from the two ISO 8601 times of the JSON callback."""
    from datetime import datetime

    start, end = (datetime.fromisoformat(duration[key].replace("Z", "+00:00")) for key in ("start", "end"))
    return (end - start).total_seconds()


def measure_module(name: str, module: str, runs: int) -> dict:
    """Median wall seconds, median CPU seconds and highest peak memory in MiB of MODULE on node NAME."""
    wall = run_tasks(name, module, runs, "/usr/bin/python3")
    lab("shell", name, "rm", "-f", "/run/bench.jsonl")
    run_tasks(name, module, max(3, runs // 3), "/usr/local/bin/metered-python3")
    rows = [json.loads(line) for line in lab("shell", name, "cat", "/run/bench.jsonl").splitlines() if line.startswith("{")]
    return {
        "wall_seconds": round(statistics.median(wall), 3),
        "cpu_seconds": round(statistics.median(row["cpu_seconds"] for row in rows), 3),
        "peak_mib": round(max(row["peak_mib"] for row in rows), 1),
    }


def measure_modules(profile: str, runs: int) -> dict:
    """The three modules side by side on a node of PROFILE."""
    name = f"bench-{profile}"
    lab("up", profile, "--name", name)
    install = "cat > /usr/local/bin/metered-python3 && chmod 755 /usr/local/bin/metered-python3"
    subprocess.run(["docker", "exec", "-i", f"gpuops-lab-{name}", "sh", "-c", install], input=METER, text=True, check=True)
    result = {short: measure_module(name, module, runs) for short, module in MODULES.items()}
    lab("down", name)
    return result


def measure_site() -> dict:
    """Seconds, remote tasks and changes of a site run on a node that is already as wanted."""
    name = "bench-site"
    lab("up", "p40x2-no-driver", "--name", name)
    command = ["ansible-playbook", "gpuops.fleet.site", "-i", inventory(name), "-i", str(ROOT / "tests" / "lab" / "site")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    environment = dict(os.environ, ANSIBLE_STDOUT_CALLBACK="ansible.posix.json")
    done = json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout)
    lab("down", name)
    stats = next(iter(done["stats"].values()))
    spans = [task["task"]["duration"] for play in done["plays"] for task in play["tasks"]]
    return {
        "seconds": round(seconds({"start": spans[0]["start"], "end": spans[-1]["end"]}), 1),
        "remote_tasks": remote_tasks(done),
        "changed": stats["changed"],
    }


def remote_tasks(result: dict) -> int:
    """Number of task executions that reached the target: those whose action is a module, not one that runs on the controller alone."""
    local = {"assert", "debug", "fail", "set_fact", "include_tasks", "include_role", "import_tasks", "import_role", "include_vars", "meta", "set_stats",
             "validate_argument_spec", "add_host", "group_by", "pause"}
    count = 0
    for play in result["plays"]:
        for task in play["tasks"]:
            for answer in task["hosts"].values():
                if answer.get("skipped") or answer.get("action", "").rsplit(".", 1)[-1] in local:
                    continue
                count += max(1, len([one for one in answer.get("results", []) if not one.get("skipped")]))
    return count


def table(results: dict) -> str:
    """The results as a Markdown table."""
    lines = ["| profile | what | wall s | × ping | CPU s | peak MiB |", "|---|---|---|---|---|---|"]
    for profile, modules in results["modules"].items():
        for short, row in modules.items():
            ratio = row["wall_seconds"] / modules["ping"]["wall_seconds"]
            lines.append(f"| {profile} | {short} | {row['wall_seconds']:.3f} | {ratio:.2f} | {row['cpu_seconds']:.3f} | {row['peak_mib']:.1f} |")
    if "site" in results:
        site = results["site"]
        lines += ["", f"`site.yml` with nothing to do: {site['remote_tasks']} remote tasks, {site['seconds']} s, changed={site['changed']}."]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--output", type=Path, default=ROOT / "bench")
    parser.add_argument("--skip-site", action="store_true")
    options = parser.parse_args()
    results: dict = {"modules": {profile: measure_modules(profile, options.runs) for profile in ("p40x2", "h100x8")}}
    if not options.skip_site:
        results["site"] = measure_site()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "bench.json").write_text(json.dumps(results, indent=2) + "\n")
    (options.output / "bench.md").write_text(table(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
