"""A node: one container that runs systemd. How commands and files get into it."""
from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.models.containers import Container

from tests.lab.cache import progress
from tests.lab.errors import LabError
from tests.lab.node.engine import LABEL, PREFIX, client


class Node:
    """A container of the lab, by the name that the user gave it."""

    def __init__(self, container: Container) -> None:
        self.container = container

    @classmethod
    def find(cls, name: str) -> Node | None:
        """Return the node of that name, or None."""
        try:
            return cls(client().containers.get(f"{PREFIX}-{name}"))
        except NotFound:
            return None

    @property
    def name(self) -> str:
        """The user's name of the node."""
        return self.container.name.removeprefix(f"{PREFIX}-")

    @property
    def profile(self) -> str:
        """The profile that the node was made from."""
        return self.container.labels[f"{LABEL}.profile"]

    def run(self, *command: str, check: bool = True, environment: dict[str, str] | None = None) -> tuple[int, str]:
        """Run a command in the node; returns exit status and output (stdout and stderr). Raises LabError on a status other than 0 if `check`."""
        try:
            status, output = self.container.exec_run(list(command), environment=environment or {})
        except APIError as error:
            status, output = 126, str(error.explanation).encode()
        text = output.decode(errors="replace")
        if check and status:
            raise LabError(f"{self.name}: {shlex.join(command)}: exit status {status}: {text.strip()[-2000:]}")
        return status, text

    def put(self, folder: Path) -> None:
        """Copy everything below a folder of this machine into the node's root, owned by root."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            archive.add(folder, arcname=".", recursive=False)
            for path in sorted(folder.rglob("*")):
                archive.add(path, arcname=str(path.relative_to(folder)), recursive=False, filter=_owned_by_root)
        self.container.put_archive("/", buffer.getvalue())

    def write(self, path: str, text: str) -> None:
        """Write one file in the running node, in place."""
        self.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && printf %s "$2" >"$1"', "sh", path, text)

    def read(self, path: str) -> str:
        """Return the content of one file in the running node."""
        return self.run("cat", path)[1]

    def hardware(self) -> dict[str, Any]:
        """Return the node's resolved profile."""
        return json.loads(self.read("/var/lib/lab/hardware.json"))

    def is_running(self) -> bool:
        """Say whether the container runs."""
        self.container.reload()
        return self.container.status == "running"

    def boot(self, patience: float = 120, healthy: bool = True) -> None:
        """Start the node if need be, and wait until systemd has finished to boot; with `healthy`, raise LabError if a unit failed."""
        if not self.is_running():
            self.container.start()
        until = time.monotonic() + patience
        state = ""
        while time.monotonic() < until:
            if self.is_running():
                state = self.run("systemctl", "is-system-running", check=False)[1].strip()
                if state == "running" or (state == "degraded" and not healthy):
                    return
                if state == "degraded":
                    break
            time.sleep(0.3)
        failed = self.run("systemctl", "--no-legend", "--plain", "list-units", "--failed", check=False)[1].strip()
        detail = failed or self.container.logs(tail=20).decode(errors="replace").strip()
        raise LabError(f"{self.name}: systemd says {state or 'nothing'}: {detail}")

    def reboot(self, patience: float = 180) -> None:
        """Reboot from inside, and wait until the node is up again. Docker waits longer each time when a node ran for less than 10 seconds."""
        before = self._started()
        self.run("systemctl", "reboot", check=False)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if self.is_running() and self._started() != before:
                return self.boot(healthy=False)
            time.sleep(0.3)
        raise LabError(f"{self.name}: did not come back after a reboot")

    def _started(self) -> str:
        self.container.reload()
        return self.container.attrs["State"]["StartedAt"]

    def remove(self) -> None:
        """Remove the container and its volumes."""
        volume = f"{self.container.name}-docker"
        self.container.remove(force=True, v=True)
        try:
            client().volumes.get(volume).remove(force=True)
        except NotFound:
            pass
        progress(f"{self.name}: removed")


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def all_nodes() -> list[Node]:
    """Return all nodes, running or not."""
    return [Node(container) for container in client().containers.list(all=True, filters={"label": f"{LABEL}=node"})]
