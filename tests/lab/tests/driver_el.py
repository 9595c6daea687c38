"""What the tests of the role nvidia_driver on Enterprise Linux have in common: its package source, and what rpm, dnf and DKMS say of the driver."""
from __future__ import annotations

import json
from typing import Any

from tests.lab.node.image import EL_KERNEL
from tests.lab.node.node import Node

MIRROR = "http://mirror.lab/el9"


def source(node: Node, repository: str = "cuda", **changes: str) -> dict[str, Any]:
    """Variables that name a repository of the mirror."""
    fingerprint = json.loads(node.run("curl", "-fsS", f"{MIRROR}/keys/fingerprints.json", check=False)[1] or "{}").get("nvidia", "0" * 40)
    found = {"baseurl": f"{MIRROR}/{repository}/", "key_url": f"{MIRROR}/keys/nvidia.asc", "key_fingerprint": fingerprint}
    return {"nvidia_driver_repository": found | changes, "nvidia_driver_free_mib": {"/usr": 100}}


def state(node: Node) -> dict[str, Any]:
    """What rpm, dnf, DKMS and the kernel say of the driver, and the files that configure them."""
    script = r"""
    echo "== packages"; rpm -qa --qf '%{NAME} %{VERSION}\n' | grep -E '^(lib|kmod-)?nvidia|^cuda|^libnvsdm' | sort
    echo "== lockable"; rpm -qa --qf '%{NAME}-%{EPOCH}:%{VERSION}-%{RELEASE}.*\n' | grep -E '^(lib|kmod-)?nvidia|^cuda|^libnvsdm' | sort
    echo "== tools"; rpm -q dkms kernel-devel | sort
    echo "== stream"; sed -n 's/^stream=//p; s/^state=//p' /etc/dnf/modules.d/nvidia-driver.module 2>/dev/null
    echo "== locks"; grep -hv '^#' /etc/dnf/plugins/versionlock.list | grep . | sort
    echo "== dkms"; dkms status 2>/dev/null
    echo "== modules"; find /lib/modules /sys/module -maxdepth 4 -name 'nvidia*' | sort
    echo "== files"; ls /etc/yum.repos.d /etc/pki/rpm-gpg /etc/modprobe.d /etc/modules-load.d 2>/dev/null
    """
    found: dict[str, Any] = {}
    for line in node.run("sh", "-c", script, check=False)[1].splitlines():
        if line.startswith("== "):
            found[line[3:]] = []
        elif line:
            found[list(found)[-1]].append(line)
    return found


def assert_runs(node: Node, version: str, stream: str | None, kernels: tuple[str, ...] = (EL_KERNEL,), module_package: str = "kmod-nvidia-latest-dkms") -> None:
    """The whole driver is of one version, its module there for the kernels, its packages locked, its stream enabled; the running kernel is one of them."""
    found = state(node)
    versions = dict(line.split() for line in found["packages"])
    assert {"nvidia-driver-cuda", "nvidia-driver-cuda-libs", "libnvidia-ml", "nvidia-persistenced", module_package} <= versions.keys()
    assert set(versions.values()) == {version} and len(versions) == len(found["packages"])
    built = kernels if module_package.endswith("dkms") else ()
    assert found["dkms"] == [f"nvidia/{version}, {kernel}, x86_64: installed" for kernel in built]
    assert found["stream"] == ([stream, "enabled"] if stream else [])
    assert found["locks"] == found["lockable"]
    for kernel in kernels:
        assert node.run("modinfo", "-k", kernel, "-F", "version", "nvidia")[1].strip() == version
    answer = node.run("nvidia-smi", "--query-gpu=driver_version,name", "--format=csv,noheader")[1].splitlines()
    assert answer == [f"{version}, Tesla P40"] * 2
    assert node.read("/sys/module/nvidia/version").strip() == version
