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


# Made from the formats of Ollama 0.33: the engine is a llama-server, which prints its buffers twice, for a probe and for the load.
LLAMA_SERVER = """
level=INFO source=types.go:50 msg="inference compute" id=0 filter_id=GPU-aaaaaaaa-0000-4000-8000-000000000000 library=CUDA compute=6.1 name=CUDA0 description="Tesla P40"
level=INFO source=types.go:50 msg="inference compute" id=1 filter_id=GPU-bbbbbbbb-0000-4000-8000-000000000000 library=CUDA compute=6.1 name=CUDA1 description="Tesla P40"
level=INFO msg="starting llama-server" cmd="/usr/lib/ollama/llama-server --model /root/.ollama/models/blobs/sha256-{blob} --port 1 {split}"
[57] 0.01.100 I load_tensors: offloaded 65/65 layers to GPU
[57] 0.01.101 I load_tensors:        CUDA0 model buffer size =     0.00 MiB
[57] 0.01.101 I load_tensors:        CUDA1 model buffer size =     0.00 MiB
[57] 0.03.901 I load_tensors: offloaded 65/65 layers to GPU
[57] 0.03.901 I load_tensors:   CPU_Mapped model buffer size =   417.66 MiB
[57] 0.03.902 I load_tensors:        CUDA0 model buffer size =  9000.00 MiB
[GIN] 2026/11/24 - 22:01:09 | 200 |  50.937µs | 127.0.0.1 | GET      "/api/ps"
[57] 0.03.902 I load_tensors:        CUDA1 model buffer size =  9100.00 MiB
[57] 0.03.903 I llama_kv_cache:      CUDA0 KV buffer size =  2048.00 MiB
[57] 0.03.903 I llama_kv_cache:      CUDA1 KV buffer size =  2048.00 MiB
[57] 0.03.904 I llama_context:       CUDA0 compute buffer size =   100.00 MiB
[57] 0.03.904 I llama_context:   CUDA_Host compute buffer size =    20.00 MiB
"""  # noqa: E501
BLOB = "ab" * 32


@pytest.mark.parametrize(
    ("split", "uuids"),
    [
        ("", {"CUDA0": "GPU-aaaaaaaa-0000-4000-8000-000000000000", "CUDA1": "GPU-bbbbbbbb-0000-4000-8000-000000000000"}),
        # Confined to one GPU, the child calls it CUDA0 whichever it is: better no UUID than a wrong one.
        ("--split-mode none --main-gpu 0", {}),
    ],
)
@pytest.mark.parametrize("prefix", ["", "Nov 24 21:58:44 p40 ollama[812]: ", "2026-11-24T21:58:44.1Z "], ids=["plain", "journal", "docker"])
def test_llama_server(split, uuids, prefix):
    text = "\n".join(prefix + line for line in LLAMA_SERVER.format(blob=BLOB, split=split).splitlines())
    found = ollama_log.parse(text, BLOB)
    assert (found["library"], found["gpus"], found["offloaded"]) == ("CUDA", 2, [65, 65])
    assert found["gpu_bytes"] == {"CUDA0": 11148 * 2**20, "CUDA1": 11148 * 2**20}
    assert found["cpu_model_bytes"] == int(417.66 * 2**20)
    assert found["device_uuids"] == uuids
    assert placement.conclude(found) == "full"
    assert [item["uuid"][:5] for item in found["accepted"]] == ["GPU-a", "GPU-b"]


def test_an_empty_log_tells_nothing():
    found = ollama_log.parse("")
    assert (found["library"], found["accepted"], found["offloaded"], placement.conclude(found)) == (None, None, None, "incomplete")
