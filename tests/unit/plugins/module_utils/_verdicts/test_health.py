"""gpu.count, gpu.visible and gpu.uniform: requirements S1 and S5, and the rows of the evidence page."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import health, health_events, health_presence

from tests.unit.facts_samples import device, facts


def by_id(checks, name):
    return [(check.subject, check.status, check.summary) for check in checks if check.id == name]


@pytest.mark.parametrize(
    "models, expected, status, words",
    [
        (["p40", "p40"], 2, "pass", "2 GPUs on the PCI bus"),
        (["p40", "p40"], None, "pass", "2 GPUs on the PCI bus"),
        (["p40"], 2, "fail", "1 GPU on the PCI bus"),
        (["p40", "p40", "t4"], 2, "fail", "3 GPUs on the PCI bus"),
        ([], None, "fail", "no NVIDIA GPU on the PCI bus"),
        ([], 2, "fail", "no NVIDIA GPU on the PCI bus"),
        ([], 0, "pass", "0 GPUs on the PCI bus"),
    ],
)
def test_count(models, expected, status, words):
    assert by_id(health.check(facts(*models), expected), "gpu.count") == [("host", status, words)]


@pytest.mark.parametrize("broken", [{}, None, {"count": None, "devices": []}, {"count": 2, "devices": []}, {"count": True, "devices": [{}]}, {"count": 1}])
def test_count_without_evidence_is_unknown(broken):
    assert by_id(health.check(broken), "gpu.count")[0][1] == "unknown"


def test_a_negative_expectation_is_one_clear_line():
    with pytest.raises(PolicyError, match="^expected_count is -1: it must be 0 or more$"):
        health.check(facts("p40"), -1)


@pytest.mark.parametrize(
    "one, status, words",
    [
        (device(), "pass", "the driver sees Tesla P40"),
        (device(state="lost"), "skipped", "the GPU is lost: gpu.lost tells more"),
        (device(state="not_visible"), "fail", "Tesla P40 is on the PCI bus, but the driver does not see it"),
        (device(state="no_driver"), "skipped", "no driver loaded"),
        (device(state="no_driver", pci__kernel_driver="nouveau"), "skipped", "no driver loaded: nouveau is bound to the GPU"),
        (device(uuid=None), "unknown", "Tesla P40 is listed as healthy, but without a UUID"),
        (device(state=None), "unknown", "whether the driver sees Tesla P40 is not known"),
        (device(state="fine"), "unknown", "whether the driver sees Tesla P40 is not known"),
    ],
)
def test_visible(one, status, words):
    assert by_id(health.check(facts(one)), "gpu.visible") == [("0000:3b:00.0", status, words)]


@pytest.mark.parametrize(
    "bound, words",
    [("vfio-pci", "reserved for a virtual machine"), ("nouveau", "Blacklist nouveau"), ("nvidia", "journalctl"), (None, "NVRM")],
)
def test_the_remedy_for_an_invisible_gpu_depends_on_who_holds_it(bound, words):
    check = health_presence.visible_check(device(state="not_visible", pci__kernel_driver=bound))
    assert words in check.remedy


def test_the_remedy_for_a_lost_gpu_names_xid_power_and_seat():
    remedy = health_events.lost_check(device(state="lost"), []).remedy
    assert all(word in remedy for word in ("Xid", "power", "reseat"))


OLD = {"vbios_version": "86.02.23.00.01"}
NEW = {"vbios_version": "86.02.31.00.01"}


@pytest.mark.parametrize(
    "devices, found",
    [
        ([device(number=0, **OLD), device(number=1, **OLD)], [("Tesla P40", "pass")]),
        ([device(number=0, **OLD), device(number=1, **NEW)], [("Tesla P40", "warn")]),
        ([device(number=0, **OLD), device(number=1, vbios_version=None, state="lost")], [("Tesla P40", "unknown")]),
        ([device(number=0, **OLD), device(number=1, **NEW), device(number=2, vbios_version=None)], [("Tesla P40", "warn")]),
        ([device(number=0)], [("Tesla P40", "skipped")]),
        ([device(number=0, state="no_driver"), device(number=1, state="no_driver")], [("Tesla P40", "skipped")]),
        ([device("p40", 0), device("t4", 1)], [("Tesla P40", "skipped"), ("Tesla T4", "skipped"), ("host", "skipped")]),
        ([device("p40", 0), device("p40", 1), device("t4", 2, **NEW)], [("Tesla P40", "pass"), ("Tesla T4", "skipped"), ("host", "skipped")]),
        ([device("odd", 0), device("odd", 1)], [("PCI device 10de:ffff", "pass")]),
        ([], []),
    ],
)
def test_uniform(devices, found):
    assert [(subject, status) for subject, status, _summary in by_id(health.check(facts(*devices)), "gpu.uniform")] == found


def test_a_differing_vbios_names_both_versions_and_both_cards():
    check = health_presence.uniform_checks(facts(device(number=0, **OLD), device(number=1, **NEW)))[0]
    assert check.summary == "VBIOS differs: 86.02.23.00.01, 86.02.31.00.01"
    assert [item["source"] for item in check.evidence] == ["pynvml of 0000:3b:00.0", "pynvml of 0000:3c:00.0"]
