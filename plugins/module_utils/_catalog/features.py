# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wanted features ask of driver and GPU. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"

# A rule: lowest compute capability, first one that it no longer holds for (None: no limit), oldest driver. A GPU without a rule cannot have the feature.
Rule = t.Tuple[str, t.Optional[str], str]

# feature → title, rules
FEATURES: t.Dict[str, t.Dict[str, t.Any]] = {
    # CUDA Compatibility guide, "Minor Version Compatibility"; release notes of CUDA 11.0, 12.0, 13.0 (what their toolkits no longer build for).
    # A 580 driver reports "CUDA 13.0" on a Pascal card too: that does not make CUDA 13 usable there.
    "cuda11": {"title": "CUDA 11", "rules": [("3.5", None, "450.80.02")]},
    "cuda12": {"title": "CUDA 12", "rules": [("5.0", None, "525.60.13")]},
    "cuda13": {"title": "CUDA 13", "rules": [("7.5", None, "580.65.06")]},
    # NVIDIA, "DLSS 3": frame generation needs the optical flow accelerator of Ada; its first branch is R520.
    "dlss3": {"title": "DLSS 3 (frame generation)", "rules": [("8.9", None, "520.56.06")]},
    # NVIDIA/open-gpu-kernel-modules, README: Turing and later, first release 515.43.04.
    "open_kernel_modules": {"title": "the open kernel modules", "rules": [("7.5", None, "515.43.04")]},
}

# Ollama, discover/cuda_compat.go and docs/gpu.mdx: first release → rules.
OLLAMA: t.Dict[t.Tuple[int, ...], t.List[Rule]] = {
    (0, 24, 0): [("5.0", None, "531")],
    (0, 30, 0): [("5.0", "7.0", "570"), ("7.0", None, "531")],
    (0, 30, 11): [("5.0", "7.0", "570"), ("7.0", None, "550")],
}

# CUDA toolkit release notes, "CUDA Driver": toolkit → driver of its first general release, which its PTX and newest functions need.
TOOLKITS: t.Dict[t.Tuple[int, ...], str] = {
    (11, 0): "450.51.05", (11, 1): "455.23", (11, 2): "460.27.03", (11, 3): "465.19.01", (11, 4): "470.42.01", (11, 5): "495.29.05", (11, 6): "510.39.01",
    (11, 7): "515.43.04", (11, 8): "520.61.05", (12, 0): "525.60.13", (12, 1): "530.30.02", (12, 2): "535.54.03", (12, 3): "545.23.06",
    (12, 4): "550.54.14", (12, 5): "555.42.02", (12, 6): "560.28.03", (12, 8): "570.26", (12, 9): "575.51.03", (13, 0): "580.65.06", (13, 1): "590.44.01",
    (13, 2): "595.45.04", (13, 3): "610.43.02",
}  # fmt: skip
