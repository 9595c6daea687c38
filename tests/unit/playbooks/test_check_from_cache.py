"""check.yml on cached facts of hosts that are down: verdicts on the controller, one table of all hosts, one exit status. Nothing is connected to."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.severity import STANDINGS

from tests.unit.facts_samples import device, facts

GOOD = facts("p40", "p40")
BAD = facts("p40", device(number=1, pcie__aspm="l1"))
ASPM = {"check": "firmware.aspm", "reason": "riser on order", "until": "2999-12-31"}
LINE = "firmware.aspm 0000:3c:00.0: "

# host → facts, variables, how firmware.aspm stands, a word of what stops (None: nothing does)
ROWS = {
    "good": (GOOD, {}, None, None),
    "bad": (BAD, {}, "fail", LINE),
    "waived": (BAD, {"gpu_preflight_waivers": [ASPM]}, "waived", None),
    "other_subject": (BAD, {"gpu_preflight_waivers": [{**ASPM, "subject": "0000:3b:00.0"}]}, "fail", LINE),
    "ended": (BAD, {"gpu_preflight_waivers": [{**ASPM, "until": "2026-01-31"}]}, "fail", "Its waiver ended on 2026-01-31 (riser on order)"),
    "severity": (BAD, {"gpu_preflight_severity": {"firmware.aspm": []}}, "fail", None),
    "nothing_stops": (BAD, {"gpu_preflight_fail_on": []}, "fail", None),
    # wrong input: a line that names the option, and every other check is made
    "typo": (BAD, {"gpu_preflight_waivers": [{**ASPM, "check": "firmware.asmp"}]}, "fail", "gpu_preflight_waivers[0].check names 'firmware.asmp': no check"),
    "negative": (BAD, {"gpu_preflight_platform_watts": -1.0}, "fail", "gpu_preflight_platform_watts is -1.0: it must be 0 or more"),
    "no_date": (BAD, {"gpu_preflight_driver_date": "today"}, "fail", "gpu_preflight_driver_date is today: it must be written YYYY-MM-DD"),
    "no_bmc": (
        BAD,
        {"gpu_preflight_bmc": {"base_url": "https://127.0.0.1:9", "username": "operator", "password": "not known"}},
        "fail",
        "gpu_preflight_bmc: base_url https://127.0.0.1:9: no BMC answers",
    ),
    "no_driver": (facts("p40", "p40", loaded=None), {}, None, None),
    "no_gpu": (facts(loaded=None), {}, None, "gpu.count host: no NVIDIA GPU on the PCI bus"),
    # Ansible itself refuses the type: the host leaves the run, the others stay
    "wrong_type": (GOOD, {"gpu_preflight_expected_count": "two"}, None, "not checked"),
    "never_seen": (None, {}, None, "the fact cache has no facts of this host"),
}


class Fleet:
    """The hosts of ROWS."""

    def __init__(self, controller):
        self.controller, self.reports = controller, controller.folder / "reports"
        # Whoever became another user on the controller would fail.
        common = {"ansible_become": True, "ansible_become_exe": "/bin/false", "gpu_preflight_from_cache": True, "gpu_preflight_supply_watts": 1100}
        inventory = {"all": {"vars": common, "hosts": {name: row[1] for name, row in ROWS.items()}}}
        (controller.folder / "hosts.json").write_text(json.dumps(inventory))
        controller.remember({name: {"gpu": row[0], "gpu_preflight_facts_date": "2026-11-01T08:00:00Z"} for name, row in ROWS.items() if row[0]})

    def check(self, limit):
        """Exit status, output and summary of a run."""
        done = self.controller.run(
            "ansible-playbook", "gpuops.fleet.check", "-i", "hosts.json", "--limit", limit, "-e", "fleet_report_directory=%s" % self.reports
        )
        return done.returncode, done.stdout, json.loads((self.reports / "summary.json").read_text())

    def host(self, name):
        """The JSON file of a host."""
        return json.loads((self.reports / (name + ".json")).read_text())


@pytest.fixture(scope="module")
def fleet(controllers):
    return Fleet(controllers())


@pytest.fixture(scope="module")
def everything(fleet):
    return fleet.check("all")


def test_where_nothing_stops_the_run_ends_well(fleet):
    code, text, summary = fleet.check("good:waived:severity:nothing_stops")
    assert code == 0, text
    assert not summary["stops"] and summary["counts"]["pass"] > 40 and summary["counts"]["waived"] == 1
    assert "waived until 2999-12-31: riser on order" in text and "cached facts of 2026-11-01T08:00:00Z" in text


def test_where_one_host_stops_the_run_fails_after_the_table(everything):
    code, text, summary = everything
    assert code == 2 and summary["stops"] and set(summary["hosts"]) == set(ROWS)
    table = text[text.index("Show the report on all hosts") :]
    lines = [line.split() for line in table.splitlines()]
    assert [name for name in ROWS if not any(line[1:2] == [name] and line[0] in STANDINGS for line in lines)] == []
    assert table.index("fail     bad") < table.index("unknown  never_seen") < table.index("PLAY RECAP")


@pytest.mark.parametrize("name", ROWS)
def test_what_stops_and_what_is_said(fleet, everything, name):
    _given, _variables, aspm, words = ROWS[name]
    host = everything[2]["hosts"][name]
    lines = host["stops"] + host["errors"]
    assert len(lines) == (words is not None) + (aspm == "fail" and words is not None and not any(words in line for line in host["stops"]))
    assert words is None or any(words in line for line in lines), lines
    standing = [one["status"] for one in everything[2]["findings"] if one["id"] == "firmware.aspm" and name in one["hosts"]]
    assert standing == ([aspm] if aspm else [])


def test_the_file_of_a_host_has_everything(fleet, everything):
    host = fleet.host("good")
    assert {one["id"] for one in host["checks"]} >= {"gpu.count", "firmware.aspm", "power.budget", "driver.plan", "driver.loaded"}
    assert (host["gpu"]["count"], host["plan"]["action"], host["from_cache"], host["facts_date"]) == (2, "none", True, "2026-11-01T08:00:00Z")
    assert {"reason": ASPM["reason"], "until": ASPM["until"]} in [one.get("waiver") for one in fleet.host("waived")["checks"]]
    assert fleet.host("never_seen")["gpu"] is None
