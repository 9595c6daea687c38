"""The mirror: one container that serves package repositories as http://mirror.lab/ and models as registry.lab:5000 to all nodes."""
from __future__ import annotations

import shutil
import time
from pathlib import Path

from docker.errors import NotFound
from docker.models.containers import Container

from tests.lab import cache
from tests.lab.cache import progress
from tests.lab.errors import LabError
from tests.lab.node.engine import LABEL, MIRROR, NETWORK, client, network
from tests.lab.ollama import registry

NAME = "mirror.lab"
REGISTRY_NAME = "registry.lab"


def _root() -> Path:
    """Return the folder of links to what is served; a server follows them at each request, so that they can change under it."""
    return cache.root() / "mirror" / NETWORK


def _command() -> list[str]:
    packages = f"python3 -m http.server 80 --directory {_root()}/www"
    models = f"python3 {_root()}/registry.py {_root()}/models --bind 0.0.0.0 --port 5000 --storage-name {NAME}"
    # Both end together: a mirror with half of its services is a fault that nobody asked for.
    return ["bash", "-c", f"{packages} & {models} & wait -n"]


def _publish(name: str, folder: Path) -> None:
    link = _root() / name
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink() or link.readlink() != folder:
        part = link.with_name(f".{link.name}")
        part.unlink(missing_ok=True)
        part.symlink_to(folder)
        part.replace(link)


def publish(repositories: list[Path]) -> None:
    """Serve what lies in these folders, beside what is served already. The caller holds the lock `mirror`."""
    for repository in repositories:
        for entry in repository.iterdir():
            # Folders that products share, as compute/cuda/repos, are real ones: a link per product below them.
            folder = entry
            while folder.is_dir() and len(below := list(folder.iterdir())) == 1 and below[0].is_dir():
                folder = below[0]
            _publish(f"www/{folder.relative_to(repository)}", folder)


def find() -> Container | None:
    """Return the mirror's container, or None."""
    try:
        return client().containers.get(MIRROR)
    except NotFound:
        return None


def _answers(container: Container) -> bool:
    probe = f"import urllib.request as r; r.urlopen('http://{NAME}/', timeout=2)"
    return container.exec_run(["python3", "-c", probe]).exit_code == 0


def ensure_mirror(image: str, repositories: list[Path], models: Path) -> None:
    """Serve what lies in these package repositories, beside what is served already, and this model store; wait until the mirror answers."""
    network()
    program = Path(registry.__file__)
    recipe = cache.digest([program, *_command()])
    copy = cache.cached("mirror-registry", [program], lambda folder: Path(shutil.copy(program, folder)).chmod(0o644))
    with cache.lock("mirror"):
        publish(repositories)
        _publish("models", models)
        _publish("registry.py", copy / program.name)
        mirror = find()
        if mirror and mirror.labels.get(f"{LABEL}.recipe") != recipe:
            progress("mirror: its programs changed, starting anew")
            mirror.remove(force=True)
            mirror = None
        if mirror is None:
            mirror = client().containers.create(
                image,
                _command(),
                name=MIRROR,
                hostname="mirror",
                labels={LABEL: "mirror", f"{LABEL}.recipe": recipe},
                volumes=[f"{cache.root()}:{cache.root()}:ro"],
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
