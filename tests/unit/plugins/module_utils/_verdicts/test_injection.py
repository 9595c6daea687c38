"""How containers get GPUs: versions of Docker, toolkit and Podman, and Docker's feature cdi → injection and reason, or why it cannot be.

Sources: release notes and code of moby and of the toolkit, named at each row.
"""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.gpu_injection import FilterModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.injection import choose

DOCKER, PODMAN, BOTH = ("docker",), ("podman",), ("docker", "podman")
LOSES = "systemctl daemon-reload takes the GPUs away from running containers"

# wish, engines, toolkit, Docker, Podman, features.cdi → injection, words of the reason, and where it is known from
POSSIBLE = [
    ("auto", DOCKER, "1.20.1", "20.10.24", None, None, "runtime", "before 28.2", "toolkit#1227: the runtime makes CDI specifications just in time"),
    ("auto", DOCKER, "1.20.1", "25.0.0", None, True, "runtime", "before 28.2", "moby#49989: CDI is registered after containers are restored"),
    ("auto", DOCKER, "1.20.1", "26.1.5", None, True, "runtime", "before 28.2", "moby#49989"),
    ("auto", DOCKER, "1.20.1", "28.1.1", None, True, "runtime", "before 28.2", "moby#49989"),
    ("auto", DOCKER, "1.20.1", "28.2.0", None, None, "cdi", "before it starts containers", "moby#45192: CDI is on by default from 28.2.0 on"),
    ("auto", DOCKER, "1.18.0", "28.2.2", None, None, "cdi", "before it starts containers", "toolkit 1.18.0 brings nvidia-cdi-refresh.service"),
    ("auto", DOCKER, "1.20.1", "29.7.0", None, True, "cdi", "before it starts containers", "moby#45192"),
    ("auto", DOCKER, "1.20.1", "28.5.2", None, False, "runtime", "features.cdi is false", "moby daemon: features.cdi=false takes CDI out"),
    ("auto", DOCKER, "1.17.8", "29.7.0", None, None, "runtime", LOSES, "toolkit#1227: before 1.18 the runtime uses the prestart hook"),
    ("auto", DOCKER, "1.17.8", "20.10.24", None, None, "runtime", LOSES, "toolkit#1227"),
    ("auto", DOCKER, "1.20.1", None, None, None, "runtime", "(not installed yet)", "nothing known is not enough for CDI"),
    ("cdi", DOCKER, "1.19.0", "25.0.0", None, None, "cdi", "asked for", "moby 25.0 with features.cdi; specifications of 1.19.0 are older than 0.7.0"),
    ("cdi", DOCKER, "1.19.1", "26.1.0", None, True, "cdi", "asked for", "release notes of toolkit 1.19.1: 0.7.0 needs Docker 26.1.0"),
    ("cdi", DOCKER, "1.20.1", None, None, None, "cdi", "asked for", "Docker is installed by the same run"),
    ("runtime", DOCKER, "1.20.1", "28.5.2", None, False, "runtime", "asked for", "the runtime needs no CDI of Docker"),
    ("runtime", DOCKER, "1.17.8", "28.5.2", None, None, "runtime", LOSES, "toolkit#1227"),
    ("legacy", DOCKER, "1.20.1", "19.03.15", None, None, "legacy", LOSES, "toolkit#48: the hook edits the control group behind systemd"),
    ("legacy", DOCKER, "1.20.1", "29.1.3", None, None, "legacy", LOSES, "moby#50228 came with 29.2"),
    ("legacy", DOCKER, "1.20.1", "29.2.0", None, None, "legacy", "asked for", "moby#50228: --gpus tries CDI first from 29.2.0 on"),
    ("auto", PODMAN, "1.20.1", None, "5.4.2", None, "cdi", "Podman 5.4.2, toolkit 1.20.1: Podman gives GPUs by CDI names", "toolkit's guide: Podman 4.1"),
    ("cdi", PODMAN, "1.18.0", "20.10.24", "4.1.0", False, "cdi", "CDI names", "what Docker can do does not matter to Podman"),
    ("auto", PODMAN, "1.20.1", None, None, None, "cdi", "(not installed yet)", "Podman may come later"),
    ("auto", BOTH, "1.20.1", "26.1.5", "5.4.2", True, "runtime", "before 28.2", "the choice is Docker's"),
    ("auto", BOTH, "1.20.1", "28.5.2", "5.4.2", None, "cdi", "Docker 28.5.2", "the choice is Docker's"),
    ("runtime", BOTH, "1.20.1", "28.5.2", "5.4.2", None, "runtime", "asked for", "the choice is Docker's"),
]  # fmt: skip

# The same → words of the one line
IMPOSSIBLE = [
    ("cdi", DOCKER, "1.20.1", "20.10.24", None, None, ["toolkit 1.20.1 needs Docker 26.1 or newer, found 20.10.24", "auto or runtime"], "moby 25.0"),
    ("cdi", DOCKER, "1.20.1", "25.0.5", None, True, ["needs Docker 26.1 or newer, found 25.0.5"], "release notes of toolkit 1.19.1"),
    ("cdi", DOCKER, "1.19.1", "26.0.2", None, True, ["needs Docker 26.1 or newer, found 26.0.2"], "release notes of toolkit 1.19.1"),
    ("cdi", DOCKER, "1.19.0", "24.0.9", None, True, ["needs Docker 25.0 or newer, found 24.0.9"], "moby 25.0 is the first with CDI"),
    ("cdi", DOCKER, "1.17.8", "28.5.2", None, None, ["needs toolkit 1.18 or newer", "1.17.8 is asked for"], "nvidia-cdi-refresh.service came with 1.18"),
    ("cdi", DOCKER, "1.20.1", "28.5.2", None, False, ["features.cdi is false in its daemon.json"], "moby daemon: features.cdi=false takes CDI out"),
    ("legacy", DOCKER, "1.20.1", "18.09.9", None, None, ["needs Docker 19.03 or newer, found 18.09.9"], "release notes of Docker 19.03"),
    ("runtime", PODMAN, "1.20.1", None, "5.4.2", None, ["injection runtime is Docker's", "auto or cdi"], "Podman has no runtime setting of Docker's kind"),
    ("legacy", PODMAN, "1.20.1", None, "5.4.2", None, ["injection legacy is Docker's"], "docker run --gpus"),
    ("auto", PODMAN, "1.17.8", None, "5.4.2", None, ["toolkit 1.17.8 does not keep true", "1.18 or newer"], "nvidia-cdi-refresh.service came with 1.18"),
    ("auto", PODMAN, "1.20.1", None, "3.4.4", None, ["Podman 3.4.4 knows no CDI devices", "4.1 or newer"], "toolkit's guide: Podman 4.1"),
    ("auto", BOTH, "1.20.1", "28.5.2", "3.4.4", None, ["Podman 3.4.4 knows no CDI devices"], "one of two engines is enough to refuse"),
    ("auto", (), "1.20.1", "28.5.2", None, None, ["no engine is named"], "nothing to do"),
]  # fmt: skip


def chosen(row):
    wish, engines, toolkit, docker, podman, feature = row
    return choose(wish, engines, toolkit, docker=docker, podman=podman, cdi_feature=feature)


@pytest.mark.parametrize("row", POSSIBLE)
def test_the_versions_decide_and_the_reason_is_told(row):
    injection, reason, source = row[6:]
    found = chosen(row[:6])
    assert found["problem"] == "" and found["injection"] == injection and source
    assert reason in found["reason"] and "\n" not in found["reason"]
    # The words about a loss are only there where one is to be feared.
    assert (LOSES in found["reason"]) is (reason == LOSES)


@pytest.mark.parametrize("row", IMPOSSIBLE)
def test_what_the_versions_cannot_do_is_refused_with_one_line(row):
    words, source = row[6:]
    found = chosen(row[:6])
    assert [word for word in words if word not in found["problem"]] == [] and source
    assert "\n" not in found["problem"]


# wish, engines, toolkit → injection, or words of the refusal; source: the toolkit's guide, "Rootless mode", and its troubleshooting of NVML errors
ROOTLESS = [
    ("auto", (), "1.20.1", "runtime", ""),
    ("auto", DOCKER, "1.20.1", "runtime", ""),
    ("cdi", DOCKER, "1.19.0", "cdi", ""),
    ("auto", PODMAN, "1.20.1", "cdi", ""),
    ("legacy", DOCKER, "1.20.1", "", "with it injection legacy gives containers of the system's Docker GPUs that they may not open"),
    ("auto", DOCKER, "1.17.8", "", "with it toolkit 1.17.8 gives containers of the system's Docker GPUs that they may not open"),
]


@pytest.mark.parametrize(("wish", "engines", "toolkit", "injection", "problem"), ROOTLESS)
def test_docker_without_root_does_not_take_gpus_from_the_systems(wish, engines, toolkit, injection, problem):
    found = choose(wish, engines, toolkit, docker="26.1.5", rootless=True)
    assert found["injection"] == injection and problem in found["problem"] and bool(problem) == bool(found["problem"])


def test_auto_is_possible_with_every_docker():
    """Whatever version of Docker is there, `auto` finds a way for it."""
    for docker in (None, "17.03.2", "20.10.24", "23.0.6", "25.0.5", "26.1.5", "27.5.1", "28.1.1", "28.2.0", "29.2.0", "30.0.0-rc.1"):
        for toolkit in ("1.14.6", "1.17.8", "1.18.0", "1.19.0", "1.19.1", "1.20.1"):
            for feature in (None, False, True):
                found = choose("auto", DOCKER, toolkit, docker=docker, cdi_feature=feature)
                assert found["problem"] == "" and found["reason"]
                # What auto chooses is possible when it is asked for by name.
                assert choose(found["injection"], DOCKER, toolkit, docker=docker, cdi_feature=feature)["problem"] == ""


def test_the_filter_takes_what_a_role_has():
    choose_by_filter = FilterModule().filters()["gpu_injection"]
    assert choose_by_filter("auto", ["docker"], 1.18, docker="", cdi_feature=None)["injection"] == "runtime"
    with pytest.raises(AnsibleFilterError, match="runc is none of auto, cdi, runtime, legacy"):
        choose_by_filter("runc", ["docker"], "1.20.1")
    with pytest.raises(AnsibleFilterError, match="engines is a list of docker and podman"):
        choose_by_filter("auto", "docker", "1.20.1")
