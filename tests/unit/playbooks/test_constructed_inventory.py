"""Groups of hosts from cached facts: the inventory source that the collection ships."""

from __future__ import annotations

import json
import shutil

from tests.unit.facts_samples import device, facts
from tests.unit.playbooks.conftest import ROOT

SOURCE = ROOT / "playbooks" / "inventory" / "gpu.constructed.yml"
HOSTS = "all:\n  hosts:\n    p40:\n    mixed:\n    bare:\n    empty:\n    strange:\n    never_seen:\n"

# group → hosts
EXPECTED = {
    "gpu_hosts": {"p40", "mixed", "bare", "strange"},
    "gpu_ready": {"p40", "empty"},
    "gpu_model_tesla_p40": {"p40", "mixed", "bare"},
    "gpu_model_tesla_t4": {"mixed"},
    "gpu_architecture_pascal": {"p40", "mixed", "bare"},
    "gpu_architecture_turing": {"mixed"},
    "gpu_driver_580": {"p40", "strange"},
    "gpu_driver_470": {"mixed"},
    "gpu_driver_none": {"bare", "empty"},
    "gpu_health_pass": {"p40"},
    "gpu_health_waived": {"mixed"},
    "gpu_health_fail": {"bare"},
    "gpu_health_unknown": {"empty"},
}


def groups(controller, *sources):
    done = controller.run("ansible-inventory", *(part for source in sources for part in ("-i", str(source))), "--list")
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr and "[ERROR]" not in done.stderr, done.stderr
    listed = json.loads(done.stdout)
    return {name: set(value.get("hosts", [])) for name, value in listed.items() if name.startswith("gpu_") and value.get("hosts")}


def test_groups_are_those_of_the_cached_facts(controller):
    (controller.folder / "hosts.yml").write_text(HOSTS)
    controller.remember(
        {
            "p40": {"gpu": facts("p40", "p40"), "gpu_preflight_health": "pass", "gpu_preflight_ready": True},
            "mixed": {"gpu": facts("p40", "t4", loaded="470.82.01"), "gpu_preflight_health": "waived", "gpu_preflight_ready": False},
            "bare": {"gpu": facts("p40", loaded=None), "gpu_preflight_health": "fail", "gpu_preflight_ready": False},
            "empty": {"gpu": facts(loaded=None), "gpu_preflight_health": "unknown", "gpu_preflight_ready": True},
            "strange": {"gpu": facts(device("odd"), loaded="580.95.05")},
        }
    )
    assert groups(controller, "hosts.yml", SOURCE) == EXPECTED


def test_hosts_without_facts_are_in_no_group(controller):
    (controller.folder / "hosts.yml").write_text(HOSTS)
    controller.remember({"p40": {"ansible_distribution": "Debian"}})
    assert groups(controller, "hosts.yml", SOURCE) == {}


def test_the_source_works_under_the_name_that_a_user_gives_it(controller):
    """The plugin takes files that end in .yml or .yaml."""
    (controller.folder / "a.yml").write_text(HOSTS)
    shutil.copy(SOURCE, controller.folder / "z.yml")
    controller.remember({"p40": {"gpu": facts("p40"), "gpu_preflight_health": "pass", "gpu_preflight_ready": True}})
    assert groups(controller, controller.folder / "a.yml", controller.folder / "z.yml")["gpu_model_tesla_p40"] == {"p40"}
