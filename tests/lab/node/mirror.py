"""The mirror: one container that serves the lab's package repositories to all nodes as http://mirror.lab/."""
from __future__ import annotations

import time
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

from tests.lab.cache import lock, progress
from tests.lab.errors import LabError
from tests.lab.node.engine import LABEL, MIRROR, NETWORK, client, network

NAME = "mirror.lab"
_FOLDER = "/srv/mirror"
_SERVE = ["python3", "-m", "http.server", "80", "--directory", _FOLDER]


def find() -> Container | None:
    """Return the mirror's container, or None."""
    try:
        return client().containers.get(MIRROR)
    except NotFound:
        return None


def _answers(container: Container) -> bool:
    probe = f"import urllib.request as r; r.urlopen('http://{NAME}/', timeout=2)"
    return container.exec_run(["python3", "-c", probe]).exit_code == 0


def ensure_mirror(image: str, repository: Path) -> None:
    """Serve this repository, and wait until it answers."""
    network()
    with lock("mirror"):
        mirror = find()
        if mirror and mirror.labels.get(f"{LABEL}.repository") != str(repository):
            progress("mirror: the packages changed, starting anew")
            mirror.remove(force=True)
            mirror = None
        if mirror is None:
            mirror = client().containers.create(
                image,
                _SERVE,
                name=MIRROR,
                hostname="mirror",
                labels={LABEL: "mirror", f"{LABEL}.repository": str(repository)},
                volumes=[f"{repository}:{_FOLDER}:ro"],
                init=True,
                restart_policy={"Name": "always"},
            )
            for attached in mirror.attrs["NetworkSettings"]["Networks"]:
                client().networks.get(attached).disconnect(mirror, force=True)
            network().connect(mirror, aliases=[NAME])
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
