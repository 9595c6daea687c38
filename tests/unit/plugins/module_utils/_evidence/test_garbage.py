"""Garbage where evidence is read: no reader raises outside the error tree, and what is read from garbage makes no verdict pass."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FleetError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import (
    gpu_settings,
    join,
    kernel_events,
    kernel_log,
    nvidia_smi,
    ollama_log,
    packages,
    pci,
    rpm_packages,
)
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware, health, power_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.facts_samples import device, facts
from tests.unit.gpu_machine import machine

CARD, PORT = "0000:3b:00.0", "0000:3a:00.0"
# What a check of the link cannot be answered without; no capability list and no extended capability, as from a bridge that answers nonsense.
LINK_CHECKS = {"firmware.aspm", "pcie.width", "pcie.speed", "pcie.acs"}
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A machine whose kernel tells nothing of links, so that all comes from the registers."""
    root = tmp_path_factory.mktemp("machine")
    machine(root, "p40x2")
    for folder in (found for address in (CARD, PORT) for found in root.glob("sys/devices/**/%s" % address)):
        shutil.rmtree(folder / "link", ignore_errors=True)
        for path in folder.glob("*_link_*"):
            path.unlink()
    return root


def folder(root, address):
    return next(root.glob("sys/devices/**/%s" % address))


def judged(root):
    one = next(device for device in pci.read(str(root)) if device["bus_address"] == CARD)
    card = device("p40", bar1=dict(one["bar1"], total_mib=None), pcie=one["pcie"], unavailable=one["unavailable"])
    return {check.id: check.status for check in firmware.check(facts(card, "p40")) if check.subject == CARD}


@SLOW
@given(st.binary(max_size=4096), st.binary(max_size=4096))
def test_registers_without_a_capability_pass_no_check_of_the_link(tree, card, port):
    for address, data in ((CARD, card), (PORT, port)):
        config = bytearray(data)
        config[6:7] = bytes([config[6] & 0xEF]) if len(config) > 6 else b""
        if len(config) > 0x100:
            config[0x100:] = bytes(len(config) - 0x100)
        (folder(tree, address) / "config").write_bytes(config)
    statuses = judged(tree)
    assert not {name for name in LINK_CHECKS if statuses[name] == "pass"}


@SLOW
@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode), st.just(b"0x0 0x0 0x0\n" * 13)))
def test_a_garbled_resource_file_passes_no_check_of_bar1(tree, data):
    good = (folder(tree, CARD) / "resource").read_bytes()
    try:
        (folder(tree, CARD) / "resource").write_bytes(data)
        statuses = judged(tree)
    finally:
        (folder(tree, CARD) / "resource").write_bytes(good)
    assert statuses["firmware.above_4g"] != "pass" and statuses["firmware.resizable_bar"] != "pass"


RECORDED = Path(__file__).resolve().parents[4] / "fixtures/nvidia-smi"
# What stands in the log for a value: text that begins like one, ends like one, is one in other units, or is none at all.
NO_VALUES = ["", "0#@!", "0;DROP", "1e9 C", "0x0", "- 1", "0 0", "28 F", "28C", "0.0.0 W", "\u0663", "NaN", "Enabledd", "Not", "None", "GPU-0", "Ye"]
GARBAGE = st.one_of(st.sampled_from(NO_VALUES), st.text("!#;$%/=?", max_size=6), st.text("abcdefg-0123456789 ", max_size=5).map(lambda text: text + "~"))
# Recorded log → bus address of its first GPU, and the checks that rest on some of its leaves alone.
BOTH = {
    "gpu.ecc_mode": ("current_ecc", "pending_ecc"),
    "gpu.throttling": ("clocks_event_reason_hw_slowdown", "clocks_event_reason_hw_thermal_slowdown"),
    "gpu.persistence": ("persistence_mode",),
    "gpu.pcie_replay": ("replay_counter",),
    "gpu.visible": ("uuid",),
    "gpu.lost": ("uuid",),
}
LOGS = {
    "p40x2-550": ("0000:04:00.0", {**BOTH, "gpu.ecc_errors": ("total",), "gpu.temperature": ("gpu_temp",),
                                   "gpu.retired_pages": ("retired_count", "pending_.*")}),
    "h100x8-550": ("0000:1a:00.0", {**BOTH, "gpu.ecc_errors": ("dram_uncorrectable", "sram_uncorrectable_parity"),
                                    "gpu.remapped_rows": ("remapped_row_pending", "remapped_row_failure")}),
}  # fmt: skip
PLACES = [(log, name, tag) for log, (_address, rests_on) in LOGS.items() for name, tags in rests_on.items() for tag in tags]


def changed(log, change):
    """A recorded log cut to its first GPU, with other texts in some leaves: `change` gets a tag and its text."""
    text = (RECORDED / (log + ".xml")).read_text()
    begin, end = text.index("<gpu "), text.index("</gpu>")
    gpu = re.sub(r"<(\w+)>([^<>]*)</\1>", lambda leaf: "<%s>%s</%s>" % (leaf.group(1), change(*leaf.groups()), leaf.group(1)), text[begin:end])
    return text[:begin] + gpu + "</gpu></nvidia_smi_log>"


def verdicts_of(log, text):
    """Check → status of the card that the bus shows, by what such a log says of it."""
    bus = {"bus_address": LOGS[log][0], "pci": {"kernel_driver": "nvidia"}, "bar1": {}, "pcie": {}, "unavailable": {}, "source": "sysfs"}
    host = {"kernel_events": [], "unavailable": {}}
    found = join.facts(on_pci=[bus], information={}, loaded=True, answer=nvidia_smi.parse(text), driver={"unavailable": {}}, host=host)
    return {check.id: check.status for check in health.check(found) if check.subject == LOGS[log][0]}


@pytest.mark.parametrize("log", LOGS)
def test_the_recorded_log_passes_every_check_that_is_asked_of_garbage(log):
    statuses = verdicts_of(log, changed(log, lambda tag, text: text))
    assert {name: statuses[name] for name in LOGS[log][1]} == dict.fromkeys(LOGS[log][1], "pass")


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400))
def test_a_log_in_which_no_gpu_answers_passes_no_check_of_a_gpu(text):
    found = nvidia_smi.parse(text)
    assert found["error"] and found["devices"] == []
    assert {name for name, status in verdicts_of("p40x2-550", text).items() if status == "pass"} == {"gpu.xid"}


@pytest.mark.parametrize("log, name, broken", PLACES)
def test_a_check_does_not_pass_on_garbage_in_the_one_field_that_it_needs(log, name, broken):
    sound = changed(log, lambda tag, text: text)
    for garbage in NO_VALUES:
        text = changed(log, lambda tag, text, garbage=garbage: garbage if re.fullmatch(broken, tag) else text)
        assert text != sound and verdicts_of(log, text)[name] == ("skipped" if name == "gpu.lost" else "unknown"), garbage


@SLOW
@given(st.sampled_from(sorted(LOGS)), st.data())
def test_a_log_full_of_garbage_passes_no_check_of_a_gpu(log, data):
    statuses = verdicts_of(log, changed(log, lambda tag, text: data.draw(GARBAGE)))
    assert {name for name, status in statuses.items() if status == "pass"} <= {"gpu.xid"}


@SLOW
@given(st.one_of(st.text(), st.lists(st.one_of(st.text(max_size=20), st.just("{garbage"), st.just('{"MESSAGE": null}')), max_size=4).map("\n".join)))
def test_a_journal_of_garbage_passes_no_check_that_reads_it(text):
    events, _source, why = kernel_log.read(lambda args, timeout_seconds: (0, text, ""), "/nonexistent")
    some = facts("p40", kernel_events=events, unavailable={} if events is not None else {"kernel_events": why})
    statuses = {check.id: check.status for check in [*health.check(some), *power_events.check(some)] if check.subject == "0000:3b:00.0"}
    assert events is None and why and statuses["gpu.xid"] == statuses["power.events"] == "unknown"


PARTS = ("GPU 0: Tesla P40", "\n", " Link 0: ", "<inactive>", ", ", "6.1", "00000000:3B:00.0", "infoROM is corrupted at gpu ", "0000:3b:00.0", "N/A")
WORDS = st.sampled_from(PARTS)
TEXTS = st.lists(st.one_of(WORDS, st.text(max_size=6)), max_size=12).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS, st.integers(0, 255))
def test_what_nvidia_smi_says_beside_its_log_never_raises(links, other, rc):
    devices = [{"index": 0, "bus_address": CARD, "values": {"inforom_version": "G610"}, "unavailable": {}}]
    nvidia_smi.add_links(devices, links)
    nvidia_smi.add_capabilities(devices, other)
    nvidia_smi.add_inforom(devices, rc, other)
    values = devices[0]["values"]
    assert all(isinstance(link["active"], bool) for link in values["nvlinks"])
    # Sound only when the program says that it is.
    assert values.get("inforom_valid") is not True or rc in (0, 14)


SET = ["Enabled", "250.00", "125.00", "250.00", "Default", "Enabled", "Enabled", "3615", "1303", "3615", "1531", "28"]
ROW = ["0", "GPU-0", "00000000:3B:00.0", "Tesla P40", *SET]
CELL = st.one_of(st.sampled_from(["[N/A]", "[GPU is lost]", "", "Enabled", "-1", "nan", "1e9"]), st.text(st.characters(exclude_characters="\n,"), max_size=6))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 255), st.one_of(st.text(max_size=200), st.dictionaries(st.integers(0, len(ROW) - 1), CELL, max_size=4)), st.text(max_size=200))
def test_settings_of_a_gpu_are_values_reasons_or_one_error(rc, answer, clocks):
    row = answer if isinstance(answer, str) else ", ".join(answer.get(number, cell) for number, cell in enumerate(ROW)) + "\n"

    def run(args, timeout_seconds=None):
        return (rc, clocks if "supported" in args[1] else row, "")

    try:
        _reader, gpus = gpu_settings.read(run, 5, "nvidia-smi")
    except FleetError as error:
        assert "\n" not in error.message
        return
    gpu_settings.add_supported_clocks(run, "nvidia-smi", gpus, 5)
    for gpu in gpus:
        assert all(gpu[key] is not None or key in gpu["unavailable"] for key, _column in gpu_settings.COLUMNS)
        assert all(gpu[key] is None or 0 <= gpu[key] < 1e9 for key in ("power_limit_watts", "graphics_clock_mhz", "celsius"))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_no_text_of_a_server_or_of_a_package_list_raises(text):
    ollama_log.parse(text)
    ollama_log.parse("level=INFO source=server.go msg=%s library=%s" % (text, text))
    assert all(version for version in packages.dpkg("Package: x\nStatus: install ok installed\n" + text).values())
    assert all(name and version for name, version in rpm_packages.parse(text).items())
    assert kernel_events.classify([{"seconds_ago": 1.0, "text": "NVRM: " + text}]) is not None
