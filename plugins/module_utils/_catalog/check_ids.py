# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ids of all checks, as docs/checks.md describes them. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

# What is judged before anything is changed; by check.yml too, except ollama.memory, which ollama_memory_plan answers when it is called.
PREFLIGHT = (
    "gpu.count",
    "gpu.visible",
    "gpu.lost",
    "gpu.uniform",
    "gpu.ecc_mode",
    "gpu.ecc_errors",
    "gpu.retired_pages",
    "gpu.remapped_rows",
    "gpu.throttling",
    "gpu.temperature",
    "gpu.persistence",
    "gpu.inforom",
    "gpu.pcie_replay",
    "gpu.nvlink",
    "gpu.fabric_manager",
    "gpu.xid",
    "firmware.above_4g",
    "firmware.resizable_bar",
    "firmware.aspm",
    "firmware.iommu",
    "firmware.sriov",
    "firmware.bmc_setting",
    "pcie.width",
    "pcie.speed",
    "pcie.acs",
    "power.budget",
    "power.worst_case",
    "power.redundancy",
    "power.sources_agree",
    "power.events",
    "driver.plan",
    "driver.loaded",
    "driver.consistent",
    "driver.gpus",
    "ollama.memory",
)

# What proves a stage after it was carried out.
PROOFS = ("gpu.holders", "container.running", "container.gpus", "container.device_nodes", "container.device_cgroup", "container.driver_libraries",
          "container.cdi_spec", "container.visible_devices", "ollama.gpus_accepted", "ollama.library", "ollama.offload",
          "ollama.balance", "ollama.context", "ollama.processes")
