# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a headless NVIDIA driver is made of in each package source. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

SOURCES = (
    'Ubuntu server documentation, "Install NVIDIA drivers", and packages.ubuntu.com (names, components, version locks of fabric manager and NSCQ)',
    'NVIDIA Driver Installation Guide r580 to r620, "Compute-only" chapters and "Recent Updates" (unversioned names from R590 on)',
    "Debian 12 and 13, Packages indices of non-free and contrib",
    "NVIDIA/gpu-driver-container, ubuntu24.04/precompiled (fabric manager and NSCQ lose the branch in their names from R580 on)",
    "NVIDIA/yum-packaging-precompiled-kmod (streams) and yum-packaging-nvidia-driver (epoch 3, package names)",
)

# One way to have the driver: a list of dicts in order of preference. Words in braces: {B} branch, {V} version, {O} "-open" or "", {K} release of a
# kernel, {F} flavour of the kernel's packages.
#   source, manager, distributions   where it exists; distributions: names as ansible_facts has them, None: any
#   major         releases of the distribution for which the row holds, None: any
#   branches      first and last branch that has these names; None: no limit
#   flavors       of the kernel module
#   module_source prebuilt (signed by the distribution), precompiled (signed by NVIDIA), dkms (built and signed on the host)
#   required      carry the driver's version, and without one of them there is no driver; the first one tells which versions there are
#   per_kernel    one for each kernel, with a version of the kernel's packages
#   per_flavor    brings the module for later kernels; taken where there is one
#   companions    carry the driver's version too and come along where there are any: they would float to another branch otherwise
#   plain         come with whatever version the source has, where there are any
#   fabric        carry the driver's version; required where the host has NVSwitches
#   fabric_also   the same, taken where there are any
#   stream        of the module nvidia-driver, where the source has streams
#   headers       package of the kernel's headers, for DKMS
Row = t.Dict[str, t.Any]

_SERVER = {
    "source": "ubuntu_archive", "manager": "apt", "distributions": ("Ubuntu",), "major": None, "branches": (None, None), "flavors": ("proprietary", "open"),
    "companions": ("libnvidia-cfg1-{B}-server", "libnvidia-compute-{B}-server", "nvidia-compute-utils-{B}-server", "nvidia-kernel-common-{B}-server",
                   "nvidia-kernel-source-{B}-server{O}", "nvidia-firmware-{B}-server-{V}"),
    "plain": (), "fabric": ("nvidia-fabricmanager-{B}", "libnvidia-nscq-{B}"), "fabric_also": ("nvidia-imex-{B}",), "stream": None,
    "headers": "linux-headers-{K}",
}  # fmt: skip
_SERVER_USERLAND = ("nvidia-utils-{B}-server", "nvidia-headless-no-dkms-{B}-server{O}")

_CUDA_FABRIC = {"fabric": ("nvidia-fabricmanager", "libnvidia-nscq"), "fabric_also": ("nvidia-imex", "libnvsdm")}
_CUDA_FABRIC_575 = {"fabric": ("nvidia-fabricmanager-{B}", "libnvidia-nscq-{B}"), "fabric_also": ("nvidia-imex-{B}", "libnvsdm-{B}")}
_CUDA_UBUNTU = {
    "source": "cuda_repository", "manager": "apt", "distributions": ("Ubuntu",), "major": None, "flavors": ("proprietary", "open"), "module_source": "dkms",
    "per_kernel": (), "per_flavor": (), "plain": (), "stream": None, "headers": "linux-headers-{K}",
}  # fmt: skip
_CUDA_UBUNTU_580 = dict(
    _CUDA_UBUNTU,
    required=("nvidia-utils-{B}", "libnvidia-compute-{B}", "nvidia-dkms-{B}{O}"),
    # The last two have no branch in their names already at R580 and would come from the newest one.
    companions=("libnvidia-cfg1-{B}", "nvidia-compute-utils-{B}", "nvidia-kernel-common-{B}", "nvidia-kernel-source-{B}{O}", "nvidia-firmware-{B}-{V}",
                "libnvidia-gpucomp-{B}", "nvidia-persistenced", "nvidia-modprobe"),
)  # fmt: skip
_CUDA_DEBIAN = {
    "source": "cuda_repository", "manager": "apt", "distributions": ("Debian",), "major": None, "branches": (None, None), "module_source": "dkms",
    "per_kernel": (), "per_flavor": (), "plain": (), "stream": None, "headers": "linux-headers-{K}",
    "companions": ("nvidia-kernel-support", "nvidia-persistenced", "nvidia-modprobe", "libcuda1", "libnvidia-ml1", "libnvidia-cfg1", "firmware-nvidia-gsp"),
    **_CUDA_FABRIC,
}  # fmt: skip
_DEBIAN = {
    "source": "debian_archive", "manager": "apt", "distributions": ("Debian",), "major": None, "branches": (None, None), "module_source": "dkms",
    "per_kernel": (), "per_flavor": (), "stream": None, "headers": "linux-headers-{K}", "fabric": (), "fabric_also": (),
}  # fmt: skip
_EL = {
    "manager": "dnf", "distributions": None, "branches": (None, None), "per_kernel": (), "per_flavor": (), "plain": (), "headers": "kernel-devel-{K}",
    "companions": ("nvidia-driver-cuda-libs", "libnvidia-ml", "libnvidia-cfg", "libnvidia-gpucomp", "nvidia-persistenced", "nvidia-kmod-common",
                   "nvidia-modprobe"),
}  # fmt: skip
_EL_MODULAR = dict(_EL, source="dnf_module", major=(8, 9))
_EL_PLAIN = dict(_EL, source="dnf", major=None, stream=None)
_EL_DKMS: t.Tuple[Row, ...] = (
    {"flavors": ("proprietary",), "module_source": "dkms", "required": ("nvidia-driver-cuda", "kmod-nvidia-latest-dkms")},
    {"flavors": ("open",), "module_source": "dkms", "required": ("nvidia-driver-cuda", "kmod-nvidia-open-dkms")},
)
# Built for the kernels of RHEL; a rebuild's kernel may lack them: never taken unless asked for.
_EL_PRECOMPILED: Row = {"flavors": ("proprietary",), "module_source": "precompiled", "required": ("nvidia-driver-cuda",),
                        "per_kernel": ("kmod-nvidia-{V}-{K}",), "stream": "{B}"}  # fmt: skip
_EL_FABRIC: t.Tuple[Row, ...] = (
    {"branches": (None, 579), "fabric": ("nvidia-fabric-manager", "libnvidia-nscq-{B}"), "fabric_also": ("nvidia-imex-{B}",)},
    {"branches": (580, None), "fabric": ("nvidia-fabricmanager", "libnvidia-nscq"), "fabric_also": ("nvidia-imex", "libnvsdm")},
)
_STREAMS = {"proprietary": "{B}-dkms", "open": "{B}-open"}

ROWS: t.Tuple[Row, ...] = (
    dict(_SERVER, module_source="prebuilt", required=_SERVER_USERLAND,
         per_kernel=("linux-modules-nvidia-{B}-server{O}-{K}",), per_flavor=("linux-modules-nvidia-{B}-server{O}-{F}",)),
    dict(_SERVER, module_source="dkms", required=_SERVER_USERLAND + ("nvidia-dkms-{B}-server{O}",), per_kernel=(), per_flavor=()),
    dict(_CUDA_UBUNTU_580, branches=(None, 579), **_CUDA_FABRIC_575),
    dict(_CUDA_UBUNTU_580, branches=(580, 580), **_CUDA_FABRIC),
    dict(_CUDA_UBUNTU, branches=(590, None), required=("libnvidia-compute", "nvidia-dkms{O}"),
         companions=("nvidia-utils", "libnvidia-cfg1", "nvidia-compute-utils", "nvidia-kernel-common", "nvidia-kernel-source{O}", "nvidia-firmware",
                     "libnvidia-gpucomp", "nvidia-persistenced", "nvidia-modprobe"), **_CUDA_FABRIC),
    dict(_CUDA_DEBIAN, flavors=("proprietary",), required=("nvidia-driver-cuda", "nvidia-kernel-dkms")),
    dict(_CUDA_DEBIAN, flavors=("open",), required=("nvidia-driver-cuda", "nvidia-kernel-open-dkms")),
    dict(_DEBIAN, flavors=("proprietary",), required=("nvidia-smi", "libcuda1", "nvidia-kernel-dkms"), companions=("nvidia-kernel-support", "libnvidia-ml1"),
         plain=("nvidia-persistenced",)),
    dict(_DEBIAN, flavors=("open",), required=("nvidia-smi", "libcuda1", "nvidia-open-kernel-dkms"),
         companions=("nvidia-open-kernel-support", "libnvidia-ml1", "firmware-nvidia-gsp"), plain=("nvidia-persistenced",)),
    # A second driver of the same release, kept at an older branch.
    dict(_DEBIAN, flavors=("proprietary",), companions=(), plain=("nvidia-persistenced",),
         required=("nvidia-tesla-{B}-smi", "libnvidia-tesla-{B}-cuda1", "nvidia-tesla-{B}-kernel-dkms")),
) + tuple(
    dict(_EL_MODULAR, **dict(kind, **fabric), stream=_STREAMS[kind["flavors"][0]]) for kind in _EL_DKMS for fabric in _EL_FABRIC
) + tuple(dict(_EL_MODULAR, **dict(_EL_PRECOMPILED, **fabric)) for fabric in _EL_FABRIC) + tuple(
    dict(_EL_PLAIN, **dict(kind, **fabric)) for kind in _EL_DKMS for fabric in _EL_FABRIC
)  # fmt: skip

# Of these an installed package tells by its name or kind that it cannot stay beside another driver.
#   branch in the name, then server or desktop, then flavour
NUMBERED = (r"(?P<stem>(?:lib)?nvidia-[a-z0-9-]*?|linux-(?:modules|objects)-nvidia|xserver-xorg-video-nvidia|libnvsdm|cuda-drivers(?:-fabricmanager)?)"
            r"-(?P<branch>\d{3})(?P<server>-server)?(?P<open>-open)?(?P<rest>-.*)?\Z")  # fmt: skip
# Stems of NUMBERED of which the open and the proprietary flavour have packages of their own.
FLAVORED = ("linux-modules-nvidia", "linux-objects-nvidia", "nvidia-dkms", "nvidia-kernel-source", "nvidia-headless", "nvidia-headless-no-dkms",
            "nvidia-driver")  # fmt: skip
# Stems of NUMBERED of which the server flavour has packages without `-server`.
WITHOUT_SERVER = ("nvidia-fabricmanager", "libnvidia-nscq", "nvidia-imex", "libnvsdm")
# What these have been called before or are called elsewhere; the two are the same program with the same files.
OTHER_NAMES = {"nvidia-fabric-manager": "nvidia-fabricmanager", "nvidia-fabricmanager": "nvidia-fabric-manager"}
# Packages without a branch in the name that hold the kernel module: at most one of them is installed.
MODULE_PACKAGES = ("nvidia-kernel-dkms", "nvidia-open-kernel-dkms", "nvidia-kernel-open-dkms", "nvidia-dkms", "nvidia-dkms-open",
                   "kmod-nvidia-latest-dkms", "kmod-nvidia-open-dkms")  # fmt: skip
# Names that bring a whole driver, of whatever branch is the newest.
METAPACKAGES = ("cuda-drivers", "nvidia-open", "nvidia-driver", "nvidia-driver-open", "nvidia-headless", "nvidia-headless-open")
