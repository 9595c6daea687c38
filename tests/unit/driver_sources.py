"""Package sources as the driver role reads them, with the names and the version schemes of the real ones."""

from __future__ import annotations

from tests.unit.facts_samples import KERNEL

UBUNTU = "0ubuntu0.24.04.1"
NEXT_KERNEL = "6.8.0-87-generic"
# NVSwitch: names from R580 on; before, they carry the branch.
FABRIC_580 = ["nvidia-fabricmanager", "libnvidia-nscq", "nvidia-imex", "libnvsdm"]
EL_KERNEL = "5.14.0-611.5.1.el9_7.x86_64"


def ubuntu(*versions, kernels=(KERNEL,), flavour="generic", flavors=("", "-open"), more=None, **options):
    """The Ubuntu archive: server packages of these driver versions, prebuilt modules for `kernels`. Each later version has newer module packages."""
    found, depends = {}, {}
    for number, version in enumerate(versions, 1):
        branch = version.split(".")[0]
        names = [
            f"{stem}-{branch}-server"
            for stem in ("nvidia-utils", "libnvidia-compute", "nvidia-compute-utils", "nvidia-kernel-common", "libnvidia-cfg1", "libnvidia-decode")
        ]
        names += [f"{stem}-{branch}-server{flavor}" for flavor in flavors for stem in ("nvidia-headless-no-dkms", "nvidia-dkms", "nvidia-kernel-source")]
        names += [f"nvidia-fabricmanager-{branch}", f"libnvidia-nscq-{branch}", f"nvidia-firmware-{branch}-server-{version}"]
        for name in names:
            found.setdefault(name, []).insert(0, f"{version}-{UBUNTU}")
        for flavor in flavors:
            for kernel in [*kernels, flavour] if kernels else ():
                name, its = f"linux-modules-nvidia-{branch}-server{flavor}-{kernel}", f"6.8.0-60.63+{number}"
                found.setdefault(name, []).insert(0, its)
                depends.setdefault(name, {})[its] = (
                    f"nvidia-kernel-common-{branch}-server (<= {version}-1), nvidia-kernel-common-{branch}-server (>= {version})"
                )
    return {
        "manager": "apt", "distribution": "Ubuntu", "distribution_version": "24.04", "kernel_flavour": flavour, "versions": {**found, **(more or {})},
        "depends": depends, **options,
    }  # fmt: skip


def cuda_ubuntu(*versions, **options):
    """NVIDIA's repository for Ubuntu: names with the branch up to R580, without it from R590 on; helpers without it already at R580."""
    found = {}
    for version in versions:
        branch = int(version.split(".")[0])
        end = f"-{branch}" if branch <= 580 else ""
        names = [f"libnvidia-compute{end}", f"nvidia-dkms{end}-open", f"nvidia-kernel-common{end}", f"nvidia-kernel-source{end}-open", f"nvidia-utils{end}"]
        if branch <= 610:
            names += [f"nvidia-dkms{end}", f"nvidia-kernel-source{end}"]
        names += ["nvidia-persistenced", "nvidia-modprobe"] if branch >= 580 else []
        names += FABRIC_580 if branch >= 580 else [f"{name}-{branch}" for name in FABRIC_580]
        for name in names:
            found.setdefault(name, []).insert(0, f"{version}-0ubuntu1")
    return {"manager": "apt", "distribution": "Ubuntu", "distribution_version": "24.04", "kernel_flavour": "generic", "versions": found, **options}


def debian(version="535.261.03", **options):
    """Debian's own archive: one driver a release, DKMS, helpers with a version of their own."""
    names = ["nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-smi", "libcuda1", "nvidia-kernel-support", "libnvidia-ml1"]
    versions = {**{name: [f"{version}-1~deb12u1"] for name in names}, "nvidia-persistenced": ["535.171.04-1~deb12u1"]}
    return {"manager": "apt", "distribution": "Debian", "distribution_version": "12", "versions": versions, **options}


def cuda_debian(*versions, **options):
    """NVIDIA's repository for Debian: no branch in any name."""
    names = ["nvidia-driver-cuda", "nvidia-kernel-open-dkms", "nvidia-persistenced", "libcuda1", "libnvidia-ml1"]
    found = {name: [f"{version}-1" for version in versions] for name in names}
    found["nvidia-kernel-dkms"] = [f"{version}-1" for version in versions if int(version[:3]) <= 610]
    return {"manager": "apt", "distribution": "Debian", "distribution_version": "12", "versions": found, **options}


def el(*versions, streams=(), major="9.7", **options):
    """NVIDIA's repository for Enterprise Linux: epoch 3, all branches under the same names; streams of the module on 8 and 9."""
    names = ["nvidia-driver-cuda", "nvidia-driver-cuda-libs", "libnvidia-ml", "libnvidia-cfg", "nvidia-persistenced", "nvidia-kmod-common"]
    names += ["kmod-nvidia-latest-dkms", "kmod-nvidia-open-dkms"]
    mark = major.split(".")[0]
    found = {name: [f"3:{version}-1.el{mark}" for version in versions] for name in names}
    for version in versions:
        branch = int(version[:3])
        for name in FABRIC_580 if branch >= 580 else ("nvidia-fabric-manager", f"libnvidia-nscq-{branch}", f"nvidia-imex-{branch}"):
            found.setdefault(name, []).append(f"0:{version}-1.el{mark}")
    return {"manager": "dnf", "distribution": "Rocky", "distribution_version": major, "versions": found, "streams": list(streams), **options}
