"""Checks in the words of Podman: commands that exist, and no daemon."""

from __future__ import annotations

import re

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import containers

UUID = "GPU-11111111-2222-3333-4444-555555555555"
HOST = {"loaded_version": "580.95.05", "nodes": {"/dev/nvidia0": [195, 0]}, "gpus": [{"uuid": UUID, "minor": 0, "bus_address": "0000:3b:00.0"}]}
STATE = {
    "found": True, "reason": "", "status": "running", "running": True, "paused": False, "restarting": False, "exit_code": 0, "health": None, "error": "",
    "started_at": "2026-11-24T21:58:10.5Z", "image": "x", "runtime": "oci", "devices": [], "environment": {}, "privileged": False, "pid": 7,
    "device_requests": [{"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"], "Capabilities": []}],
}  # fmt: skip


def checks(engine, **changes):
    inside = {"nodes": {"/dev/nvidia0": [195, 0]}, "libraries": {}, "reason": ""}
    gpus = {"uuids": [], "lost": [], "source": "%s exec c nvidia-smi" % engine, "reason": "", "refused": False}
    seen = {"state": dict(STATE, engine=engine, **changes), "host": HOST, "specs": [], "gpus": gpus, "inside": inside, "opened": {}, "opened_reason": ""}
    return containers.check(seen, "c", None)


def words(found):
    return " ".join(" ".join([check.summary, check.expected, check.remedy, *(item["source"] for item in check.evidence)]) for check in found)


def test_the_same_findings_in_other_words():
    by_docker, by_podman = checks("docker"), checks("podman")
    assert [(check.id, check.status) for check in by_docker] == [(check.id, check.status) for check in by_podman]
    assert "docker restart c" in words(by_docker) and "podman restart c" in words(by_podman)
    assert not re.search("docker", words(by_podman), re.I)


def test_podman_has_no_daemon_that_could_be_down():
    found = checks("podman", found=None, reason="podman: no such program")
    assert found[0].status == "unknown" and found[0].remedy == "see that Podman is installed"
    stopped = checks("podman", running=False, status="exited", exit_code=1)
    assert "podman logs c" in stopped[0].remedy and not re.search("docker", words(stopped), re.I)
