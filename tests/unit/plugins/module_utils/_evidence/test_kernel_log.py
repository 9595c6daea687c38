"""Reading the kernel log: the journal, the ring buffer, and what becomes of both."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import kernel_messages
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import kernel_events, kernel_log
from hypothesis import given, settings
from hypothesis import strategies as st

XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
KEYS = {"kind", "bus_address", "code", "seconds_ago", "text"}


def record(message, seconds=100):
    return json.dumps({"__CURSOR": "s=1", "__MONOTONIC_TIMESTAMP": str(seconds * 1000000), "MESSAGE": message})


def events(*messages):
    return [(one["kind"], one["bus_address"], one["code"]) for one in kernel_events.classify([{"seconds_ago": 9, "text": text} for text in messages])]


@pytest.mark.parametrize(
    "messages, expected",
    [
        # Two generations of the kernel's messages; the second line of a pair tells nothing new.
        (["pci 0000:3b:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]"], [("bar_unassigned", "0000:3b:00.0", 1)]),
        (["pci 0000:3b:00.0: BAR 1: failed to assign [mem size 0x800000000 64bit pref]"], [("bar_unassigned", "0000:3b:00.0", 1)]),
        (["pci 0000:3b:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space",
          "pci 0000:3b:00.0: BAR 1 [mem size 0x800000000 64bit pref]: failed to assign"], [("bar_unassigned", "0000:3b:00.0", 1)]),
        # A first attempt that fails and a second one that does not.
        (["pci 0000:3b:00.0: BAR 1 [mem size 0x1000000000 64bit pref]: can't assign; no space",
          "pci 0000:3b:00.0: BAR 1 [mem 0x8880000000-0x987fffffff 64bit pref]: assigned"], []),
        (["pci 0000:3b:00.0: BAR 1: no space for [mem size 0x1000000000 64bit pref]",
          "pci 0000:3b:00.0: BAR 1: assigned [mem 0x8880000000-0x987fffffff 64bit pref]"], []),
        # Resizable BAR tried by the driver: information.
        (["nvidia 0000:3b:00.0: BAR 1 [mem size 0x800000000 64bit pref]: can't assign; no space"], [("bar_resize", "0000:3b:00.0", None)]),
        (["nvidia 0000:3b:00.0: BAR 1: no space for [mem size 0x800000000 64bit pref]"], [("bar_resize", "0000:3b:00.0", None)]),
        (["pci 0000:00:1c.0: bridge window [mem size 0x00200000 64bit pref]: can't assign; no space"], [("bridge_window", "0000:00:1c.0", None)]),
        # Expansion ROMs and I/O ports are not needed.
        (["pci 0000:3b:00.0: BAR 6: no space for [mem size 0x00080000 pref]", "pci 0000:3b:00.0: ROM [mem size 0x00080000 pref]: can't assign; no space"], []),
        (["pci 0000:3b:00.0: BAR 5 [io  size 0x0080]: can't assign; no space", "pci 0000:00:1c.0: bridge window [io  size 0x1000]: failed to assign"], []),
        (["mlx5_core 0000:b0:00.0: not enough MMIO resources for SR-IOV"], [("sriov_mmio", "0000:b0:00.0", None)]),
        (["pci 0000:3b:00.0: VF BAR 1 [mem size 0x2000000000 64bit pref]: can't assign; no space"], [("vf_bar_unassigned", "0000:3b:00.0", None)]),
        (["pci 0000:3b:00.0: BAR 8: no space for [mem size 0x2000000000 64bit pref]"], [("vf_bar_unassigned", "0000:3b:00.0", None)]),
        (["ACPI FADT declares the system doesn't support PCIe ASPM, so disable it"], []),
        (["acpi PNP0A08:00: FADT indicates ASPM is unsupported, using BIOS configuration"], [("aspm_firmware", None, None)]),
        # Power: the failed start of the adapter follows from the cable.
        (["NVRM: GPU 0000:01:00.0: GPU does not have the necessary power cables connected.", "NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x1c:1603)"],
         [("power_cable", "0000:01:00.0", None)]),
        (["NVRM: GPU 0000:01:00.0: RmInitAdapter failed! (0x24:0x72:1447)"], [("rm_init_failed", "0000:01:00.0", "0x24:0x72")]),
        (["NVRM: The NVIDIA GPU 0000:3b:00.0 (PCI ID: 10de:1b38)\nNVRM: installed in this system is not supported by open\n"
          "NVRM: nvidia.ko because it does not include the required GPU\nNVRM: System Processor (GSP)."], [("open_unsupported", "0000:3b:00.0", None)]),
        (["NVRM: The NVIDIA GPU 0000:65:00.0 (PCI ID: 10de:1b38)", "NVRM: installed in this system is not supported by the",
          "NVRM: NVIDIA 595.45.04 driver release."],
         [("unsupported", "0000:65:00.0", None)]),
        (["NVRM: The NVIDIA Tesla K80 GPU installed in this system is", "NVRM:  supported through the NVIDIA 470.xx Legacy drivers. Please"],
         [("legacy_branch", None, "Tesla K80")]),
        (["NVRM: API mismatch: the client has the version 580.95.05, but"], [("api_mismatch", None, None)]),
        (["NVRM: The NVIDIA probe routine was not called for 2 device(s)."], [("nouveau_conflict", None, None)]),
        # Xid lines of old drivers, of other domains, and of one event told in several lines.
        (["NVRM: Xid (0000:03:00): 14, Channel 00000001"], [("xid", "0000:03:00.0", 14)]),
        (["NVRM: Xid (PCI:00000009:01:00): 31, pid=1"], [("xid", "0009:01:00.0", 31)]),
        ([XID, "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.", "NVRM: GPU 0000:3b:00.0: GPU serial number is 032."], [("xid", "0000:3b:00.0", 79)]),
        (["NVRM: Xid (PCI:0000:3b:00): 13, Graphics SM Warp Exception", "NVRM: Xid (PCI:0000:3b:00): 13, Graphics Exception: ESR 0x404490=0x80000001"],
         [("xid", "0000:3b:00.0", 13)]),
        # A message of several lines that another one interrupts keeps what it had.
        (["NVRM: The NVIDIA GPU 0000:b3:00.0", XID, "usb 1-1: new device"], [("xid", "0000:3b:00.0", 79)]),
        (["", "usb 1-1: BAR of chocolate", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  580.95.05"], []),
    ],
)  # fmt: skip
def test_classify(messages, expected):
    assert events(*messages) == expected


def test_every_kind_that_a_verdict_can_meet_is_in_the_catalogue_with_a_source():
    assert all(source for _kind, _pattern, source in kernel_messages.MESSAGES)
    kinds = {kind for kind, _pattern, _source in kernel_messages.MESSAGES}
    assert kinds >= {*kernel_messages.CONSEQUENCES, *(cause for causes in kernel_messages.CONSEQUENCES.values() for cause in causes)}


def test_a_flood_is_cut_to_its_newest_events():
    flood = [{"seconds_ago": 100000 - 10 * number, "text": XID.replace("79", "31")} for number in range(5000)]
    found = kernel_events.classify([{"seconds_ago": 200000, "text": XID}, *flood])
    assert [one["code"] for one in found] == [79] + [31] * kernel_events.LIMIT_PER_FAULT
    assert found[-1]["seconds_ago"] == 100000 - 10 * 4999


def test_the_journal_is_read_with_a_time_limit_and_counts_from_now(monkeypatch):
    asked = []

    def run(args, timeout_seconds=None):
        asked.append((args, timeout_seconds))
        return 0, "\n".join([record("Linux version 6.8.0"), record(XID, 160)]), ""

    monkeypatch.setattr(kernel_log.time, "monotonic", lambda: 200.0)
    found, source, why = kernel_log.read(run, timeout_seconds=7)
    assert found == [{"kind": "xid", "bus_address": "0000:3b:00.0", "code": 79, "seconds_ago": 40, "text": XID}]
    assert (source, why) == ("journalctl -k -b", "")
    assert asked[0][0][:5] == ["journalctl", "-k", "-b", "-o", "json"] and asked[0][1] == 7


def test_a_message_with_bytes_comes_as_numbers():
    entries, _why = kernel_log.journal(record(list(XID.encode() + b"\xff")), 200.0)
    assert kernel_events.classify(entries)[0]["code"] == 79


@pytest.mark.parametrize(
    "text",
    ["{", "{garbage", '{"MESSAGE": "NVRM: Xid", "__MONOTONIC_TIMESTAMP": "soon"}', '{"NVRM": 1}', '{"MESSAGE": "cut sho', "[" * 5000, '[{"MESSAGE": "x"}]',
     '{"MESSAGE": "x", "__MONOTONIC_TIMESTAMP": Infinity}', "null", "NVRM: Xid (PCI:0000:3b:00): 79,"],
)  # fmt: skip
def test_a_log_with_a_line_that_is_no_record_was_not_read(text):
    for log in (text, text + "\n" + record("Linux version"), record("Linux version") + "\n" + text):
        entries, why = kernel_log.journal(log, 200.0)
        assert entries is None and "is no record: " + text[:10] in why


@pytest.mark.parametrize("message", [None, "", ["NVRM", -1, 300], {"NVRM": 1}, 7])
def test_records_without_a_message_are_no_log(message):
    assert kernel_log.journal(record(message), 200.0) == (None, "journalctl shows no message of the kernel")
    entries, why = kernel_log.journal(record(message) + "\n" + record("Linux version"), 200.0)
    assert (entries, why) == ([], "")


def test_a_message_that_holds_the_end_of_a_line_is_one_record():
    line = json.dumps({"__MONOTONIC_TIMESTAMP": "100000000", "MESSAGE": "usb \u2028 \x85 " + XID}, ensure_ascii=False)
    entries, _why = kernel_log.journal(line, 200.0)
    assert [one["code"] for one in kernel_events.classify(entries)] == [79]


@pytest.mark.parametrize(
    "rc, out, why",
    [
        (127, "", "journalctl: rc 127"),
        (124, record(XID), "journalctl: rc 124"),  # cut short: what it had is not the whole
        (0, "", "journalctl shows no message of the kernel"),
        (0, "-- No entries --\n", "journalctl shows no message of the kernel"),
        (0, "{garbage\n", "journalctl: line 1 is no record: {garbage"),
    ],
)
def test_without_any_log_the_reason_names_both_places(tmp_path, rc, out, why):
    found, source, reason = kernel_log.read(lambda args, timeout_seconds: (rc, out, ""), str(tmp_path))
    assert (found, source) == (None, "") and why in reason and "/dev/kmsg: no such file or directory" in reason


def test_something_else_at_the_place_of_the_ring_buffer_is_not_read(tmp_path):
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").write_text("6,1,1000000,-;%s\n" % XID)
    found, _source, reason = kernel_log.read(lambda args, timeout_seconds: (127, "", ""), str(tmp_path))
    assert found is None and "/dev/kmsg is not the kernel's log" in reason


def test_records_of_the_ring_buffer():
    found = kernel_log.records(
        [
            b"6,339,5140900,-;NET: Registered PF_NETLINK\n",
            b"3,340,100000000,-,caller=T1;NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\\x0aNVRM: BAR1 is 0M @ 0x0 (PCI:0000:3b:00.0)\n"
            b" SUBSYSTEM=pci\n",
            b"garbage NVRM",
            b"3,x,y,-;NVRM: Xid (PCI:0000:3b:00): 79,",
        ],
        160.5,
    )
    (event,) = kernel_events.classify(found)
    assert (event["kind"], event["bus_address"], event["seconds_ago"]) == ("bar_invalid", "0000:3b:00.0", 60)


PARTS = ("NVRM: Xid (PCI:0000:3b:00): 79,", "pci 0000:3b:00.0: BAR 1", "[mem size 0x1]", ": can't assign", "\n", "\\x0a", "GPU ")
WORDS = st.sampled_from([*kernel_messages.MARKERS, *PARTS])
LINES = st.lists(st.one_of(WORDS, st.text(max_size=8)), max_size=8).map("".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(LINES, st.none()), max_size=8), st.one_of(st.integers(), st.floats(), st.none(), st.text(max_size=3)))
def test_no_text_raises(texts, seconds_ago):
    for event in kernel_events.classify([{"seconds_ago": seconds_ago, "text": text} for text in texts]):
        assert set(event) == KEYS and event["kind"] and len(event["text"]) <= kernel_events.TEXT_LIMIT
        assert json.loads(json.dumps(event))["seconds_ago"] >= 0


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), st.lists(LINES, max_size=4).map(lambda lines: "\n".join(record(line) for line in lines))), st.binary(max_size=200))
def test_no_log_raises(text, data):
    entries, why = kernel_log.journal(text, 1.0)
    assert (entries is None) == bool(why)
    kernel_events.classify([*(entries or []), *kernel_log.records([data, b"1,2,3,-;NVRM: " + data], 1.0)])
    assert kernel_log.records([data.replace(b";", b"")], 1.0) is None
