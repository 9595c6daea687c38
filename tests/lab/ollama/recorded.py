"""An image `ollama/ollama` that prints what a real server on two Tesla P40 printed, and answers as that server did.

A simulated GPU computes nothing, so the real server of the lab always says that it works on the processor. This one replays the log of a load
of qwen3:32b over two GPUs, with the UUIDs of the GPUs that its container really has, and the answers of the API that belong to it. A word in
`/root/.ollama/recorded` (the volume) makes it replay one of the faults instead; it is read when the container starts.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.lab import docker_archive
from tests.lab.cache import cached
from tests.lab.docker_archive import write_archive
from tests.lab.ollama import image
from tests.lab.ollama.server import build_server

REFERENCE = "ollama/ollama:0.17.7"
MODEL = "qwen3:32b"
LOG = Path(__file__).resolve().parents[2] / "fixtures" / "ollama-logs" / "16-synthetic-0.17.4-2xP40-qwen3-32b.log"
UUIDS = ("GPU-00000000-aaaa-4000-8000-000000000000", "GPU-11111111-bbbb-4000-8000-000000000001")
WEIGHTS, DIGEST = "c7" * 32, "03" * 32
SIZE, CONTEXT = 29260000000, 32768
START = [
    'time=T level=INFO source=routes.go:1663 msg="server config" env="map[OLLAMA_CONTEXT_LENGTH:0 OLLAMA_NUM_PARALLEL:1 OLLAMA_SCHED_SPREAD:true http_proxy:]"',
]
LOAD = (
    'time=T level=INFO source=server.go:431 msg="starting runner" '
    f'cmd="/usr/bin/ollama runner --ollama-engine --model /root/.ollama/models/blobs/sha256-{WEIGHTS} --port 43529"'
)
ON_CPU = [
    'time=T level=INFO source=types.go:60 msg="inference compute" id=cpu library=cpu compute="" name=cpu description=cpu total="62.8 GiB" available="60.1 GiB"',
    LOAD,
    'time=T level=INFO source=ggml.go:494 msg="offloaded 0/65 layers to GPU"',
    'time=T level=INFO source=device.go:245 msg="model weights" device=CPU size="18.8 GiB"',
    'time=T level=INFO source=device.go:256 msg="kv cache" device=CPU size="8.0 GiB"',
]
SERVE = f"""#!/bin/sh
# serve, or ps for the health check.
[ "$1" = serve ] || exec wget -q -O /dev/null http://127.0.0.1:11434/api/ps
variant=$(cat /root/.ollama/recorded 2>/dev/null || echo full)
set -- $(nvidia-smi --query-gpu=uuid --format=csv,noheader)
sed -e "s/{UUIDS[0]}/$1/g" -e "s/{UUIDS[1]}/$2/g" "/recorded/$variant.log"
export variant
trap 'exit 0' TERM
nc -ll -p 11434 -e /recorded/answer &
wait
"""
ANSWER = """#!/bin/sh
# One request on standard input, its answer on standard output.
read -r method path _version
length=0
while read -r line && [ "${line%?}" ]; do
    case $line in [Cc]ontent-[Ll]ength:*) length=$(echo "${line#*:}" | tr -d ' \\r') ;; esac
done
[ "$length" = 0 ] || head -c "$length" >/dev/null
name=${path#/api/}
status='200 OK' file=/recorded/$name.json
case $name in ps) file=/recorded/$variant.json ;; esac
[ -f "$file" ] || { status='404 Not Found'; file=/recorded/missing.json; }
printf 'HTTP/1.1 %s\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\nConnection: close\\r\\n\\r\\n' "$status" "$(wc -c <"$file")"
[ "$method" = HEAD ] || cat "$file"
"""
ANSWERS: dict[str, Any] = {
    "version": {"version": "0.17.7"},
    "missing": {"error": "not found"},
    "tags": {"models": [{"name": MODEL, "model": MODEL, "modified_at": "2026-02-27T00:00:00Z", "size": 20201253588, "digest": DIGEST}]},
    "show": {
        "modelfile": f"FROM /root/.ollama/models/blobs/sha256-{WEIGHTS}\n",
        "parameters": f"num_ctx                        {CONTEXT}",
        "template": "{{ .Prompt }}",
        "model_info": {"general.architecture": "qwen3", "qwen3.context_length": 40960},
        "capabilities": ["completion"],
        "tensors": [{"name": "token_embd.weight", "type": "Q4_K", "shape": [5120, 151936]}],
    },
    "generate": {"model": MODEL, "response": "One", "done": True, "done_reason": "length", "eval_count": 16, "eval_duration": 1400000000},
}


def variants() -> dict[str, tuple[list[str], dict[str, Any]]]:
    """Name → what the server prints, and the entry of `/api/ps`: `full`, and what can be wrong with it."""
    lines = [line for line in LOG.read_text().splitlines() if not line.startswith("#")]
    place = next(number for number, line in enumerate(lines) if 'msg="loading model"' in line)
    full = [*START, *lines[:place], LOAD, *lines[place:]]
    entry = {"name": MODEL, "model": MODEL, "size": SIZE, "size_vram": SIZE, "digest": DIGEST, "expires_at": "2318-06-06T00:00:00Z", "context_length": CONTEXT}
    partial = [line.replace("offloaded 65/65", "offloaded 60/65").replace("417.3 MiB", "1.8 GiB") for line in full]
    return {
        "full": (full, entry),
        "one-unused": ([line for line in full if "device=CUDA1" not in line], entry),
        "partial": (partial, entry | {"size_vram": SIZE * 9 // 10}),
        # The list repeats the size of the file where the server could read nothing else.
        "processor": (START + ON_CPU, entry),
        "vulkan": ([line.replace("library=CUDA", "library=Vulkan") for line in full], entry),
        "one-gpu": ([line for line in full if not (UUIDS[1] in line and "inference compute" in line)], entry),
        "short-context": ([line.replace("KvSize:32768", "KvSize:4096") for line in full], entry | {"context_length": 4096}),
    }


def build_recorded_archive() -> Path:
    """Return a tar archive for `docker load` that holds the image."""
    server = build_server()
    inputs = [Path(__file__), Path(image.__file__), Path(docker_archive.__file__), LOG]

    def build(out: Path) -> None:
        root = out / "root"
        image.make_root(root, server)
        program = root / "usr/bin/ollama"
        program.write_text(SERVE)
        folder = root / "recorded"
        folder.mkdir()
        (folder / "answer").write_text(ANSWER)
        (folder / "answer").chmod(0o755)
        for name, content in ANSWERS.items():
            (folder / f"{name}.json").write_text(json.dumps(content))
        for name, (log, entry) in variants().items():
            (folder / f"{name}.log").write_text("\n".join(log) + "\n")
            (folder / f"{name}.json").write_text(json.dumps({"models": [entry]}))
        write_archive(out / "image.tar", root, REFERENCE, image.CONFIG)
        shutil.rmtree(root)

    return cached("ollama-recorded-image", inputs, build) / "image.tar"


if __name__ == "__main__":
    print(build_recorded_archive())
