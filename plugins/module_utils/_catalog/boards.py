# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""GPU boards by PCI id. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

DATE = "2026-11-24"

SOURCES = (
    "ids and names: product tables of NVIDIA's open GPU kernel modules (releases 535 to 615) and the PCI ID database of 2023-04-10 (P4, K80, T4)",
    "memory, power and NVLink: NVIDIA's data sheets and product briefs of the boards",
    "BAR1: NVIDIA's product briefs, public lspci and nvidia-smi logs",
)

# name                as NVML reports it
# architecture        key of architectures.ARCHITECTURES
# compute_capability  CUDA compute capability
# memory_mib          memory fitted, per GPU; NVML's total is less (ECC on a P40 takes 1/16, firmware takes some)
# board_power_watts   default power limit, per GPU
# native_bar1_mib     BAR1 that the board asks for without Resizable BAR; 256 on boards whose BAR1 is small by default; None: not known
# nvlink_max          NVLink links that the board has, bridged or not
FIELDS = ("name", "architecture", "compute_capability", "memory_mib", "board_power_watts", "native_bar1_mib", "nvlink_max")

# Keys: device id, or device id:subsystem vendor id:subsystem device id where one device id stands for several boards.
# The longer key wins. The device id alone does not give the architecture by range: V100S (1df6) lies among Pascal ids.
BOARDS = {
    # Kepler, Maxwell
    "102d": ("Tesla K80", "kepler", "3.7", 12288, 150, 16384, 0),
    "13f2": ("Tesla M60", "maxwell", "5.2", 8192, 150, None, 0),
    "17fd": ("Tesla M40", "maxwell", "5.2", 12288, 250, None, 0),
    "17fd:10de:1173": ("Tesla M40 24GB", "maxwell", "5.2", 24576, 250, None, 0),
    "17c8": ("NVIDIA GeForce GTX 980 Ti", "maxwell", "5.2", 6144, 250, 256, 0),
    # Pascal
    "15f0": ("Quadro GP100", "pascal", "6.0", 16384, 235, None, 4),
    "15f7": ("Tesla P100-PCIE-12GB", "pascal", "6.0", 12288, 250, 16384, 0),
    "15f8": ("Tesla P100-PCIE-16GB", "pascal", "6.0", 16384, 250, 16384, 0),
    "15f9": ("Tesla P100-SXM2-16GB", "pascal", "6.0", 16384, 300, 16384, 4),
    "1b02": ("NVIDIA TITAN Xp", "pascal", "6.1", 12288, 250, 256, 0),
    "1b06": ("NVIDIA GeForce GTX 1080 Ti", "pascal", "6.1", 11264, 250, 256, 0),
    "1b30": ("Quadro P6000", "pascal", "6.1", 24576, 250, 256, 0),
    "1b38": ("Tesla P40", "pascal", "6.1", 24576, 250, 32768, 0),
    "1b80": ("NVIDIA GeForce GTX 1080", "pascal", "6.1", 8192, 180, 256, 0),
    "1b81": ("NVIDIA GeForce GTX 1070", "pascal", "6.1", 8192, 150, 256, 0),
    "1bb0": ("Quadro P5000", "pascal", "6.1", 16384, 180, 256, 0),
    "1bb3": ("Tesla P4", "pascal", "6.1", 8192, 75, 256, 0),
    "1c03": ("NVIDIA GeForce GTX 1060 6GB", "pascal", "6.1", 6144, 120, 256, 0),
    # Volta
    "1d81": ("NVIDIA TITAN V", "volta", "7.0", 12288, 250, 256, 0),
    "1db1": ("Tesla V100-SXM2-16GB", "volta", "7.0", 16384, 300, 16384, 6),
    "1db4": ("Tesla V100-PCIE-16GB", "volta", "7.0", 16384, 250, 16384, 0),
    "1db5": ("Tesla V100-SXM2-32GB", "volta", "7.0", 32768, 300, 32768, 6),
    "1db6": ("Tesla V100-PCIE-32GB", "volta", "7.0", 32768, 250, 32768, 0),
    "1db8": ("Tesla V100-SXM3-32GB", "volta", "7.0", 32768, 350, 32768, 6),
    "1dba": ("Quadro GV100", "volta", "7.0", 32768, 250, None, 4),
    "1df6": ("Tesla V100S-PCIE-32GB", "volta", "7.0", 32768, 250, 32768, 0),
    # Turing
    "1e02": ("NVIDIA TITAN RTX", "turing", "7.5", 24576, 280, 256, 2),
    "1e04": ("NVIDIA GeForce RTX 2080 Ti", "turing", "7.5", 11264, 250, 256, 2),
    "1e07": ("NVIDIA GeForce RTX 2080 Ti", "turing", "7.5", 11264, 250, 256, 2),
    "1e30": ("Quadro RTX 6000", "turing", "7.5", 24576, 260, 256, 2),
    "1e30:1028:129e": ("Quadro RTX 8000", "turing", "7.5", 49152, 260, 256, 2),
    "1e30:103c:129e": ("Quadro RTX 8000", "turing", "7.5", 49152, 260, 256, 2),
    "1e30:10de:129e": ("Quadro RTX 8000", "turing", "7.5", 49152, 260, 256, 2),
    "1e78:10de:13d8": ("Quadro RTX 8000", "turing", "7.5", 49152, 250, None, 2),
    "1e78:10de:13d9": ("Quadro RTX 6000", "turing", "7.5", 24576, 250, None, 2),
    "1eb8": ("Tesla T4", "turing", "7.5", 16384, 70, 256, 0),
    # Ampere
    "20b0": ("NVIDIA A100-SXM4-40GB", "ampere", "8.0", 40960, 400, 65536, 12),
    "20b2": ("NVIDIA A100-SXM4-80GB", "ampere", "8.0", 81920, 400, 131072, 12),
    "20b5": ("NVIDIA A100 80GB PCIe", "ampere", "8.0", 81920, 300, 131072, 12),
    "20b7": ("NVIDIA A30", "ampere", "8.0", 24576, 165, 32768, 4),
    "20f1": ("NVIDIA A100-PCIE-40GB", "ampere", "8.0", 40960, 250, 65536, 12),
    "20f3": ("NVIDIA A800-SXM4-80GB", "ampere", "8.0", 81920, 400, 131072, 8),
    "2203": ("NVIDIA GeForce RTX 3090 Ti", "ampere", "8.6", 24576, 450, 256, 4),
    "2204": ("NVIDIA GeForce RTX 3090", "ampere", "8.6", 24576, 350, 256, 4),
    "2206": ("NVIDIA GeForce RTX 3080", "ampere", "8.6", 10240, 320, 256, 0),
    "2208": ("NVIDIA GeForce RTX 3080 Ti", "ampere", "8.6", 12288, 350, 256, 0),
    "2230": ("NVIDIA RTX A6000", "ampere", "8.6", 49152, 300, 256, 4),
    "2231": ("NVIDIA RTX A5000", "ampere", "8.6", 24576, 230, 256, 4),
    "2235": ("NVIDIA A40", "ampere", "8.6", 49152, 300, 65536, 4),
    "2236": ("NVIDIA A10", "ampere", "8.6", 24576, 150, 32768, 0),
    "2237": ("NVIDIA A10G", "ampere", "8.6", 24576, 300, 32768, 0),
    "2484": ("NVIDIA GeForce RTX 3070", "ampere", "8.6", 8192, 220, 256, 0),
    "2503": ("NVIDIA GeForce RTX 3060", "ampere", "8.6", 12288, 170, 256, 0),
    "2504": ("NVIDIA GeForce RTX 3060", "ampere", "8.6", 12288, 170, 256, 0),
    "24b0": ("NVIDIA RTX A4000", "ampere", "8.6", 16384, 140, 256, 0),
    "25b6:10de:14a9": ("NVIDIA A16", "ampere", "8.6", 16384, 62.5, 16384, 0),
    "25b6:10de:157e": ("NVIDIA A2", "ampere", "8.6", 16384, 60, 16384, 0),
    # Ada
    "2684": ("NVIDIA GeForce RTX 4090", "ada", "8.9", 24576, 450, 256, 0),
    "26b1": ("NVIDIA RTX 6000 Ada Generation", "ada", "8.9", 49152, 300, 256, 0),
    "26b2": ("NVIDIA RTX 5000 Ada Generation", "ada", "8.9", 32768, 250, 256, 0),
    "26b5": ("NVIDIA L40", "ada", "8.9", 49152, 300, 65536, 0),
    "26b9": ("NVIDIA L40S", "ada", "8.9", 49152, 350, 65536, 0),
    "2704": ("NVIDIA GeForce RTX 4080", "ada", "8.9", 16384, 320, 256, 0),
    "2782": ("NVIDIA GeForce RTX 4070 Ti", "ada", "8.9", 12288, 285, 256, 0),
    "2786": ("NVIDIA GeForce RTX 4070", "ada", "8.9", 12288, 200, 256, 0),
    "27b8": ("NVIDIA L4", "ada", "8.9", 24576, 72, 32768, 0),
    # Hopper
    "2321": ("NVIDIA H100 NVL", "hopper", "9.0", 96256, 400, 131072, 18),
    "2330": ("NVIDIA H100 80GB HBM3", "hopper", "9.0", 81920, 700, 131072, 18),
    "2331": ("NVIDIA H100 PCIe", "hopper", "9.0", 81920, 350, 131072, 18),
    "2335": ("NVIDIA H200", "hopper", "9.0", 144384, 700, 262144, 18),
    "233b": ("NVIDIA H200 NVL", "hopper", "9.0", 144384, 600, 262144, 18),
    "2342": ("NVIDIA GH200 480GB", "hopper", "9.0", 98304, 900, None, 18),
    # Blackwell
    "2901": ("NVIDIA B200", "blackwell", "10.0", 184320, 1000, 262144, 18),
    "2941": ("NVIDIA GB200", "blackwell", "10.0", 190464, 1200, None, 18),
    "2b85": ("NVIDIA GeForce RTX 5090", "blackwell", "12.0", 32768, 575, 256, 0),
    "2bb1": ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "blackwell", "12.0", 98304, 600, None, 0),
    "2bb4": ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "blackwell", "12.0", 98304, 300, None, 0),
    "2bb5": ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "blackwell", "12.0", 98304, 600, 131072, 0),
    "2c02": ("NVIDIA GeForce RTX 5080", "blackwell", "12.0", 16384, 360, 256, 0),
    "3182": ("NVIDIA B300 SXM6 AC", "blackwell", "10.3", 294912, 1100, None, 18),
}

# First driver branch of a board where it came later than its architecture's (open GPU kernel modules, first release that names it).
FIRST_BRANCHES = {
    "2330": 525,
    "26b5": 525,
    "27b8": 525,
    "26b1": 525,
    "26b9": 535,
    "2342": 535,
    "2335": 550,
    "233b": 565,
    "2bb5": 580,
    "3182": 580,
}

# Kernel module flavours of a board where they differ from its architecture's: Grace Hopper runs the open flavour only.
FLAVORS = {
    "2342": ("open",),
}
