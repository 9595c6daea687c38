"""The NVML double for tests on a plain host: built once, states from the boards, programs run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.lab.cache import cached
from tests.lab.hardware import nvml_state
from tests.lab.nvml import build

BOARDS = Path(nvml_state.__file__).resolve().parents[1] / "boards"
VERSION = "580.95.05"
BUSES = ("04", "84", "c4", "e4")

# A program that stays open: one call a line in, one answer a line out. "gpu:N" stands for the handle of index N.
_CLIENT = """
import ctypes, json, sys
import pynvml
def plain(value):
    if isinstance(value, bytes): return value.decode()
    if isinstance(value, (list, tuple, ctypes.Array)): return [plain(item) for item in value]
    if isinstance(value, (ctypes.Structure, ctypes.Union)): return {field[0]: plain(getattr(value, field[0])) for field in value._fields_}
    if type(value).__name__ == "nvmlFriendlyObject": return {name: plain(item) for name, item in vars(value).items()}
    return value.value if hasattr(value, "value") and not isinstance(value, int) else value
for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        arguments = [pynvml.nvmlDeviceGetHandleByIndex(int(a[4:])) if isinstance(a, str) and a.startswith("gpu:") else a for a in arguments]
        answer = {"value": plain(getattr(pynvml, name)(*arguments)) if not name.startswith("nvmlDeviceGetHandle") else bool(getattr(pynvml, name)(*arguments))}
    except pynvml.NVMLError as error:
        answer = {"error": error.value}
    print(json.dumps(answer), flush=True)
"""


def root(version: str = VERSION) -> Path:
    """The user space of a driver version, with pack-nvml-state."""

    def make(out: Path) -> None:
        build.build(version, out)
        build.build_tool(out)
        build.link(out)

    return cached("nvml", [version, *build.sources()], make)


def hardware(*boards: str, **overrides: Any) -> dict[str, Any]:
    """A resolved profile with one GPU a board; `overrides` are NVML attributes of all of them."""
    return {
        "gpus": [
            {
                "minor": minor,
                "bus_address": f"0000:{BUSES[minor]}:00.0",
                "upstream": f"0000:{BUSES[minor][0]}0:00.0",
                "uuid": f"GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d80{minor + 1}",
                "serial": f"032481807000{minor + 1}",
                "lost": False,
                "board": yaml.safe_load((BOARDS / f"{board}.yml").read_text()),
                "nvml": overrides,
            }
            for minor, board in enumerate(boards)
        ]
    }


class State:
    """A state directory and the programs that see it."""

    def __init__(self, directory: Path, *boards: str, version: str = VERSION, **overrides: Any) -> None:
        """Writes the state of one GPU a board."""
        self.directory = directory
        self.version = version
        nvml_state.write_state(hardware(*boards, **overrides), directory)

    def set(self, path: str, text: object) -> None:
        """Changes one file, as a fault does."""
        (self.directory / path).write_text(f"{text}\n")

    def get(self, path: str) -> str:
        """The text of one file."""
        return (self.directory / path).read_text().strip()

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a program that shall see this state."""
        tree = root(self.version)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LAB_NVML")}
        return {
            **kept,
            "LD_LIBRARY_PATH": str(tree / build.LIBRARY_DIRECTORY),
            "PATH": f"{tree / 'usr/bin'}:{kept.get('PATH', '')}",
            "LAB_NVML_STATE": str(self.directory),
            **more,
        }

    def smi(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Runs the nvidia-smi double."""
        return subprocess.run(["nvidia-smi", *arguments], env=self.environment(**more), capture_output=True, text=True, check=False, timeout=20)

    def client(self, **more: str) -> Client:
        """Starts a program with NVIDIA's Python binding."""
        return Client(self.environment(**more))


class Client:
    """A running program that calls NVML through pynvml."""

    def __init__(self, environment: dict[str, str]) -> None:
        """Starts the program."""
        self.process = subprocess.Popen([sys.executable, "-c", _CLIENT], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Client:
        """Initialises NVML."""
        assert self.answer("nvmlInit") == {"value": None}
        return self

    def __exit__(self, *_error: object) -> None:
        """Ends the program."""
        self.process.communicate(timeout=20)

    def answer(self, name: str, *arguments: object) -> dict[str, Any]:
        """Calls one function: {"value": …} or {"error": code}."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def value(self, name: str, *arguments: object) -> Any:
        """Calls one function that has to succeed."""
        answer = self.answer(name, *arguments)
        assert "value" in answer, f"{name}{arguments}: error {answer.get('error')}"
        return answer["value"]

    def error(self, name: str, *arguments: object) -> int | None:
        """Calls one function; its error code, None when it succeeds."""
        return self.answer(name, *arguments).get("error")
