"""The Ansible inventory of a node."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from tests.lab import cache
from tests.lab.node.node import Node


def path_of(name: str) -> Path:
    """Return where a node's inventory lies unless the user names another place."""
    return cache.root() / "inventory" / f"{name}.yml"


def write_inventory(node: Node, path: Path | None = None, **variables: Any) -> Path:
    """Write the inventory: one host, reached through Docker, with these variables of its own; returns its path."""
    path = path or path_of(node.name)
    host = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": node.container.name,
        "ansible_python_interpreter": "/usr/bin/python3",
        **variables,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(yaml.safe_dump({"all": {"hosts": {node.name: host}}}, sort_keys=False, explicit_start=True))
    part.replace(path)
    return path
