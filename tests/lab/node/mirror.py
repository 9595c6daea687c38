"""The mirror: one container that serves package repositories as http://mirror.lab/ and models as registry.lab:5000 to all nodes."""
from __future__ import annotations

import time
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

from tests.lab.cache import digest, lock, progress
from tests.lab.errors import LabError
from tests.lab.node.engine import LABEL, MIRROR, NETWORK, client, network
from tests.lab.ollama import registry

NAME = "mirror.lab"
REGISTRY_NAME = "registry.lab"
_PACKAGES, _MODELS, _REGISTRY = "/srv/mirror", "/srv/models", "/srv/registry.py"
# Both end together: a mirror with half of its services is a fault that nobody asked for.
_SERVE = f"""python3 {_REGISTRY} {_MODELS} --bind 0.0.0.0 --port 5000 --storage-name {NAME} & python3 -m http.server 80 --directory {_PACKAGES} & wait -n"""


def find() -> Container | None:
    """Return the mirror's container, or None."""
    try:
        return client().containers.get(MIRROR)
    except NotFound:
        return None


def _answers(container: Container) -> bool:
    probe = f"import urllib.request as r; r.urlopen('http://{NAME}/', timeout=2)"
    return container.exec_run(["python3", "-c", probe]).exit_code == 0


def ensure_mirror(image: str, repository: Path, models: Path) -> None:
    """Serve this package repository and this model store, and wait until the mirror answers."""
    network()
    program = Path(registry.__file__)
    contents = digest([str(repository), str(models), program, _SERVE])
    with lock("mirror"):
        mirror = find()
        if mirror and mirror.labels.get(f"{LABEL}.contents") != contents:
            progress("mirror: its contents changed, starting anew")
            mirror.remove(force=True)
            mirror = None
        if mirror is None:
            mirror = client().containers.create(
                image,
                ["bash", "-c", _SERVE],
                name=MIRROR,
                hostname="mirror",
                labels={LABEL: "mirror", f"{LABEL}.contents": contents},
                volumes=[f"{repository}:{_PACKAGES}:ro", f"{models}:{_MODELS}:ro", f"{program}:{_REGISTRY}:ro"],
                init=True,
                restart_policy={"Name": "always"},
            )
            for attached in mirror.attrs["NetworkSettings"]["Networks"]:
                client().networks.get(attached).disconnect(mirror, force=True)
            network().connect(mirror, aliases=[NAME, REGISTRY_NAME])
        mirror.reload()
        if mirror.status != "running" or NETWORK not in mirror.attrs["NetworkSettings"]["Networks"]:
            mirror.start()
        wait(mirror)


def wait(container: Container, patience: float = 60) -> None:
    """Wait until the mirror answers."""
    until = time.monotonic() + patience
    while not _answers(container):
        if time.monotonic() > until:
            raise LabError(f"{MIRROR} does not answer: {container.logs(tail=5).decode(errors='replace')}")
        time.sleep(0.2)
