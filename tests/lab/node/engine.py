"""Names and labels in Docker, and the network that nodes and mirror share."""
from __future__ import annotations

import functools
import os

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from tests.lab.cache import lock
from tests.lab.errors import LabError

PREFIX = "gpuops-lab"
# Checkouts whose packages differ need mirrors of their own, and so networks of their own, to run at the same time.
NETWORK = os.environ.get("GPUOPS_LAB_NETWORK", PREFIX)
MIRROR = f"{NETWORK}-mirror"
LABEL = NETWORK.replace("-", ".")
# Named, for Docker inside a node picks its own networks from the same default pools.
SUBNET = os.environ.get("GPUOPS_LAB_SUBNET", "10.77.0.0/24")


@functools.cache
def client() -> docker.DockerClient:
    """Return the connection to the machine's Docker daemon."""
    try:
        engine = docker.from_env(timeout=600)
        engine.ping()
    except DockerException as error:
        raise LabError(f"no Docker daemon answers ({error}); start one: make setup") from error
    return engine


def network() -> Network:
    """Return the lab's network; makes it when missing."""
    with lock("network"):
        try:
            return client().networks.get(NETWORK)
        except NotFound:
            pool = IPAMConfig(pool_configs=[IPAMPool(subnet=SUBNET)])
            try:
                return client().networks.create(NETWORK, driver="bridge", ipam=pool, labels={LABEL: "network"})
            except APIError as error:
                raise LabError(f"network {NETWORK} ({SUBNET}): {error.explanation}") from error
