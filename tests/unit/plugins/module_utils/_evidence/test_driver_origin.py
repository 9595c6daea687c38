"""The subset `packages` of the facts, read from small file systems with the real files' contents."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver_origin, module_keys, package_state, supported_gpus, unattended_upgrades

STATUS = """Package: nvidia-utils-580-server
Status: hold ok installed
Maintainer: Ubuntu Core Developers <ubuntu-devel-discuss@lists.ubuntu.com>
Version: 580.95.05-0ubuntu0.24.04.1

Package: libnvidia-compute-580
Status: install ok installed
Maintainer: NVIDIA <cudatools@nvidia.com>
Version: 580.95.05-0ubuntu1

Package: nvidia-smi
Status: install ok installed
Maintainer: Debian NVIDIA Maintainers <pkg-nvidia-devel@lists.alioth.debian.org>
Version: 535.261.03-1

Package: linux-image-generic
Status: install ok installed
Version: 6.8.0-60.63

Package: linux-image-generic-hwe-24.04
Status: install ok installed
Version: 6.14.0-33.33
"""
INSTALLED = {"nvidia-utils-580-server": "580.95.05-0ubuntu0.24.04.1", "libnvidia-compute-580": "580.95.05-0ubuntu1", "nvidia-smi": "535.261.03-1"}
# Ubuntu 24.04's 50unattended-upgrades, shortened, and 20auto-upgrades
UNATTENDED = """// Automatically upgrade packages from these (origin:archive) pairs
Unattended-Upgrade::Allowed-Origins {
        "${distro_id}:${distro_codename}";
        "${distro_id}:${distro_codename}-security";
//      "${distro_id}:${distro_codename}-updates";
};
Unattended-Upgrade::Package-Blacklist {
    // The following matches all packages starting with linux-
//  "linux-";
%s
};
Unattended-Upgrade::DevRelease "auto";
"""
PERIODIC = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "%s";\n'


def no_commands(args, **_options):
    return 127, "", "not here"


def write(root, path, content=""):
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())


def test_sources_and_holds_of_dpkg():
    sources, held = package_state.dpkg(STATUS, INSTALLED)
    assert sources == {"nvidia-utils-580-server": "ubuntu_archive", "libnvidia-compute-580": "cuda_repository", "nvidia-smi": "debian_archive"}
    assert held == ["nvidia-utils-580-server"]


def test_locks_of_dnf():
    text = "# Added lock on Tue\nnvidia-driver-cuda-3:580.95.05-1.el9.*\n!kernel-0:5.14.0-1.el9.*\nkmod-nvidia-open-dkms-3:580.95.05-1.el9.*\n"
    assert package_state.locked(text, ["nvidia-driver-cuda", "libnvidia-ml", "kmod-nvidia-open-dkms"]) == ["kmod-nvidia-open-dkms", "nvidia-driver-cuda"]


@pytest.mark.parametrize(
    ("release", "flavour"), [("6.14.0-33-generic", "generic-hwe-24.04"), ("6.8.0-1021-aws", "aws"), ("6.18.44", "generic-hwe-24.04")]
)  # fmt: skip
def test_the_kernels_flavour(tmp_path, release, flavour):
    write(tmp_path, "/var/lib/dpkg/status", STATUS)
    assert package_state.kernel_flavour(release, str(tmp_path)) == (flavour, "")


def test_a_driver_that_no_package_owns(tmp_path):
    write(tmp_path, "/usr/bin/nvidia-uninstall")
    write(tmp_path, "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05")
    (tmp_path / "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1").symlink_to("libnvidia-ml.so.580.95.05")
    both = ["/usr/bin/nvidia-uninstall", "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"]
    assert package_state.unmanaged(no_commands, list(INSTALLED), str(tmp_path), 1, True) == (both, "")
    # Owned by a package, in the other spelling of a merged /usr.
    write(tmp_path, "/var/lib/dpkg/info/libnvidia-compute-580:amd64.list", "/.\n/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05\n")
    assert package_state.unmanaged(no_commands, list(INSTALLED), str(tmp_path), 1, True) == (both[:1], "")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [((1, "file /usr/bin/nvidia-uninstall is not owned by any package\n", ""), ["/usr/bin/nvidia-uninstall"]), ((0, "nvidia-x\n", ""), []),
     ((127, "", "not here"), None)],
)  # fmt: skip
def test_a_driver_that_no_rpm_owns(tmp_path, answer, expected):
    write(tmp_path, "/usr/bin/nvidia-uninstall")
    assert package_state.unmanaged(lambda _args, **_options: answer, [], str(tmp_path), 1, False)[0] == expected


# unattended-upgrades: period, lines of the blacklist, held → enabled, what it may replace (re.match: driver-packages 1.4)
UPGRADES = [
    ("1", "", [], True, ["libnvidia-compute-580-server", "nvidia-utils-580-server"]),
    ("0", "", [], False, ["libnvidia-compute-580-server", "nvidia-utils-580-server"]),
    ("1", '"nvidia-.*";\n"libnvidia-.*";', [], True, []),
    # a glob is an expression too: this one matches "nvidia" and what follows it
    ("1", '"nvidia-*";', [], True, ["libnvidia-compute-580-server"]),
    ("1", '"utils";', ["libnvidia-compute-580-server"], True, ["nvidia-utils-580-server"]),
    ("1", '"(";', [], True, ["libnvidia-compute-580-server", "nvidia-utils-580-server"]),
]


@pytest.mark.parametrize("row", UPGRADES)
def test_unattended_upgrades(tmp_path, row):
    period, blacklist, held, enabled, touched = row
    write(tmp_path, "/usr/bin/unattended-upgrade", "#!/usr/bin/python3\n")
    write(tmp_path, "/etc/apt/apt.conf.d/20auto-upgrades", PERIODIC % period)
    write(tmp_path, "/etc/apt/apt.conf.d/50unattended-upgrades", UNATTENDED % blacklist)
    packages = {"nvidia-utils-580-server": "ubuntu_archive", "libnvidia-compute-580-server": "ubuntu_archive", "nvidia-persistenced": "cuda_repository"}
    assert unattended_upgrades.read(packages, held, str(tmp_path)) == {"enabled": enabled, "would_touch": touched}


def test_lists_of_apt_grow_and_can_be_cleared():
    found = {}
    unattended_upgrades.parse('A::B { "1"; "2"; };\nA::B:: "3"; /* A::B:: "4"; */\nA::C "x";', found)
    assert found == {"A::B": ["1", "2", "3"], "A::C": ["x"]}
    unattended_upgrades.parse("#clear A::B;", found)
    assert found == {"A::C": ["x"]}


def name(text):
    return b"\x06\x03\x55\x04\x03\x0c" + bytes([len(text)]) + text


CERTIFICATE = b"0\x82" + name(b"DKMS module signing key") + b"--" + name(b"DKMS module signing key")


@pytest.mark.parametrize(("listed", "enrolled"), [(b"\x07\0\0\0guid" + CERTIFICATE + b"more", True), (b"\x07\0\0\0guid" + name(b"Canonical Ltd. CA"), False)])
def test_the_key_of_dkms_in_the_firmwares_list(tmp_path, listed, enrolled):
    write(tmp_path, "/var/lib/dkms/mok.pub", CERTIFICATE)
    write(tmp_path, module_keys.MOK_LIST, listed)
    found = module_keys.read(no_commands, str(tmp_path))
    assert (found["certificate"], found["subject"], found["enrolled"]) == ("/var/lib/dkms/mok.pub", "DKMS module signing key", enrolled)
    assert found["names"] == (["DKMS module signing key"] if enrolled else ["Canonical Ltd. CA"])


@pytest.mark.parametrize(
    ("answer", "enrolled"),
    [("/var/lib/dkms/mok.pub is already enrolled\n", True), ("/var/lib/dkms/mok.pub is not enrolled\n", False), ("EFI variables are not supported\n", None)],
)
def test_mokutil_where_the_list_cannot_be_read(tmp_path, answer, enrolled):
    write(tmp_path, "/var/lib/dkms/mok.pub", CERTIFICATE)
    found = module_keys.read(lambda args, **_options: (0, answer if "--test-key" in args else "", ""), str(tmp_path))
    assert found["enrolled"] is enrolled


def test_dkms_may_sign_with_another_key(tmp_path):
    write(tmp_path, "/etc/dkms/framework.conf", "# mok_certificate=/no\nmok_certificate=/root/own.der\n")
    write(tmp_path, "/root/own.der", CERTIFICATE)
    write(tmp_path, "/var/lib/shim-signed/mok/MOK.der", CERTIFICATE)
    assert module_keys.certificate(str(tmp_path)) == "/root/own.der"


def test_the_drivers_own_list_of_gpus(tmp_path):
    chips = [{"devid": "0x1B38", "name": "Tesla P40", "legacybranch": "580.xx"}, {"devid": "0x1EB8", "name": "Tesla T4"}]
    path = "/usr/share/doc/nvidia-driver-580/supported-gpus/supported-gpus.json"
    write(tmp_path, path, json.dumps({"chips": chips}))
    assert supported_gpus.read(["1b38"], str(tmp_path)) == ({"path": path, "chips": chips[:1]}, "")
    write(tmp_path, path, '{"chips": 1}')
    assert supported_gpus.read(["1b38"], str(tmp_path)) == (None, path + " is not a list of GPUs")


def test_headers_of_kernels(tmp_path):
    (tmp_path / "usr/src/headers").mkdir(parents=True)
    for release, target in (("6.8.0-60-generic", "../../../usr/src/headers"), ("6.8.0-87-generic", "../../../usr/src/gone")):
        folder = tmp_path / "lib/modules" / release
        folder.mkdir(parents=True)
        (folder / "build").symlink_to(target)
    assert driver_origin.headers(str(tmp_path)) == ["6.8.0-60-generic"]
