"""Life cycle of nodes: up, down, shell, list, clean."""
from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import cache
from tests.lab.cache import digest, lock, progress
from tests.lab.errors import LabError
from tests.lab.hardware import profile as profiles
from tests.lab.node import driver, image, mirror, payload, sources
from tests.lab.node.engine import LABEL, NETWORK, PREFIX, client
from tests.lab.node.identity import IDENTITIES
from tests.lab.node.inventory import path_of, write_inventory
from tests.lab.node.node import Node, all_nodes
from tests.lab.nvml import build as nvml
from tests.lab.ollama.build import build_store
from tests.lab.packages.build import build_extra, build_repository
from tests.lab.packages.el.build import build_el_repository

# Made when a node is complete.
_READY = "/var/lib/lab/ready"


def _create(name: str, profile: str, node_image: str, recipe: str) -> Node:
    api, container = client().api, f"{PREFIX}-{name}"
    host = api.create_host_config(
        # All capabilities but one that a container may lack itself (the daemon refuses --privileged then), and the one to read the host's log.
        cap_add=["ALL"],
        cap_drop=["SYS_RESOURCE", "SYSLOG"],
        security_opt=["seccomp=unconfined", "apparmor=unconfined"],
        cgroupns="private",
        tmpfs={"/run": "", "/tmp": "exec"},
        device_cgroup_rules=["c *:* rwm", "b *:* rwm"],
        binds=[f"{container}-docker:/var/lib/docker"],
        restart_policy={"Name": "always"},
        network_mode=NETWORK,
    )
    # What `docker run --security-opt systempaths=unconfined` sends; the SDK has no argument for it.
    host.update(MaskedPaths=[], ReadonlyPaths=[])
    made = api.create_container(
        node_image,
        name=container,
        hostname=name,
        labels={LABEL: "node", f"{LABEL}.profile": profile, f"{LABEL}.recipe": recipe},
        host_config=host,
        volumes=["/var/lib/docker"],
        stop_signal="SIGRTMIN+3",
    )
    return Node(client().containers.get(made["Id"]))


def _reusable(node: Node | None, recipe: str) -> Node | None:
    """Return the node, booted, if it was made whole from the same recipe; else remove it."""
    if node is None:
        return None
    reason = ""
    if node.container.labels.get(f"{LABEL}.recipe") != recipe:
        reason = "the profile or the lab changed"
    elif node.container.status == "created":
        reason = "it was never started"
    else:
        # Somebody may have broken it on purpose.
        node.boot(healthy=False)
        if node.run("test", "-e", _READY, check=False)[0]:
            reason = "it was left half made"
    if not reason:
        return node
    progress(f"{node.name}: {reason}, starting anew")
    node.remove()
    return None


def _build_tools(out: Path) -> None:
    nvml.build_tool(out)
    payload.build_preload(out)


def up(profile: str, name: str, release: str | None = None, inventory: Path | None = None) -> Path:
    """Bring a node up as its profile says and return the path of its inventory; a node that is there already stays as it is."""
    hardware = profiles.load(profile)
    userland = release or IDENTITIES[hardware["identity"]].userland
    node_image = image.ensure_image(client(), userland)
    repositories = [build_repository()]
    if userland == "el9":
        repositories.append(build_el_repository(node_image))
    repositories += [build_extra(extra) for extra in dict.fromkeys(sources.needed(hardware))]
    tools = cache.cached("node-tools", [*nvml.sources(), payload.PRELOAD], _build_tools)
    mirror.ensure_mirror(node_image, repositories, build_store())
    recipe = digest([repr(hardware), node_image, tools, *payload.SOURCES])
    with lock(f"node-{name}"):
        node = _reusable(Node.find(name), recipe)
        if node is None:
            progress(f"{name}: starting {profile}")
            node = _create(name, profile, node_image, recipe)
            with tempfile.TemporaryDirectory(prefix="gpuops-lab-") as root:
                payload.write_payload(hardware, tools, repositories, Path(root))
                node.put(Path(root))
            node.boot()
            sources.add_all(node, hardware)
            driver.install(node, hardware)
            node.run("touch", _READY)
        progress(f"{name}: running")
        return write_inventory(node, inventory)


def serve(extra: str, name: str | None) -> str:
    """Build an extra package repository and serve it; with a node's name it becomes an apt source of that node. Returns its apt source."""
    with lock("mirror"):
        mirror.publish([build_extra(extra)])
    if name:
        sources.add(find(name), extra)
    return sources.text(extra)


def find(name: str | None) -> Node:
    """Return a node by its name, or the only one."""
    nodes = all_nodes()
    if name is None and len(nodes) == 1:
        return nodes[0]
    known = ", ".join(sorted(node.name for node in nodes)) or "none"
    if name is None:
        raise LabError(f"--name is needed: the nodes are {known}")
    node = Node.find(name)
    if node is None:
        raise LabError(f"no node {name}: the nodes are {known}")
    return node


def down(name: str) -> None:
    """Remove a node; one that is not there is fine."""
    with lock(f"node-{name}"):
        node = Node.find(name)
        if node:
            node.remove()
        path_of(name).unlink(missing_ok=True)


@contextmanager
def machine(profile: str, name: str) -> Iterator[Node]:
    """A fresh node of its own for a test, which goes again at the end. Two runs of the tests on one machine do not share it."""
    name = f"{name}-{os.getpid()}"
    try:
        up(profile, name)
        yield find(name)
    finally:
        down(name)


def down_all() -> None:
    """Remove all nodes, the mirror and the network."""
    for node in all_nodes():
        down(node.name)
    server = mirror.find()
    if server:
        server.remove(force=True)
        progress("mirror: removed")
    # Docker matches parts of names.
    for found in client().networks.list(names=[f"^{NETWORK}$"]):
        found.remove()


def shell(name: str, command: list[str]) -> int:
    """Run a command, or a login shell, with this process's terminal; returns its exit status."""
    node = find(name)
    terminal = ["-it"] if os.isatty(0) and os.isatty(1) else ["-i"]
    words = command[1:] if command[:1] == ["--"] else command
    return os.spawnvp(os.P_WAIT, "docker", ["docker", "exec", *terminal, node.container.name, *(words or ["bash", "-l"])])


def listing() -> list[str]:
    """Return one line a node: name, profile, state, age."""
    lines = []
    for node in sorted(all_nodes(), key=lambda node: node.name):
        state = node.run("systemctl", "is-system-running", check=False)[1].strip() if node.is_running() else node.container.status
        lines.append(f"{node.name:24} {node.profile:24} {state}")
    return lines


def clean() -> None:
    """Remove everything that the lab put on this machine."""
    begun = time.monotonic()
    down_all()
    for tagged in client().images.list(filters={"reference": f"{PREFIX}/*"}):
        for tag in tagged.tags:
            client().images.remove(tag, force=True)
    shutil.rmtree(cache.root(), ignore_errors=True)
    progress(f"clean: done in {time.monotonic() - begun:.1f} s")
