"""A node reached through SSH, as operators reach servers: a key, a known host key, one kept connection, pipelining."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.lab import cache
from tests.lab.node.engine import NETWORK
from tests.lab.node.node import Node


def _key() -> Path:
    """Path of the private key, made once and kept in the lab's cache."""
    key = cache.root() / "ssh" / "id_ed25519"
    with cache.lock("ssh-key"):
        if not key.exists():
            key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", str(key)], check=True)
    return key


def open_ssh(node: Node, folder: Path) -> Path:
    """Install and start an SSH server in the node, which listens on the lab's network alone; returns an inventory of it, written to `folder`.

    The server comes from the archive that the node's userland came from.
    """
    node.container.reload()
    address = node.container.attrs["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
    key = _key()
    node.write("/etc/ssh/sshd_config.d/lab.conf", f"ListenAddress {address}\nPermitRootLogin prohibit-password\nPasswordAuthentication no\n")
    node.write("/root/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
    node.run("chmod", "-R", "go=", "/root/.ssh")
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", "openssh-server"]
    node.run(*install, environment={"DEBIAN_FRONTEND": "noninteractive"})
    node.run("systemctl", "restart", "ssh")
    known = folder / "known_hosts"
    known.write_text(f"{address} {node.read('/etc/ssh/ssh_host_ed25519_key.pub')}")
    host = {
        "ansible_connection": "ansible.builtin.ssh",
        "ansible_host": address,
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
        "ansible_pipelining": True,
        "ansible_python_interpreter": "/usr/bin/python3",
    }
    path = folder / "ssh.yml"
    path.write_text(yaml.safe_dump({"all": {"hosts": {node.name: host}}}))
    return path
