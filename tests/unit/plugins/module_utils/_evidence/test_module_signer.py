"""Who signed a kernel module."""

from __future__ import annotations

import shutil
import struct
import subprocess

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_modules
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gpu_machine import kernel_module, write

MAGIC = kernel_modules.SIGNATURE_MAGIC


def appended(message):
    """What the kernel's scripts/sign-file puts behind a module: message, struct module_signature (PKCS#7 is 2), magic."""
    return message + struct.pack(">BBBBBxxxI", 0, 0, 2, 0, 0, len(message)) + MAGIC


@pytest.fixture(scope="module")
def signature(tmp_path_factory):
    """A detached signature without certificates, as sign-file makes it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to sign with")
    folder = tmp_path_factory.mktemp("keys")
    (folder / "data").write_bytes(b"module")
    subject = "/O=gpu/CN=gpu-01 Secure Boot Module Signature key"
    make = ["openssl", "req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", subject, "-keyout", "key", "-out", "cert", "-days", "2"]
    sign = ["openssl", "cms", "-sign", "-binary", "-nocerts", "-noattr", "-in", "data", "-signer", "cert", "-inkey", "key", "-outform", "DER", "-out", "p7"]
    for command in (make, sign):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return (folder / "p7").read_bytes()


def test_signed_and_not_signed(tmp_path, signature):
    module = kernel_module({"version": "580.95.05", "license": "NVIDIA"})
    plain, signed = write(tmp_path, "/plain.ko", module), write(tmp_path, "/signed.ko", module + appended(signature))
    assert "signer" not in kernel_modules.modinfo(str(plain))[0]
    info, reason = kernel_modules.modinfo(str(signed))
    assert (info["signer"], info["version"], reason) == ("gpu-01 Secure Boot Module Signature key", "580.95.05", "")


@pytest.mark.skipif(shutil.which("modinfo") is None, reason="no modinfo to compare with")
def test_modinfo_says_the_same(tmp_path, signature):
    signed = write(tmp_path, "/signed.ko", kernel_module({"version": "580.95.05", "license": "NVIDIA"}) + appended(signature))
    done = subprocess.run(["modinfo", "-F", "signer", str(signed)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == kernel_modules.modinfo(str(signed))[0]["signer"]


@pytest.mark.parametrize("tail", [b"", MAGIC, b"x" * 12 + MAGIC, appended(b""), appended(b"no name"), appended(kernel_modules.COMMON_NAME), appended(b"x")[1:]])
def test_signatures_that_are_none(tail):
    assert kernel_modules.signer(tail) is None


@given(st.binary(max_size=200))
def test_anything_at_the_end_is_survived(data):
    for tail in (data, data + MAGIC, appended(data), appended(data + kernel_modules.COMMON_NAME + data)):
        found = kernel_modules.signer(tail)
        assert found is None or found
