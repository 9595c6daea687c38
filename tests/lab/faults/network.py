"""Faults of the network."""
from __future__ import annotations

from tests.lab.errors import LabError
from tests.lab.faults import fault
from tests.lab.node import mirror
from tests.lab.node.engine import NETWORK, network
from tests.lab.node.node import Node


def _attached(node: Node) -> bool:
    node.container.reload()
    return NETWORK in node.container.attrs["NetworkSettings"]["Networks"]


@fault("network-cut", "the node loses its network, as by a pulled cable")
def network_cut(node: Node) -> str:
    """Take the node off the lab's network."""
    if _attached(node):
        network().disconnect(node.container)
    return "has no network"


@fault("network-restore", "takes back network-cut")
def network_restore(node: Node) -> str:
    """Put the node on the lab's network."""
    if not _attached(node):
        network().connect(node.container)
    return "has its network again"


@fault("mirror-down", "the package mirror stops, for all nodes")
def mirror_down(node: Node) -> str:
    """Stop the mirror's container: its name is gone as well."""
    server = mirror.find()
    if server is None:
        raise LabError("there is no mirror")
    server.stop(timeout=1)
    return "the mirror is down"


@fault("mirror-up", "takes back mirror-down")
def mirror_up(node: Node) -> str:
    """Start the mirror's container."""
    server = mirror.find()
    if server is None:
        raise LabError("there is no mirror")
    server.start()
    mirror.wait(server)
    return "the mirror is up"
