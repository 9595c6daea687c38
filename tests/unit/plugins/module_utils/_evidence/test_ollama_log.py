"""Every recorded server log, read by the parser, says what its file of expectations says."""
import json
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import ollama_log
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import placement

LOGS = Path(__file__).parents[4] / "fixtures" / "ollama-logs"


@pytest.mark.parametrize("log", sorted(LOGS.glob("*.log")), ids=lambda path: path.stem)
@pytest.mark.parametrize("prefix", ["", "ollama  | "], ids=["plain", "compose"])
def test_recorded_logs(log, prefix):
    expected = json.loads(log.with_suffix("").with_name(log.stem + ".expect.json").read_text())
    text = "\n".join(line if line.startswith("#") else prefix + line for line in log.read_text().splitlines())
    found = ollama_log.parse(text)
    found["verdict"] = placement.conclude(found)
    assert {key: found[key] for key in expected} == expected
