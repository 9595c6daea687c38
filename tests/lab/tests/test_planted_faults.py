"""One planted fault, one answer: a broken machine is told of by the check that names its fault, and by no other one."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab import faults
from tests.lab.faults import firmware
from tests.lab.node import lifecycle
from tests.lab.node.node import Node
from tests.lab.tests.planting import Answers, Arguments, Fault, answers_of, attribute, judge, message, together, xid

pytestmark = pytest.mark.lab

FIRST, SECOND = P40X2 = ("0000:3b:00.0", "0000:af:00.0")
SOUND = Fault("nothing is broken", "nvidia-smi -pm 1", "true", set())
# Module → arguments that say what a healthy machine has.
MODULES: Arguments = {"gpu_health_check": {"expected_count": 2}, "firmware_check": {}, "power_check": {}}
DRIVER: Arguments = {**MODULES, "nvidia_driver_check": {"expected_count": 2}, "nvidia_driver_plan": {}}
# Only SMBIOS tells the capacity of the lab's supplies.
SOUND_ANSWERS: Answers = {("power.budget", "host", "warn")}
# A second source takes that warning away.
TWO_SOURCES = ("power.budget", "host", "warn")
LIBRARIES, NVML = "/usr/lib/x86_64-linux-gnu", "libnvidia-ml.so."
UNLOAD = "nvidia-uvm nvidia-drm nvidia-modeset nvidia"
POWER_LOW = "for gpu in 0 1; do echo {} >/var/lib/lab/nvml/gpu$gpu/power_limit_mw; done"

# Faults of two running Tesla P40.
RUNNING = [
    SOUND,
    attribute(0, "ecc_mode_pending", "0", ("gpu.ecc_mode", FIRST, "warn")),
    attribute(1, "ecc_volatile_uncorrected", "2", ("gpu.ecc_errors", SECOND, "fail")),
    together(
        "an uncorrected ECC error, counted and reported",
        attribute(0, "ecc_volatile_uncorrected", "1", ("gpu.ecc_errors", FIRST, "fail")),
        xid(FIRST, 48, "An uncorrectable double bit error (DBE) has been detected on GPU in the framebuffer."),
    ),
    attribute(0, "retired_pages_double_bit", "15", ("gpu.retired_pages", FIRST, "warn")),
    attribute(0, "retired_pages_double_bit", "60", ("gpu.retired_pages", FIRST, "fail")),
    together(
        "a page to be retired, and the driver's report of it",
        attribute(1, "retired_pages_pending", "1", ("gpu.retired_pages", SECOND, "fail")),
        xid(SECOND, 63, "Dynamic Page retirement: New page retired, reboot to activate (0x00000000001fd4b1)."),
    ),
    attribute(0, "retired_pages_pending", "error 999", ("gpu.retired_pages", FIRST, "unknown")),
    attribute(0, "event_reasons", "0x8", ("gpu.throttling", FIRST, "warn")),
    attribute(0, "event_reasons", "0x40", ("gpu.throttling", FIRST, "warn")),
    attribute(1, "event_reasons", "0x80", ("power.events", SECOND, "warn")),
    attribute(0, "event_reasons", "0x88", ("power.events", FIRST, "warn")),
    attribute(0, "event_reasons", "error 999", ("gpu.throttling", FIRST, "unknown"), ("power.events", FIRST, "unknown")),
    attribute(0, "temperature_gpu_c", "93", ("gpu.temperature", FIRST, "fail")),
    attribute(1, "temperature_gpu_c", "88", ("gpu.temperature", SECOND, "warn")),
    attribute(1, "persistence_mode", "0", ("gpu.persistence", SECOND, "warn")),
    attribute(0, "inforom_valid", "error 14", ("gpu.inforom", FIRST, "fail")),
    attribute(1, "vbios_version", "86.02.31.00.01", ("gpu.uniform", "Tesla P40", "warn")),
    attribute(0, "pcie_replay_counter", "9"),
    attribute(0, "pcie_replay_counter", "9", ("gpu.pcie_replay", FIRST, "warn"), arguments={"gpu_health_check": {"max_pcie_replays": 5}}),
    attribute(1, "utilization_gpu", "95", ("pcie.speed", SECOND, "fail")),
    Fault("a third card is missing", "true", "true", {("gpu.count", "host", "fail")}, {"gpu_health_check": {"expected_count": 3}}),
    xid(FIRST, 13, "Graphics Exception on (GPC 0, TPC 0)", ("gpu.xid", FIRST, "warn")),
    xid(SECOND, 62, "internal micro-controller halt", ("gpu.xid", SECOND, "fail")),
    xid(SECOND, 119, "Timeout waiting for RPC from GSP!", ("gpu.xid", SECOND, "fail")),
    xid(FIRST, 9999, "of a driver to come", ("gpu.xid", FIRST, "unknown")),
    xid(FIRST, 45, "Ch 00000010, engmask 00000101"),
    xid("0000:5e:00.0", 62, "of a card that is gone", ("gpu.xid", "0000:5e:00.0", "fail")),
    message(f"NVRM: GPU {FIRST}: GPU has fallen off the bus.", ("gpu.lost", FIRST, "fail")),
    xid(FIRST, 54, "Auxiliary power is not connected to the GPU board", ("power.events", FIRST, "fail"), only="power_check"),
    message(f"NVRM: GPU {SECOND}: GPU does not have the necessary power cables connected.", ("power.events", SECOND, "fail")),
    message("pci 0000:02:00.0: BAR 0 [mem size 0x04000000 64bit pref]: can't assign; no space"),
    Fault(
        "low power limits that do not last", POWER_LOW.format(125000), POWER_LOW.format(250000), {("power.worst_case", "host", "warn")},
        {"power_check": {"platform_watts": 650}},
    ),
    Fault(
        "labels of the supplies that the firmware contradicts", "true", "true", {("power.sources_agree", "host", "warn"), TWO_SOURCES},
        {"power_check": {"supply_watts": 1600}},
    ),
    Fault(
        "a library that says it is of another driver", f"cd {LIBRARIES}; cp {NVML}580.95.05 {NVML}580.173.02; ln -sfn {NVML}580.173.02 {NVML}1",
        f"cd {LIBRARIES}; rm {NVML}580.173.02; ln -sfn {NVML}580.95.05 {NVML}1",
        {("driver.consistent", "host", "fail")}, only="nvidia_driver_check",
    ),
    Fault(
        "another driver than the one that is wanted", "true", "true", {("driver.loaded", "host", "fail")},
        {"nvidia_driver_check": {"expected_version": "580.173.02"}}, only="nvidia_driver_check",
    ),
    Fault(
        "a driver that nobody loaded", f"systemctl stop nvidia-persistenced; modprobe -r {UNLOAD}", "modprobe -a nvidia nvidia_uvm; nvidia-smi -pm 1",
        {("driver.loaded", "host", "fail")}, only="nvidia_driver_check",
    ),
    Fault(
        "a driver older than the floor", "true", "true", {("driver.plan", "host", "warn")},
        {"nvidia_driver_plan": {"floor_version": "580.126.01"}}, only="nvidia_driver_plan",
    ),
    Fault(
        "a branch that has dropped the cards", "true", "true", {("driver.plan", "host", "fail")},
        {"nvidia_driver_plan": {"branch": "595"}}, only="nvidia_driver_plan",
    ),
    SOUND,
]  # fmt: skip

# Faults of eight H100 behind NVSwitches.
EIGHT: Arguments = {"gpu_health_check": {"expected_count": 8}, "firmware_check": {}, "power_check": {}}
SWITCHED, INACTIVE = "0000:61:00.0", "1 1 1 1 1 1 1 0 1 1 1 1 1 1 1 1 1 1"
MANAGER, UNIT = "nvidia-fabricmanager-580", "nvidia-fabricmanager.service"
FABRIC = [
    SOUND,
    Fault("the fabric manager does not run", f"systemctl stop {UNIT}", f"systemctl start {UNIT}", {("gpu.fabric_manager", "host", "fail")}),
    attribute(3, "nvlinks", INACTIVE, ("gpu.nvlink", SWITCHED, "fail")),
    together("a link that failed, and the driver's report of it", attribute(3, "nvlinks", INACTIVE, ("gpu.nvlink", SWITCHED, "fail")),
             xid(SWITCHED, 74, "NVLink: fatal error detected on link 7(0x10000, 0x0, 0x0)")),
    attribute(5, "remapped_rows_pending", "1", ("gpu.remapped_rows", "0000:c3:00.0", "fail")),
    attribute(5, "remapped_rows_failure", "1", ("gpu.remapped_rows", "0000:c3:00.0", "fail")),
    Fault(
        "a fabric manager that an update made newer than the driver", f"cd /tmp; apt-get -qq download {MANAGER}; dpkg --force-depends -i {MANAGER}_*.deb",
        "true",        {("gpu.fabric_manager", "host", "fail")},
    ),
]  # fmt: skip

# Faults of a host that gives its GPUs to virtual machines; each needs a restart. (faults to inject, answers, arguments beside the role's)
ROLE: Arguments = {"gpu_health_check": {"expected_count": 2}, "firmware_check": {"platform_role": "passthrough"}, "power_check": {}}
RESTARTED: list[tuple[list[tuple[str, dict[str, str]]], Answers]] = [
    ([("firmware", {"key": "resizable_bar", "value": "false"})], {("firmware.resizable_bar", SECOND, "warn")}),
    ([("firmware", {"key": "sriov", "value": "false"})], {("firmware.sriov", FIRST, "fail")}),
    ([("firmware", {"key": "acs", "value": "false"})], {("pcie.acs", address, "warn") for address in P40X2}),
    ([("firmware", {"key": "acs", "value": "absent"}), ("move", {"device": "0000:5e:00.0", "upstream": "0000:3a:00.0"})], {("firmware.iommu", FIRST, "warn")}),
    ([("firmware", {"key": "iommu", "value": "false"})], {("firmware.iommu", "host", "fail")}),
]

# Profiles that are broken from the start.
BROKEN: dict[str, Answers] = {
    "p40x2-above4g-off": {("firmware.above_4g", address, "fail") for address in P40X2},
    "p40x2-aspm-on": {("firmware.aspm", address, "fail") for address in P40X2},
    "p40x2-supplies-small": {("power.budget", "host", "fail")},
    "p40x2-supply-failed": {("power.redundancy", "host", "fail")},
}


def compare(node: Node, folder: Path, planted: list[Fault], modules: Arguments, sound: Answers) -> list[dict[str, Any]]:
    """Judge `planted`, compare each with what is expected beside `sound`, and return the facts of each."""
    found = judge(node, folder, planted, modules)
    wrong = {}
    for fault, (checks, _facts) in zip(planted, found, strict=True):
        known = {one for one in sound if not fault.only or any(check["id"] == one[0] for check in checks)}
        if answers_of(checks) ^ known != fault.expected:
            told = [check["summary"] for check in checks if check["status"] in ("fail", "warn")]
            wrong[fault.name] = sorted(answers_of(checks) ^ known ^ fault.expected), told
    assert not wrong, wrong
    return [facts for _checks, facts in found]


def failing(node: Node, folder: Path, planted: Fault, modules: Arguments) -> Answers:
    """What fails: with a GPU that tells nothing any more, what it alone could tell is unknown beside that."""
    ((checks, _facts),) = judge(node, folder, [planted], modules)
    return {answer for answer in answers_of(checks) if answer[2] == "fail"}


def test_faults_of_running_gpus_and_of_their_slots(tmp_path: Path) -> None:
    with lifecycle.machine("p40x2", "planted-running") as node:
        compare(node, tmp_path, RUNNING, DRIVER, SOUND_ANSWERS)
        faults.inject("link-width", node, {"gpu": "0", "lanes": "8"})
        narrow = Fault("eight lanes", "nvidia-smi -pm 1", "true", {("pcie.width", FIRST, "fail")})
        compare(node, tmp_path, [narrow], MODULES, SOUND_ANSWERS)
        faults.inject("link-width", node, {"gpu": "0", "lanes": "16"})
        faults.inject("held", node, {"gpu": "1"})
        held = Fault("a card that vfio-pci holds", "nvidia-smi -pm 1", "true", {("gpu.visible", SECOND, "fail")})
        uncounted = Fault("the same card, as the driver counts", "true", "true", {("driver.gpus", "host", "fail")}, only="nvidia_driver_check")
        assert failing(node, tmp_path, held, MODULES) == held.expected
        compare(node, tmp_path, [uncounted], DRIVER, SOUND_ANSWERS)
        node.reboot()
        faults.inject("lost-gpu", node, {"gpu": "1"})
        lost = Fault("a card that fell off the bus", "nvidia-smi -i 0 -pm 1", "true", {("gpu.lost", SECOND, "fail")})
        assert failing(node, tmp_path, lost, MODULES) == lost.expected


def test_faults_of_nvswitches_and_their_links(tmp_path: Path) -> None:
    with lifecycle.machine("h100x8", "planted-fabric") as node:
        facts = compare(node, tmp_path, FABRIC, EIGHT, SOUND_ANSWERS)
    ways = [{way for row in one["host"]["topology"].values() for way in row.values()} for one in facts]
    # As `nvidia-smi topo -m`: a pair has as many links as the one of both with fewer.
    assert ways[0] == {"NV18"} and ways[2] == {"NV18", "NV17"}
    assert len(facts[0]["host"]["nvswitches"]) == 4 and facts[0]["host"]["fabric_manager"] == {"version": "580.95.05", "active": True}


def test_faults_of_the_firmware_of_a_host_of_virtual_machines(tmp_path: Path) -> None:
    with lifecycle.machine("passthrough", "planted-role") as node:
        bare = Fault("the same machine without virtual machines", "nvidia-smi -pm 1", "true", {("pcie.acs", address, "warn") for address in P40X2},
                     {"firmware_check": {"platform_role": "baremetal"}})  # fmt: skip
        compare(node, tmp_path, [SOUND, bare], ROLE, SOUND_ANSWERS)
        sound = node.hardware()
        for injected, expected in RESTARTED:
            for name, settings in injected:
                faults.inject(name, node, settings)
            compare(node, tmp_path, [Fault(str(injected), "nvidia-smi -pm 1", "true", expected)], ROLE, SOUND_ANSWERS)
            firmware.reassemble(node, lambda hardware: hardware.update(sound))


@pytest.mark.parametrize("profile", BROKEN)
def test_a_machine_that_is_broken_from_the_start(profile: str, tmp_path: Path) -> None:
    with lifecycle.machine(profile, "planted-broken") as node:
        assert failing(node, tmp_path, Fault(profile, "true", "true", set()), MODULES) == BROKEN[profile]


def test_a_driver_that_does_not_answer_makes_nothing_pass_and_nothing_fail(tmp_path: Path) -> None:
    calls = "/var/lib/lab/nvml/calls"
    silent = [
        Fault(function, f"echo error 999 >{calls}/{function}", f"rm {calls}/{function}", {("gpu.visible", address, "unknown") for address in P40X2})
        for function in ("nvmlInit_v2", "nvmlDeviceGetCount_v2")
    ]
    with lifecycle.machine("p40x2", "planted-silent") as node:
        for checks, _facts in judge(node, tmp_path, silent, {"gpu_health_check": {}}):
            assert answers_of(checks) == silent[0].expected
            # The bus, the kernel log and /proc/driver/nvidia answer without NVML.
            assert {check["id"] for check in checks if check["status"] == "pass"} == {"gpu.count", "gpu.xid", "gpu.uniform"}
