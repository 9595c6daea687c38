"""Docker, NVIDIA's container toolkit and an image on a node, installed by hand as an administrator would."""
from __future__ import annotations

import subprocess

from tests.lab.node.node import Node
from tests.lab.ollama.build import build_image_archive

IMAGE = "ollama/ollama:0.17.4"


def install(node: Node) -> None:
    """Install them from the node's package cache and its mirror."""
    key, source = "/usr/share/keyrings/toolkit.asc", "/etc/apt/sources.list.d/toolkit.list"
    repository = "http://mirror.lab/libnvidia-container"
    node.run("curl", "-fsS", "-o", key, f"{repository}/gpgkey")
    node.write(source, f"deb [signed-by={key}] {repository}/stable/deb/amd64 /\n")
    node.run("apt-get", "update", "-q", "-o", f"Dir::Etc::SourceList={source}", "-o", "Dir::Etc::SourceParts=-", "-o", "APT::Get::List-Cleanup=0")
    packages = ("docker.io", "docker-cli", "iptables", "nvidia-container-toolkit")
    node.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages, environment={"DEBIAN_FRONTEND": "noninteractive"})
    node.run("nvidia-ctk", "--quiet", "runtime", "configure", "--runtime=docker", "--cdi.enabled")
    node.run("systemctl", "restart", "docker")
    with build_image_archive().open("rb") as file:
        subprocess.run(["docker", "exec", "-i", node.container.name, "docker", "load"], stdin=file, check=True, capture_output=True)
