#!/usr/bin/env python3
"""An inventory script: tells Ansible where the lab's build products lie, and builds those that are missing."""
from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.lab import haproxy_image  # noqa: E402
from tests.lab.ollama.build import build_models  # noqa: E402
from tests.lab.ollama.image import REFERENCE, build_image_archive  # noqa: E402
from tests.lab.packages.build import build_repository  # noqa: E402


def variables() -> dict[str, object]:
    """Variables `lab_*` for all hosts; group_vars/all.yml beside this file uses them."""
    fingerprints = json.loads((build_repository() / "keys/fingerprints.json").read_text())
    return {
        "lab_image": REFERENCE,
        "lab_image_archive": str(build_image_archive()),
        "lab_balancer_image": haproxy_image.REFERENCE,
        "lab_balancer_image_archive": str(haproxy_image.build_haproxy_archive()),
        "lab_models": {name: str(path) for name, path in build_models().items()},
        "lab_key_fingerprints": fingerprints,
    }


if __name__ == "__main__":
    print(json.dumps({"_meta": {"hostvars": {}}, "all": {"vars": variables()}}, indent=2))
