"""The filters that make text of checks."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter import check_lines, check_table, check_verdict
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import firmware, health_events, health_presence

from tests.unit.facts_samples import device, facts

GIVEN = facts(device(), device(number=1, state="lost", bar1__address="0x0"))
MADE = [
    health_presence.count_check(GIVEN, 2),
    health_presence.visible_check(GIVEN["devices"][0]),
    health_events.lost_check(GIVEN["devices"][1], []),
    *health_presence.uniform_checks(GIVEN),
    *(check for check in firmware.check(GIVEN) if check.id == "firmware.above_4g"),
]
CHECKS = [check.to_dict() for check in MADE]


def test_lines_are_those_of_the_checks():
    assert check_lines.FilterModule().filters()["check_lines"](CHECKS) == [check.line() for check in MADE]


TABLE = """
fail     gpu.lost           0000:3c:00.0  GPU is lost: Tesla P40 has fallen off the bus
                                          -> Read what came before it in the kernel log (journalctl -k -b | grep -e Xid
                                             -e NVRM), then power the server off and on; if it comes back, reseat the
                                             card, check its auxiliary power and cooling, and replace it when the fault
                                             follows the card.
fail     firmware.above_4g  0000:3c:00.0  BAR1 (32 GiB) is not assigned: Above 4G Decoding is off, or its window is too
                                          small
                                          -> Set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled
                                             in System BIOS Settings, Integrated Devices, then restart.
unknown  gpu.uniform        Tesla P40     the VBIOS version of 1 of 2 GPUs is not known
                                          -> Bring all GPUs of this model under the driver, then check again.
pass     gpu.count          host          2 GPUs on the PCI bus
pass     gpu.visible        0000:3b:00.0  the driver sees Tesla P40
pass     firmware.above_4g  0000:3b:00.0  BAR1 lies at 0x39f000000000"""


def test_the_table_is_aligned_worst_first_and_names_remedies():
    assert "\n" + check_table.FilterModule().filters()["check_table"](CHECKS) == TABLE


@pytest.mark.parametrize("width", [20, 80, 120, 200])
def test_no_line_is_wider_than_asked_unless_names_take_the_room(width):
    lines = check_table.check_table(CHECKS, width=width).splitlines()
    names = max(len(check["id"]) + len(check["subject"]) for check in CHECKS) + 20
    assert max(map(len, lines)) <= max(width, names + check_table.LEAST)


def test_hosts_are_blocks():
    text = check_table.check_table({"gpu1": CHECKS[:1], "gpu2": []})
    assert text.splitlines() == ["gpu1", "  pass  gpu.count  host  2 GPUs on the PCI bus", "", "gpu2", "  nothing was checked"]


WAIVERS = [
    {"check": "gpu.lost", "reason": "spare card on order", "until": "2026-12-31"},
    {"check": "firmware.above_4g", "reason": "next window", "until": "2026-10-31"},
]
WAIVED = """
fail    firmware.above_4g  0000:3c:00.0  BAR1 (32 GiB) is not assigned: Above 4G Decoding is off, or its window is too
                                         small
                                         -> Set "Memory Mapped I/O above 4GB" (BIOS attribute MmioAbove4Gb) to Enabled
                                            in System BIOS Settings, Integrated Devices, then restart. (Its waiver ended
                                            on 2026-10-31: next window)
waived  gpu.lost           0000:3c:00.0  GPU is lost: Tesla P40 has fallen off the bus
                                         -> waived until 2026-12-31: spare card on order
pass    gpu.count          host          2 GPUs on the PCI bus"""


def test_a_waived_check_is_shown_so_with_reason_and_date():
    given = [CHECKS[0], CHECKS[2], next(one for one in CHECKS if one["id"] == "firmware.above_4g" and one["status"] == "fail")]
    found = check_verdict.FilterModule().filters()["check_verdict"]([{"checks": given}], today="2026-11-24", waivers=WAIVERS)
    assert "\n" + check_table.check_table(found["checks"]) == WAIVED
    assert [line.split(" ")[0] for line in check_lines.check_lines(found["checks"])] == ["gpu.count", "gpu.lost", "firmware.above_4g"]


def test_a_verdict_needs_results():
    with pytest.raises(AnsibleFilterError, match="not results of check modules"):
        check_verdict.check_verdict([{"checks": [1]}], today="2026-11-24")
    with pytest.raises(AnsibleFilterError, match="today"):
        check_verdict.check_verdict([], today="today")


@pytest.mark.parametrize("junk", [[{"id": "a"}], [1], ["text"], [{**CHECKS[0], "status": "good"}]])
def test_what_is_no_check_is_refused(junk):
    for use in (check_lines.check_lines, check_table.check_table):
        with pytest.raises(AnsibleFilterError, match="not a"):
            use(junk)
