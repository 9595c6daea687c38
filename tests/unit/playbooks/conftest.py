"""Runs Ansible's programs with this checkout as the collection, and with a fact cache of the test's own."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


class Controller:
    """A folder with an inventory and a fact cache."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.cache = folder / "cache"
        self.cache.mkdir()
        link = folder / "collections" / "ansible_collections" / "gpuops" / "fleet"
        link.parent.mkdir(parents=True)
        link.symlink_to(ROOT)

    def remember(self, hosts: dict[str, dict]) -> None:
        """Put facts of hosts into the cache. Ansible writes it itself: the format differs between its versions."""
        inventory = {"all": {"hosts": dict.fromkeys(hosts)}}
        plays = [
            {"hosts": name, "gather_facts": False, "tasks": [{"ansible.builtin.set_fact": {**facts, "cacheable": True}}]} for name, facts in hosts.items()
        ]
        (self.folder / "remember.json").write_text(json.dumps(inventory))
        (self.folder / "remember.yml").write_text(json.dumps(plays))
        done = self.run("ansible-playbook", "-i", "remember.json", "remember.yml")
        assert done.returncode == 0, done.stdout + done.stderr

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess:
        """Run a program of Ansible in the folder."""
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(self.folder / "collections"),
            "ANSIBLE_HOME": str(self.folder / "home"),
            "ANSIBLE_LOCAL_TEMP": str(self.folder / "tmp"),
            "ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile",
            "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(self.cache),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            # Whoever would connect to a host fails at once.
            "ANSIBLE_SSH_EXECUTABLE": "/bin/false",
        }
        return subprocess.run([program, *arguments], cwd=self.folder, env=environment, check=False, capture_output=True, text=True)


@pytest.fixture(scope="module")
def controllers(tmp_path_factory):
    """Makes controllers, each with a cache of its own."""
    return lambda: Controller(tmp_path_factory.mktemp("controller"))


@pytest.fixture
def controller(controllers) -> Controller:
    return controllers()
