"""Installed packages from rpm: recorded answers, and hosts that have databases of both families."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import packages, rpm_packages

# rpm 4.18 on a node with branch 570; times as rpm gives them.
NODE = """\
nvidia-kmod-common\t3:570.211.01-1.el9\t1795571400
kmod-nvidia-latest-dkms\t3:570.211.01-1.el9\t1795571401
libnvidia-ml\t3:570.211.01-1.el9\t1795571402
nvidia-driver-cuda\t3:570.211.01-1.el9\t1795571403
"""
DRIVER = dict.fromkeys(("nvidia-kmod-common", "kmod-nvidia-latest-dkms", "libnvidia-ml", "nvidia-driver-cuda"), "3:570.211.01-1.el9")


def answering(text, rc=0, errors=""):
    """A `run` that gives one answer and notes the question."""

    def run(args, timeout_seconds=None):
        run.asked.append(args)
        return rc, text, errors

    run.asked = []
    return run


@pytest.mark.parametrize(
    "text, expected",
    [
        (NODE, DRIVER),
        ("", {}),
        ("kmod-nvidia-580\t(none):580.95.05-1.el9\t12\n", {"kmod-nvidia-580": "580.95.05-1.el9"}),
        # What an interrupted transaction leaves: the version that came last counts, in either order of the lines.
        ("nvidia-driver\t3:580.95.05-1.el9\t20\nnvidia-driver\t3:570.211.01-1.el9\t10\n", {"nvidia-driver": "3:580.95.05-1.el9"}),
        ("nvidia-driver\t3:580.95.05-1.el9\t10\nnvidia-driver\t3:570.211.01-1.el9\t20\n", {"nvidia-driver": "3:570.211.01-1.el9"}),
        ("nvidia-driver\t3:580.95.05-1.el9\t(none)\n", {"nvidia-driver": "3:580.95.05-1.el9"}),
        ("error: rpmdb damaged\nnvidia-driver\n", {}),
    ],
)
def test_what_rpm_answers(text, expected):
    assert rpm_packages.parse(text) == expected


def test_a_host_of_rpm(tmp_path):
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    run = answering(NODE + "libnvidia-container1\t(none):1.20.1-1\t5\n")
    installed, source, reason = packages.read(run, str(tmp_path))
    assert (source, reason) == ("rpm -qa", "") and packages.driver_packages(installed) == DRIVER
    assert run.asked == [["rpm", "-qa", "--qf", rpm_packages.FORMAT, "*nvidia*", "cuda-drivers*", "libnvsdm*", "docker*", "moby-engine"]]


STATUS = "Package: nvidia-utils-580-server\nStatus: install ok installed\nVersion: 580.95.05-0ubuntu1\n\n"


@pytest.mark.parametrize(
    "status, answer, source, expected",
    [
        (STATUS, NODE, "/var/lib/dpkg/status", {"nvidia-utils-580-server": "580.95.05-0ubuntu1"}),
        ("", NODE, "rpm -qa", DRIVER),
        ("", "", "/var/lib/dpkg/status", {}),
    ],
    ids=["dpkg with rpm's tool", "rpm with dpkg's tool", "neither has a driver"],
)
def test_a_host_with_both_databases(tmp_path, status, answer, source, expected):
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg").mkdir()
    (tmp_path / "var/lib/dpkg/status").write_text(status)
    assert packages.read(answering(answer), str(tmp_path)) == (expected, source, "")


def test_rpm_that_fails(tmp_path):
    (tmp_path / "var/lib/rpm").mkdir(parents=True)
    installed, source, reason = packages.read(answering("", 1, "error: cannot open Packages database"), str(tmp_path))
    assert (installed, source, reason) == (None, "", "rpm -qa: rc 1 error: cannot open Packages database")
