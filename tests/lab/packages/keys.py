"""Signing keys of the lab's repositories and of its prebuilt kernel modules. They are made once and stay in the build cache."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cache import cached


@dataclass(frozen=True)
class SigningKey:
    """An OpenPGP key: armored secret and public part, and the fingerprint of the primary key."""

    secret: Path
    public: Path
    fingerprint: str


class Gpg:
    """gpg with a home directory of its own; `close` ends the agent that gpg starts for it."""

    def __init__(self, home: str) -> None:
        self.home = home

    def run(self, *arguments: str) -> str:
        """Run gpg without questions and return its standard output; raises CalledProcessError with gpg's own words in stderr."""
        command = ["gpg", "--homedir", self.home, "--batch", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", self.home, "--kill", "all"], check=False, capture_output=True)


@contextmanager
def gpg_home() -> Iterator[Gpg]:
    """A gpg with an empty key ring, gone afterwards. The path is short because the agent's socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="lab-gpg-", dir="/tmp") as home:
        gpg = Gpg(home)
        try:
            yield gpg
        finally:
            gpg.close()


def fingerprint(gpg: Gpg) -> str:
    """Fingerprint of the only primary key in the ring (gpg's machine-readable listing, record `fpr`)."""
    lines = gpg.run("--with-colons", "--list-keys").splitlines()
    return next(line for line in lines if line.startswith("fpr:")).split(":")[9]


def signing_key(name: str, owner: str) -> SigningKey:
    """The OpenPGP key `name`, made at first use: RSA 3072, no expiry, no passphrase."""

    def build(out: Path) -> None:
        with gpg_home() as gpg:
            gpg.run("--quick-generate-key", owner, "rsa3072", "sign", "never")
            (out / "public.asc").write_text(gpg.run("--armor", "--export"))
            (out / "secret.asc").write_text(gpg.run("--armor", "--export-secret-keys"))
            (out / "secret.asc").chmod(0o600)
            (out / "fingerprint").write_text(fingerprint(gpg))

    folder = cached("packages/keys", [name, owner], build)
    return SigningKey(folder / "secret.asc", folder / "public.asc", (folder / "fingerprint").read_text())


@dataclass(frozen=True)
class ModuleKey:
    """Certificate and private key (PEM) of a kernel module signer."""

    certificate: Path
    private: Path


def module_key(common_name: str) -> ModuleKey:
    """The X.509 key that signs prebuilt modules; `modinfo -F signer` shows its common name."""

    def build(out: Path) -> None:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-sha256", "-nodes", "-days", "36500", "-subj", f"/CN={common_name}"]
            + ["-keyout", str(out / "key.pem"), "-out", str(out / "certificate.pem")],
            check=True,
            capture_output=True,
        )

    folder = cached("packages/module-key", [common_name], build)
    return ModuleKey(folder / "certificate.pem", folder / "key.pem")
