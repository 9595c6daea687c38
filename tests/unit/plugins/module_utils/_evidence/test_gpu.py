"""The facts as a whole: the same keys on every path, and what each kind of machine says of itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import gpu, join, nvml_answer

from tests.unit.gpu_machine import driver, machine, no_commands, write
from tests.unit.plugins.module_utils._evidence.test_nvml import NVMLError, p40, record, refuse

XML = Path(__file__).resolve().parents[4] / "fixtures/nvidia-smi"
GPUS = ("0000:3b:00.0", "0000:af:00.0")


def smi(name, rc=0):
    """A `run` with an nvidia-smi that prints the recorded log `name`, on the addresses of the lab's machine."""
    text = (XML / (name + ".xml")).read_text().replace("00000000:04:00.0", "00000000:3B:00.0").replace("00000000:84:00.0", "00000000:AF:00.0")

    def run(args, timeout_seconds=None):
        return (rc, text, "") if args[0] == "nvidia-smi" else no_commands(args)

    return run


@pytest.fixture
def host(tmp_path, monkeypatch):
    machine(tmp_path, "p40x2")
    driver(tmp_path)
    for address in GPUS:
        write(tmp_path, "/proc/driver/nvidia/gpus/%s/information" % address, "Model: \t Tesla P40\nGPU UUID: \t GPU-from-proc\nVideo BIOS: \t ??.??.??.??.??\n")
    monkeypatch.setattr(gpu, "importable", lambda: False)
    return tmp_path


def bind(monkeypatch, **changes):
    """Install a binding that knows both cards of the machine."""
    monkeypatch.setattr(gpu, "importable", lambda: True)
    ids = {"pciDeviceId": 0x1B3810DE, "pciSubSystemId": 0x11D910DE}
    known = {
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetPciInfo": lambda handle: record(busId="0000" + GPUS[handle].upper(), **ids),
    }
    monkeypatch.setitem(sys.modules, "pynvml", p40(**dict(known, **changes)))


DATA = ("unavailable", "sources", "module_versions", "module_flavors", "module_signers", "packages", "topology", "power", "prefetchable_window")


def keys(value, prefix=""):
    """Every dotted key of a fact, without the entries of the dicts whose keys are data or that are null as a whole."""
    if isinstance(value, dict) and prefix.rpartition(".")[2] not in DATA:
        return {deeper for key, below in value.items() for deeper in keys(below, "%s.%s" % (prefix, key))}
    return {prefix}


def all_paths(host, monkeypatch):
    yield "no driver", gpu.read_gpu(no_commands, root=str(driverless(host)))
    yield "nvidia-smi", gpu.read_gpu(smi("p40nomig-535"), root=str(host))
    yield "lost", gpu.read_gpu(smi("p40x2-lost1-535"), root=str(host))
    yield "nothing answers", gpu.read_gpu(no_commands, root=str(host))
    yield "not asked", gpu.read_gpu(no_commands, root=str(host), reader="none")
    yield "pci only", gpu.read_gpu(no_commands, root=str(host), gather_subset=["pci"])
    yield "everything", gpu.read_gpu(smi("p40nomig-535"), root=str(host), gather_subset=["all"])
    bind(monkeypatch)
    yield "pynvml", gpu.read_gpu(no_commands, root=str(host))


def driverless(host):
    root = host / "driverless"
    root.mkdir()
    (root / "sys").mkdir()
    (root / "sys/bus").symlink_to(host / "sys/bus")
    (root / "sys/devices").symlink_to(host / "sys/devices")
    return root


def test_the_same_keys_on_every_path_and_a_reason_for_every_null(host, monkeypatch):
    expected = None
    for name, facts in all_paths(host, monkeypatch):
        assert json.loads(json.dumps(facts)) == facts, "only JSON types"
        assert facts["count"] == 2 and [one["bus_address"] for one in facts["devices"]] == list(GPUS), name
        for one in facts["devices"]:
            expected = expected or keys(one)
            assert keys(one) == expected, name
            nulls = {field for field in join.DEVICE if join._get(one, field) is None}
            assert nulls == set(one["unavailable"]) and all(one["unavailable"].values()), name
        for part, names in (("driver", join.DRIVER), ("host", join.HOST)):
            assert set(facts[part]) == {field.partition(".")[0] for field in names} | {"unavailable", "sources"}, name
            nulls = {field for field in names if join._get(facts[part], field) is None}
            assert nulls <= set(facts[part]["unavailable"]) and all(facts[part]["unavailable"].values()), name
        assert str(host) not in json.dumps(facts), "%s: paths are the machine's" % name


def test_keys_are_those_of_the_contract(host):
    text = (Path(__file__).resolve().parents[5] / "docs/architecture.md").read_text()
    import yaml

    contract = yaml.safe_load(text[text.index("```yaml\ngpu:") + 8 :].partition("```")[0])["gpu"]
    facts = gpu.read_gpu(no_commands, root=str(host))
    assert keys(facts["devices"][0]) == keys(contract["devices"][0])
    assert keys(facts["driver"]) == keys(contract["driver"]) and keys(facts["host"]) == keys(contract["host"]) and set(facts) == set(contract)


def test_a_machine_without_gpus(tmp_path):
    facts = gpu.read_gpu(no_commands, root=str(tmp_path))
    assert facts["count"] == 0 and facts["devices"] == [] and facts["driver"]["unavailable"]["reader"] == "the nvidia kernel module is not loaded"


def test_without_a_driver_pci_and_the_catalogue_speak(host):
    first = gpu.read_gpu(no_commands, root=str(driverless(host)))["devices"][0]
    assert (first["state"], first["name"], first["architecture"], first["compute_capability"]) == ("no_driver", "Tesla P40", "pascal", "6.1")
    assert first["index"] is None and first["uuid"] is None and first["bar1"]["size_mib"] == 32768 and first["pcie"]["width_current"] == 16
    assert first["unavailable"]["power.draw_watts"] == "the nvidia kernel module is not loaded"


def test_nvml_is_not_asked_while_no_module_is_loaded(host, monkeypatch):
    bind(monkeypatch, nvmlInit=lambda: pytest.fail("asked"))

    def run(args, timeout_seconds=None):
        assert args[0] != "nvidia-smi"
        return no_commands(args)

    assert gpu.read_gpu(run, root=str(driverless(host)))["driver"]["reader"] is None


@pytest.mark.parametrize("reader", ["auto", "pynvml"])
def test_the_binding_is_preferred(host, monkeypatch, reader):
    bind(monkeypatch)
    facts = gpu.read_gpu(smi("p40nomig-535"), root=str(host), reader=reader)
    assert facts["driver"]["reader"] == "pynvml" and facts["driver"]["cuda_version"] == "13.0"
    assert [(one["state"], one["index"], one["sources"]["nvml"]) for one in facts["devices"]] == [("ok", 0, "pynvml"), ("ok", 1, "pynvml")]
    assert facts["devices"][0]["memory"] == {"total_mib": 23040, "reserved_mib": 180, "used_mib": 3}
    # The link of PCI's own registers: generation 3, not NVML's 1.
    assert facts["devices"][0]["pcie"]["generation_current"] == 3 and facts["devices"][0]["pcie"]["replay_count"] == 0


def test_nvidia_smi_on_request(host, monkeypatch):
    bind(monkeypatch)
    facts = gpu.read_gpu(smi("p40nomig-535"), root=str(host), reader="nvidia_smi")
    assert facts["driver"]["reader"] == "nvidia-smi" and facts["devices"][1]["serial"] == "0324818070002"


def test_pynvml_on_request_but_not_installed(host):
    facts = gpu.read_gpu(smi("p40nomig-535"), root=str(host), reader="pynvml")
    assert facts["driver"]["unavailable"]["reader"] == "pynvml is not installed on the target"
    assert [one["state"] for one in facts["devices"]] == ["unknown", "unknown"]


@pytest.mark.parametrize(
    "code, reader, state",
    [(9, None, "unknown"), (12, "nvidia-smi", "ok"), (13, "nvidia-smi", "ok"), (15, None, "unknown"), (18, None, "unknown"), (999, None, "unknown")],
)
def test_nvml_that_does_not_start_and_when_nvidia_smi_may_help(host, monkeypatch, code, reader, state):
    bind(monkeypatch, nvmlInit=refuse(code))
    facts = gpu.read_gpu(smi("p40nomig-535"), root=str(host))
    assert facts["driver"]["reader"] == reader and [one["state"] for one in facts["devices"]] == [state, state]
    if reader is None:
        reason = "NVML: " + nvml_answer.CODES[code]
        assert facts["driver"]["unavailable"]["reader"] == reason and facts["devices"][0]["unavailable"]["power.draw_watts"] == reason
        assert facts["devices"][0]["uuid"] == "GPU-from-proc", "the kernel still knows it"


def test_a_lost_gpu_is_lost_on_both_paths_with_the_same_values(host, monkeypatch):
    by_smi = gpu.read_gpu(smi("p40x2-lost1-535"), root=str(host))["devices"]

    def lost(handle, *_args):
        if handle == 1:
            raise NVMLError(15)
        return [125000, 250000]

    bind(monkeypatch, nvmlDeviceGetPowerManagementLimitConstraints=lost, nvmlDeviceGetSerial=lambda handle: "032481807000%d" % (handle + 1),
         nvmlDeviceGetUUID=lambda handle: "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d80%d" % (handle + 1))  # fmt: skip
    by_binding = gpu.read_gpu(no_commands, root=str(host))["devices"]
    assert [one["state"] for one in by_smi] == [one["state"] for one in by_binding] == ["ok", "lost"]
    sources = by_smi[1].pop("sources"), by_binding[1].pop("sources")
    assert by_smi[1] == by_binding[1] and [one["nvml"] for one in sources] == ["nvidia-smi", "pynvml"]
    assert by_smi[1]["uuid"] == "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d802" and by_smi[1]["power"]["enforced_limit_watts"] is None
    assert by_smi[1]["unavailable"]["power.enforced_limit_watts"] == "GPU is lost"


def test_a_gpu_that_is_lost_before_it_tells_its_address_is_the_one_that_is_missing(host, monkeypatch):
    def handle(index):
        if index == 0:
            raise NVMLError(15)
        return index

    bind(monkeypatch, nvmlDeviceGetHandleByIndex=handle)
    first, second = gpu.read_gpu(no_commands, root=str(host))["devices"]
    assert (first["state"], first["index"], first["uuid"]) == ("lost", 0, "GPU-from-proc") and second["state"] == "ok"


def test_a_gpu_that_nvml_does_not_list_is_not_visible(host, monkeypatch):
    bind(monkeypatch, nvmlDeviceGetCount=lambda: 1)
    first, second = gpu.read_gpu(no_commands, root=str(host))["devices"]
    assert (first["state"], second["state"]) == ("ok", "not_visible")
    assert second["name"] == "Tesla P40" and second["unavailable"]["power.draw_watts"] == "the driver does not see the device"


def test_a_device_that_left_the_bus_is_lost_whatever_nvml_says(host, monkeypatch):
    bind(monkeypatch)
    (host / "sys/bus/pci/devices" / GPUS[1] / "config").write_bytes(b"\xff" * 4096)
    assert [one["state"] for one in gpu.read_gpu(no_commands, root=str(host))["devices"]] == ["ok", "lost"]


def test_a_hang_costs_its_time_out_once_and_no_more(host, monkeypatch):
    import time

    bind(monkeypatch, nvmlInit=lambda: time.sleep(60))
    start = time.monotonic()
    facts = gpu.read_gpu(smi("p40nomig-535"), root=str(host), timeout_seconds=1)
    assert time.monotonic() - start < 5
    assert facts["driver"]["unavailable"]["reader"] == "NVML: no answer within 1 s" and facts["devices"][0]["state"] == "unknown"


def test_a_hung_nvidia_smi_that_no_signal_ends(monkeypatch):
    import time

    monkeypatch.setattr(gpu, "GRACE_SECONDS", 0.2)
    answer = gpu._Asking("nvidia-smi", lambda args, timeout_seconds=None: time.sleep(60), 0.1).result()
    assert answer["devices"] == [] and answer["error"].startswith("nvidia-smi: no answer within")


@pytest.mark.parametrize(
    "subset, count, read, nvml_reason",
    [
        (["pci"], 2, (False, False), "not gathered"),
        (["driver"], None, (True, False), None),
        (["host"], None, (False, True), None),
        (["devices"], 2, (False, False), "nvidia-smi is not installed"),
        (["pci", "driver"], 2, (True, False), "not gathered"),
        (["all", "pci"], 2, (True, True), "nvidia-smi is not installed"),
    ],
)
def test_subsets(host, subset, count, read, nvml_reason):
    driver_read, host_read = read
    facts = gpu.read_gpu(no_commands, root=str(host), gather_subset=subset)
    assert facts["count"] == count and len(facts["devices"]) == (count or 0)
    assert (facts["driver"]["loaded_version"], facts["host"]["kernel_release"] is not None) == ("580.95.05" if driver_read else None, host_read)
    if not driver_read:
        assert facts["driver"]["unavailable"]["loaded_version"] == "not gathered"
    if not host_read:
        assert facts["host"]["unavailable"]["docker.version"] == "not gathered"
    if nvml_reason:
        assert facts["devices"][0]["unavailable"]["power.draw_watts"] == nvml_reason


def test_a_gpu_that_sysfs_does_not_show_is_taken_from_nvml(tmp_path, monkeypatch):
    driver(tmp_path)
    bind(monkeypatch)
    facts = gpu.read_gpu(no_commands, root=str(tmp_path))
    first = facts["devices"][0]
    assert facts["count"] == 2 and first["state"] == "ok" and first["pci"]["device_id"] == "1b38" and first["architecture"] == "pascal"
    assert first["pcie"]["width_current"] == 16 and first["unavailable"]["bar1.address"] == "sysfs does not show the device"
