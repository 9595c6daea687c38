"""What users of other tools suffered from, each thread with the decision that would have kept them from it.

Threads 2, 5, 6, 7 and 11 are about carrying a plan out, and are tested with the roles: drain, rollback and canary (2), reboot on a local connection (5),
keyring and source (6, 7), daemon.json (11).
"""

from __future__ import annotations

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_plan import plan
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import Policy

from tests.unit.driver_decisions import HAS_535, changed
from tests.unit.driver_sources import NEXT_KERNEL, UBUNTU, cuda_ubuntu, ubuntu
from tests.unit.facts_samples import KERNEL, device, facts


def test_thread_1_a_branch_upgrade_does_not_end_in_held_broken_packages():
    """ansible-role-nvidia-driver #33, #11, #28: one transaction takes the whole old branch out, and the hold is known beforehand."""
    host = changed(facts("p40", loaded="535.309.01"), driver__packages=HAS_535, driver__held_packages=sorted(HAS_535))
    decided = plan(host, Policy(branch=580, package_source=ubuntu("580.95.05")))
    assert decided["remove"] == sorted(HAS_535) and any("the hold has to go" in line for line in decided["warnings"])
    assert all("580" in name for name in decided["packages"])


def test_thread_3_an_unattended_upgrade_is_seen_before_and_after():
    """deepops #1186, pando85/homelab #4110."""
    before = facts("p40", unattended_upgrades={"enabled": True, "would_touch": ["libnvidia-compute-580-server"]})
    assert any("unattended-upgrades may replace libnvidia-compute-580-server" in line for line in plan(before, Policy())["warnings"])
    after = facts("p40", loaded="535.183.01", library="580.95.05", disk="580.95.05")
    assert plan(after, Policy())["action"] == "reload"


def test_thread_4_no_plan_brings_another_kernel():
    """ansible-role-nvidia-driver #18, deepops #1350: headers and modules are those of the kernels that are there."""
    host = facts("p40", loaded=None, boot_kernel_release=NEXT_KERNEL, kernel_headers=[])
    decided = plan(host, Policy(package_source=ubuntu("580.95.05", kernels=())))
    assert decided["headers"] == ["linux-headers-" + KERNEL, "linux-headers-" + NEXT_KERNEL]
    assert not any(name.startswith("linux-image") for name in decided["packages"])


def test_thread_8_the_flavour_follows_from_the_gpu():
    """open-gpu-kernel-modules #322, runs-on #55."""
    source = ubuntu("580.95.05")
    assert f"nvidia-headless-no-dkms-580-server=580.95.05-{UBUNTU}" in plan(facts("p40", loaded=None), Policy(package_source=source))["packages"]
    assert f"nvidia-headless-no-dkms-580-server-open=580.95.05-{UBUNTU}" in plan(facts("h100", loaded=None), Policy(package_source=source))["packages"]
    wrong = plan(facts(device(state="not_visible"), loaded="580.95.05", flavor="open"), Policy(package_source=source))
    assert (wrong["action"], wrong["flavor"]) == ("install", "proprietary")


def test_thread_9_nouveau_is_dealt_with_on_every_path():
    """ansible-role-nvidia-driver #44: with packages, without, and when the driver only waits."""
    hosts = [facts("p40", loaded=None, nouveau=True), facts("p40", loaded=None, disk="580.95.05", library="580.95.05", nouveau=True)]
    for host in hosts:
        for policy in (Policy(), Policy(package_source=ubuntu("580.95.05")), Policy(package_source=cuda_ubuntu("580.95.05"))):
            decided = plan(host, policy)
            assert decided["steps"][0] == "blacklist nouveau" and decided["needs_reboot"], decided


def test_thread_10_secure_boot_takes_signed_modules_or_nothing_is_installed():
    """yum-packaging-precompiled-kmod #67."""
    host = facts("p40", loaded=None, secure_boot=True)
    assert plan(host, Policy(package_source=ubuntu("580.95.05")))["module_source"] == "prebuilt"
    refused = plan(host, Policy(package_source=cuda_ubuntu("580.95.05")))
    assert refused["action"] == "impossible" and "mokutil --import" in refused["blockers"][0]
