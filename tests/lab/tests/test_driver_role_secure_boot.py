"""The role nvidia_driver under Secure Boot, on a machine whose firmware does not know the key of DKMS."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests import driver_role as role

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def server() -> Iterator[Node]:
    """Two Tesla P40, Secure Boot, no driver."""
    with lifecycle.machine("p40x2-secure-boot", "driver-secure") as node:
        yield node


def test_a_module_that_the_kernel_would_refuse_is_not_built(server: Node, tmp_path: Path) -> None:
    before = role.fingerprint(server)
    done = role.run(server, tmp_path, nvidia_driver_module_source="dkms")
    assert done.code == 2 and "Secure Boot" in done.message and "mokutil" in done.message and "Nothing was changed" in done.message, done.text
    assert role.fingerprint(server) == before and not role.exists(server, role.STATE)


def kernels(node: Node) -> list[str]:
    """Packages of kernels and of their headers."""
    listing = "dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\\n' 'linux-image*' 'linux-headers*'"
    return [line for line in node.run("sh", "-c", listing, check=False)[1].splitlines() if line.startswith("installed")]


def test_prebuilt_modules_are_signed_and_load(server: Node, tmp_path: Path) -> None:
    # The package of the kernel's flavour would bring this update's kernel along.
    lifecycle.serve("ubuntu-updates", server.name)
    before = kernels(server)
    done = role.run(server, tmp_path)
    assert done.code == 0 and "would bring another kernel and is left out" in done.shown("Say what is left out"), done.text
    assert before and kernels(server) == before
    assert role.driver(server) == role.whole("580.173.02")
    assert server.run("modinfo", "-F", "signer", "nvidia")[1].strip() == "Canonical Ltd. Kernel Module Signing"
    assert not [name for name in role.packages(server) if "dkms" in name and "no-dkms" not in name]
