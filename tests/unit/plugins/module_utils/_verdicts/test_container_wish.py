"""Which GPUs a container asks for, which settings do nothing, and what is said about devices, libraries and specifications that do not fit."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import container_devices, container_wish

A, B, C = (f"GPU-{number}1111111-2222-3333-4444-555555555555" for number in (3, 2, 1))
GPUS = [{"uuid": A, "minor": 0}, {"uuid": B, "minor": 1}]
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
GPU = [["gpu"]]
NUMBERS = {"/dev/nvidia0": [195, 0], "/dev/nvidia1": [195, 1], "/dev/nvidiactl": [195, 255], "/dev/nvidia-uvm": [510, 0]}
HOST = {"loaded_version": "580.95.05", "gpus": GPUS, "nodes": NUMBERS}
SPEC = {"path": "/var/run/cdi/nvidia.yaml", "devices": ["0", "1", A, B, "all"], "nodes": HOST["nodes"], "driver_versions": ["580.95.05"]}


def state(requests=(), runtime="runc", visible=None, devices=()):
    return {"device_requests": list(requests), "runtime": runtime, "environment": {} if visible is None else {VISIBLE: visible}, "devices": list(devices)}


@pytest.mark.parametrize(
    ("container", "way", "uuids"),
    [
        (state(), "nothing", []),
        (state(visible="all"), "nothing", []),
        (state([{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]), "cdi", [B, A]),
        (state([{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=" + B, "nvidia.com/gpu=0"]}]), "cdi", [B, A]),
        (state([{"Driver": "", "Count": -1, "Capabilities": GPU}]), "device request", [B, A]),
        (state([{"Driver": "nvidia", "Count": 0, "DeviceIDs": ["1"], "Capabilities": GPU}]), "device request", [B]),
        (state([{"Driver": "nvidia", "Count": 1, "Capabilities": GPU}]), "device request", None),
        (state(runtime="nvidia", visible="all"), "runtime", [B, A]),
        (state(runtime="nvidia", visible="1, " + A), "runtime", [B, A]),
        (state(runtime="nvidia", visible="GPU-3111"), "runtime", [A]),
        (state(runtime="nvidia", visible="void"), "runtime", []),
        (state(runtime="nvidia"), "runtime", []),
        (state(runtime="nvidia", visible=C), "runtime", [C]),
        (state(runtime="nvidia", visible="2"), "runtime", None),
        (state(devices=["/dev/nvidia1", "/dev/nvidiactl"]), "devices", [B]),
        (state(devices=["/dev/nvidia7"]), "devices", None),
    ],
)
def test_what_a_container_asks_for(container, way, uuids):
    assert container_wish.way(container) == way
    found, reason = container_wish.wished(container, GPUS)
    assert found == uuids and bool(reason) == (uuids is None)
    assert container_wish.asks(container) == (uuids != [])


@pytest.mark.parametrize(
    ("container", "status", "words"),
    [
        (state(), "pass", ""),
        (state(visible="all"), "pass", ""),
        (state(runtime="nvidia", visible="0"), "pass", ""),
        (state(visible="0"), "warn", "has no effect: its runtime is runc, and it has no device request"),
        (state([{"Driver": "", "Count": -1, "Capabilities": GPU}], visible="0,1"), "warn", "has no effect: its device request (--gpus) chooses its GPUs"),
        (state([{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}], visible="1"), "warn", "has no effect: the CDI names"),
        (state([{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=0"]}], runtime="nvidia"), "warn", "a device request and runtime nvidia"),
    ],
)
def test_settings_without_effect(container, status, words):
    check = container_wish.visible_devices(container, "c")
    assert check.status == status and words in check.summary and bool(check.remedy) == (status == "warn")


NODES = dict(HOST["nodes"])


@pytest.mark.parametrize(
    ("nodes", "uuids", "status", "words"),
    [
        (NODES, [A, B], "pass", ""),
        (NODES, [], "skipped", ""),
        (None, [A], "unknown", "could not be read"),
        (NODES, [C], "unknown", "does not tell the device of " + C),
        ({"/dev/nvidia0": [195, 0]}, [A, B], "fail", "/dev/nvidia1, /dev/nvidiactl are missing"),
        (dict(NODES, **{"/dev/nvidia-uvm": [511, 0]}), [A], "fail", "/dev/nvidia-uvm is 511:0, on the host 510:0"),
        ({key: NODES[key] for key in NODES if "uvm" not in key}, [A], "warn", "CUDA cannot compute"),
    ],
)
def test_device_nodes(nodes, uuids, status, words):
    check = container_devices.device_nodes(HOST, {"nodes": nodes, "libraries": {}, "reason": "not allowed"}, "c", uuids, "cdi")
    assert check.status == status and words in check.summary


@pytest.mark.parametrize(
    ("opened", "status"),
    [
        ({"/dev/nvidia0": "", "/dev/nvidiactl": "No such device or address"}, "pass"),
        ({"/dev/nvidia0": "Operation not permitted", "/dev/nvidiactl": ""}, "fail"),
        ({}, "skipped"),
        (None, "unknown"),
    ],
)
def test_device_cgroup(opened, status):
    assert container_devices.device_cgroup(opened, "no shell", "c", [A], "runtime").status == status


@pytest.mark.parametrize(
    ("libraries", "loaded", "status"),
    [
        ({"libnvidia-ml": ["580.95.05"], "libcuda": ["580.95.05"]}, "580.95.05", "pass"),
        ({"libnvidia-ml": ["580.82.07"], "libcuda": ["580.82.07"]}, "580.95.05", "fail"),
        ({"libnvidia-ml": ["580.95.05"]}, "580.95.05", "warn"),
        ({}, "580.95.05", "fail"),
        (None, "580.95.05", "unknown"),
        ({}, None, "unknown"),
    ],
)
def test_driver_libraries(libraries, loaded, status):
    inside = {"nodes": {}, "libraries": libraries, "reason": "not allowed"}
    assert container_devices.driver_libraries(dict(HOST, loaded_version=loaded), inside, "c", [A], "cdi").status == status


@pytest.mark.parametrize(
    ("specs", "status", "words"),
    [
        ([SPEC], "pass", ""),
        ([], "fail", "there is no CDI specification"),
        ([dict(SPEC, driver_versions=["580.82.07"])], "fail", "mounts libraries of 580.82.07, and 580.95.05 is loaded"),
        ([dict(SPEC, devices=["0", "all", A])], "fail", "it lacks " + B),
        ([dict(SPEC, nodes={"/dev/nvidia9": [195, 9]})], "fail", "which the host does not have"),
        ([dict(SPEC, path="/etc/cdi/nvidia.yaml"), SPEC], "fail", "name the same devices"),
    ],
)
def test_cdi_spec(specs, status, words):
    check = container_devices.cdi_spec(HOST, specs, "c", [A, B], "cdi")
    assert check.status == status and words in check.summary
    assert container_devices.cdi_spec(HOST, specs, "c", [A, B], "runtime").status == "skipped"
