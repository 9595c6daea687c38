# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's Xid codes and what each asks for. Private to gpuops.fleet: the names may change in any release.

An Xid is the driver's error report in the kernel log. Two sources of NVIDIA say what to do about each, and they disagree in places: both are here.
"""

from __future__ import annotations

import typing as t

DATE = "2026-11-24"
SOURCE = "NVIDIA, Analyzing Xid Errors with the Xid Catalog (spreadsheet of 2025-10)"
SECOND_SOURCE = "NVIDIA NVSentinel, xiderrorsmapping.csv"
OLD_SOURCE = "NVIDIA, XID Errors r555: codes that the catalogue calls unused, because only GPUs before Ampere report them"

# Severities. application: the program on the GPU failed, the GPU is sound. information: nothing to do about this code alone.
# gpu: the GPU needs a reset or is faulty. machine: the whole machine must restart. power: cabling, supply or seating.
APPLICATION, INFORMATION, GPU, MACHINE, POWER = "application", "information", "gpu", "machine", "power"

# NVIDIA's resolution bucket (immediate action) → severity, what to do.
BUCKETS: t.Dict[str, t.Tuple[str, str]] = {
    "RESTART_APP": (APPLICATION, "Restart the program; when it happens with a known good program too, run dcgmi diag -r 3 and report the GPU"),
    "IGNORE": (INFORMATION, "Nothing to do about it alone; report it when it keeps coming"),
    "WORKFLOW_XID_45": (INFORMATION, "Follow the other Xid of the same time; alone, restart the fabric manager where there is one"),
    "RESET_GPU": (GPU, "Stop the programs on the GPU and reset it (nvidia-smi --gpu-reset, or reboot); report it to the vendor when it comes back"),
    "WORKFLOW_XID_48": (GPU, "Stop the programs on the GPU and reset it; with Xid 63 or 64 beside it drain the host first; replace a card that repeats it"),
    "WORKFLOW_NVLINK_ERR": (GPU, "Reset the GPU, check the seating of the NVLink bridge or board; report it to the vendor when it comes back"),
    "WORKFLOW_NVLINK5_ERR": (GPU, "Decode the message with NVIDIA's table for Xid 144 to 150; until then reset the GPU and its fabric"),
    "RESTART_BM": (MACHINE, "Power the server off and on; when it comes back reseat the card, check its power and cooling, and replace it"),
    "RESTART_VM": (MACHINE, "Restart the virtual machine"),
    "CHECK_MECHANICALS": (POWER, "Connect the auxiliary power of the card and check its seating"),
    "UPDATE_SWFW": (GPU, "Bring driver and firmware to versions that belong together"),
    "CHECK_UVM": (APPLICATION, "Restart the program; report it when it comes alone"),
    "XID_154": (INFORMATION, "Do what the message asks for"),
    "CONTACT_SUPPORT": (GPU, "Report it to the server's vendor with nvidia-bug-report.sh"),
}
UNKNOWN_BUCKET = "CONTACT_SUPPORT"

# Code → name, NVIDIA's bucket, the second source's action where it says something else (None: it agrees).
XIDS: t.Dict[int, t.Tuple[str, str, t.Optional[str]]] = {
    8: ("GPU stopped processing", "RESTART_APP", None),
    11: ("invalid or corrupted push buffer stream", "RESTART_APP", None),
    13: ("graphics engine exception", "RESTART_APP", None),
    18: ("bus mastering disabled in PCI configuration space", "CONTACT_SUPPORT", None),
    24: ("GPU semaphore timeout", "CONTACT_SUPPORT", None),
    25: ("invalid or illegal push buffer stream", "RESTART_APP", None),
    26: ("frame buffer timeout", "CONTACT_SUPPORT", None),
    30: ("GPU semaphore access error", "CONTACT_SUPPORT", None),
    31: ("GPU memory page fault", "RESTART_APP", None),
    32: ("invalid or corrupted push buffer stream", "RESTART_APP", None),
    37: ("driver firmware error", "IGNORE", None),
    38: ("driver firmware error", "IGNORE", None),
    39: ("copy engine exception", "RESTART_APP", None),
    40: ("copy engine exception", "RESTART_APP", None),
    41: ("copy engine exception", "RESTART_APP", None),
    43: ("GPU stopped processing: a program's channel was reset", "IGNORE", None),
    44: ("graphics engine fault during context switch", "IGNORE", None),
    45: ("preemptive cleanup, due to previous errors", "WORKFLOW_XID_45", None),
    46: ("GPU stopped processing", "RESET_GPU", None),
    48: ("double bit ECC error", "WORKFLOW_XID_48", None),
    54: ("auxiliary power is not connected to the GPU board", "CHECK_MECHANICALS", None),
    57: ("error programming video memory interface", "CONTACT_SUPPORT", None),
    58: ("unstable video memory interface", "CONTACT_SUPPORT", None),
    59: ("internal micro-controller error", "CONTACT_SUPPORT", None),
    60: ("video processor exception", "RESTART_APP", None),
    61: ("internal micro-controller breakpoint", "CONTACT_SUPPORT", None),
    62: ("internal micro-controller halt", "RESET_GPU", None),
    63: ("page retirement or row remapping recorded", "IGNORE", None),
    64: ("page retirement or row remapping failed", "RESET_GPU", None),
    66: ("illegal access by driver", "IGNORE", None),
    67: ("illegal access by driver", "IGNORE", None),
    68: ("video decoder exception", "RESTART_APP", None),
    69: ("graphics engine class error", "RESTART_APP", None),
    74: ("NVLink error", "WORKFLOW_NVLINK_ERR", None),
    78: ("vGPU start error", "UPDATE_SWFW", None),
    79: ("GPU has fallen off the bus", "RESTART_BM", None),
    80: ("corrupted data sent to GPU", "RESTART_APP", None),
    86: ("optical flow accelerator exception", "RESTART_APP", None),
    92: ("high rate of single bit ECC errors", "IGNORE", None),
    93: ("InfoROM is written too often", "IGNORE", None),
    94: ("contained memory error", "RESTART_APP", None),
    95: ("uncontained memory error", "RESET_GPU", None),
    106: ("test message", "IGNORE", None),
    107: ("test message", "IGNORE", None),
    108: ("NVLink remote translation error", "IGNORE", "UNEXPECTED_ERR_REPORT_ISSUE"),
    109: ("context switch timeout", "RESET_GPU", None),
    110: ("security fault", "RESET_GPU", None),
    119: ("GSP RPC timeout", "RESET_GPU", None),
    120: ("GSP error", "RESET_GPU", None),
    121: ("C2C error", "IGNORE", None),
    136: ("NVLink training failed", "RESET_GPU", None),
    137: ("NVLink privilege error", "IGNORE", None),
    139: ("optical flow accelerator exception", "RESTART_APP", None),
    140: ("unrecovered ECC error", "RESET_GPU", None),
    141: ("CUDA fast path error", "IGNORE", None),
    142: ("video encoder exception", "CONTACT_SUPPORT", None),
    143: ("GPU initialisation error", "RESET_GPU", None),
    144: ("NVLink SAW error", "WORKFLOW_NVLINK5_ERR", None),
    145: ("NVLink RLW error", "WORKFLOW_NVLINK5_ERR", None),
    146: ("NVLink TLW error", "WORKFLOW_NVLINK5_ERR", None),
    147: ("NVLink TREX error", "WORKFLOW_NVLINK5_ERR", None),
    148: ("NVLink control error", "WORKFLOW_NVLINK5_ERR", None),
    149: ("NVLink NETIR error", "WORKFLOW_NVLINK5_ERR", None),
    150: ("NVLink MSE error", "WORKFLOW_NVLINK5_ERR", None),
    151: ("key rotation error", "RESTART_VM", None),
    152: ("DLA SMMU error", "IGNORE", None),
    153: ("DLA timeout", "IGNORE", None),
    154: ("GPU recovery action changed", "XID_154", None),
    155: ("NVLink error defined by software", "RESET_GPU", None),
    156: ("resource retirement event", "RESET_GPU", None),
    157: ("resource retirement failure", "IGNORE", None),
    158: ("fatal GPU timeout", "RESET_GPU", None),
    159: ("CHI non-data error", "CHECK_UVM", None),
    160: ("channel retirement event", "IGNORE", "RESTART_BM"),
    161: ("channel retirement failure", "IGNORE", None),
}
# Engines that a GPU has several of: codes, name, bucket. Both sources agree on them.
ENGINES: t.Tuple[t.Tuple[t.Tuple[int, ...], str, str], ...] = (
    ((70, 71, 72, 75, 76, 77, 85) + tuple(range(126, 136)), "copy engine exception", "RESTART_APP"),
    ((83, 84, 88, 89, 96, 97, 98), "video decoder exception", "RESTART_APP"),
    ((82,) + tuple(range(99, 106)), "JPEG engine exception", "RESTART_APP"),
)

# Xid 154 carries the action in its text: "GPU recovery action changed from 0x0 (None) to 0x4 (Drain and Reset)". Action → severity, what to do.
# Source: nvmlDeviceGpuRecoveryAction_t of NVML.
RECOVERY_ACTION = r"recovery action changed from \S+ \([^)]*\) to \S+ \((?P<action>[^)]*)\)"
RECOVERY_ACTIONS: t.Dict[str, t.Tuple[str, str]] = {
    "none": (INFORMATION, "Nothing to do"),
    "gpu reset required": (GPU, "Stop the programs on the GPU and reset it (nvidia-smi --gpu-reset, or reboot)"),
    "node reboot required": (MACHINE, "Reboot the server"),
    "drain p2p": (GPU, "Stop the programs that use peer-to-peer traffic with this GPU"),
    "drain and reset": (GPU, "Let the running programs end, start no new ones, then reset the GPU"),
}
