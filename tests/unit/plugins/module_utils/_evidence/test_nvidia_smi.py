"""nvidia-smi's XML: recorded logs of three driver branches, lost GPUs, refusals, and anything at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import nvidia_smi, nvml, nvml_answer
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).resolve().parents[4] / "fixtures/nvidia-smi"


def log(name):
    return (FIXTURES / (name + ".xml")).read_text()


P40 = {
    "name": "Tesla P40", "uuid": "GPU-7a1c0f3e-5b02-4d6a-9e11-0f24b0a0d801", "serial": "0324818070001", "board_part_number": "900-2G610-0000-000",
    "vbios_version": "86.02.23.00.01", "inforom_version": "G610.0200.00.03", "memory.total_mib": 24576, "memory.reserved_mib": 125, "memory.used_mib": 0,
    "bar1.total_mib": 32768, "bar1.used_mib": 0, "power.draw_watts": 9.8, "power.enforced_limit_watts": 250.0, "power.default_limit_watts": 250.0,
    "power.min_limit_watts": 125.0, "power.max_limit_watts": 250.0, "temperature.gpu_celsius": 30, "clocks.graphics_mhz": 544, "clocks.sm_mhz": 544,
    "clocks.memory_mhz": 405, "clocks.max_graphics_mhz": 1531, "clocks.max_memory_mhz": 3615, "pcie.generation_current": 3, "pcie.generation_max": 3,
    "pcie.width_current": 16, "pcie.width_max": 16, "pcie.replay_count": 0, "utilization.gpu_percent": 0, "utilization.memory_percent": 0,
    "persistence_mode": True, "compute_mode": "default", "ecc.mode_current": True, "ecc.mode_pending": True, "ecc.volatile_corrected": 0,
    "ecc.volatile_uncorrected": 0, "ecc.aggregate_corrected": 0, "ecc.aggregate_uncorrected": 0, "retired_pages.single_bit": 0,
    "retired_pages.double_bit": 0, "retired_pages.pending": False, "processes": [], "event_reasons": ["gpu_idle"],
    "temperature.memory_celsius": 28, "pcie.generation_gpu_max": 3, "virtualization_mode": "none",
}  # fmt: skip
NO_THRESHOLDS = {"temperature.shutdown_celsius", "temperature.slowdown_celsius", "temperature.gpu_max_celsius"}
MIG_AND_ROWS = {"mig_mode.current": False, "mig_mode.pending": False, "remapped_rows.correctable": 0, "remapped_rows.uncorrectable": 0,
                "remapped_rows.pending": False, "remapped_rows.failure": False}  # fmt: skip


@pytest.mark.parametrize("name, more", [("p40nomig-535", {}), ("p40x2-535", MIG_AND_ROWS), ("p40x2-550", MIG_AND_ROWS)])
def test_recorded_p40(name, more):
    found = nvidia_smi.parse(log(name))
    assert (found["driver_version"], found["error"], len(found["devices"])) == (re.search("<driver_version>(.*)<", log(name)).group(1), "", 2)
    first = found["devices"][0]
    assert first["values"] == dict(P40, **more)
    assert set(first["unavailable"]) == NO_THRESHOLDS | set(MIG_AND_ROWS if not more else ())
    assert (first["index"], first["bus_address"], first["architecture"]) == (0, "0000:04:00.0", "pascal")
    assert first["pci"] == {"vendor_id": "10de", "device_id": "1b38", "subsystem_vendor_id": "10de", "subsystem_device_id": "11d9"}


@pytest.mark.parametrize(
    "name, architecture, expected",
    [
        ("a100x8-535", "ampere", {"memory.total_mib": 40960, "power.enforced_limit_watts": 400.0, "mig_mode.current": False, "ecc.volatile_uncorrected": 0}),
        ("h100x8-550", "hopper", {"memory.total_mib": 81920, "power.draw_watts": 95.0, "power.min_limit_watts": 200.0, "ecc.aggregate_uncorrected": 0}),
    ],
)
def test_recorded_servers_with_eight_gpus(name, architecture, expected):
    devices = nvidia_smi.parse(log(name))["devices"]
    assert [one["index"] for one in devices] == list(range(8)) and len({one["values"]["uuid"] for one in devices}) == 8
    for one in devices:
        assert one["architecture"] == architecture and {field: one["values"].get(field) for field in expected} == expected


def test_a_lost_gpu_keeps_its_identity_and_nothing_else():
    healthy, lost = nvidia_smi.parse(log("p40x2-lost1-535"))["devices"]
    assert not healthy["lost"] and healthy["values"]["memory.total_mib"] == 24576
    assert lost["lost"] and lost["reason"] == "GPU is lost"
    assert set(lost["values"]) == set(nvml_answer.IDENTITY) and lost["unavailable"] == {}


TABLE = "WARNING: infoROM is corrupted at gpu 0000:B3:00.0\n"


@pytest.mark.parametrize(
    "rc, text, expected",
    [
        (0, "| NVIDIA-SMI 580.95.05 |", {"0000:b3:00.0": True, "0000:b4:00.0": True, "0000:b5:00.0": "not supported"}),
        (14, TABLE, {"0000:b3:00.0": False, "0000:b4:00.0": True, "0000:b5:00.0": "not supported"}),
        (14, "", dict.fromkeys(("0000:b3:00.0", "0000:b4:00.0", "0000:b5:00.0"), "nvidia-smi: rc 14")),
        (124, TABLE, {"0000:b3:00.0": False, "0000:b4:00.0": "nvidia-smi: rc 124", "0000:b5:00.0": "nvidia-smi: rc 124"}),
    ],
)
def test_a_corrupted_inforom_is_named_by_plain_nvidia_smi(rc, text, expected):
    devices = [{"bus_address": address, "values": {"inforom_version": "G610"}, "unavailable": {}} for address in sorted(expected)]
    devices[2].update(values={}, unavailable={"inforom_version": "not supported"})
    nvidia_smi.add_inforom(devices, rc, text)
    assert {one["bus_address"]: one["values"].get("inforom_valid", one["unavailable"].get("inforom_valid")) for one in devices} == expected


def test_both_readers_know_the_same_fields():
    fields = {field for names, _query, _convert in nvml.QUERIES for field in names} - {"compute_capability.major", "compute_capability.minor"}
    asked = [field for field, _paths, _convert in nvidia_smi.FIELDS] + [*nvml_answer.ECC_COUNTS, "processes", "event_reasons", "nvlinks"]
    assert sorted(asked) == sorted(fields)


OLD = """<nvidia_smi_log><driver_version>470.256.02</driver_version><cuda_version>11.4</cuda_version><gpu id="00000000:3B:00.0">
<product_name>Tesla P40</product_name><power_readings><power_draw>9.50 W</power_draw><enforced_power_limit>250.00 W</enforced_power_limit></power_readings>
<temperature><gpu_temp>28 C</gpu_temp><gpu_temp_max_threshold>95 C</gpu_temp_max_threshold><gpu_temp_slow_threshold>92 C</gpu_temp_slow_threshold></temperature>
<clocks_throttle_reasons><clocks_throttle_reason_gpu_idle>Active</clocks_throttle_reason_gpu_idle>
<clocks_throttle_reason_hw_slowdown>Not Active</clocks_throttle_reason_hw_slowdown>
<clocks_throttle_reason_hw_power_brake_slowdown>Active</clocks_throttle_reason_hw_power_brake_slowdown></clocks_throttle_reasons>
<ecc_errors><volatile><double_bit><total>3</total></double_bit></volatile></ecc_errors><ecc_mode><current_ecc>[Unknown Error]</current_ecc></ecc_mode>
<processes><process_info><pid>9</pid><process_name>/usr/bin/ollama</process_name><used_memory>4302 MiB</used_memory></process_info>
<process_info><pid>4</pid><process_name>x</process_name><used_memory>N/A</used_memory></process_info></processes>
<retired_pages><pending_blacklist>Yes</pending_blacklist></retired_pages><persistence_mode>[GPU requires reset]</persistence_mode>
<utilization>N/A</utilization><compute_mode>Exclusive_Process</compute_mode></gpu></nvidia_smi_log>"""


def test_names_and_texts_of_older_branches():
    (one,) = nvidia_smi.parse(OLD)["devices"]
    values = one["values"]
    assert values["power.draw_watts"] == 9.5 and values["power.enforced_limit_watts"] == 250.0
    assert values["temperature.shutdown_celsius"] == 95 and values["temperature.slowdown_celsius"] == 92
    assert values["event_reasons"] == ["gpu_idle", "hw_power_brake_slowdown"] and values["retired_pages.pending"] is True
    assert values["ecc.volatile_uncorrected"] == 3 and one["unavailable"]["ecc.volatile_corrected"] == "not reported"
    assert values["processes"] == [{"pid": 4, "name": "x", "used_memory_mib": None}, {"pid": 9, "name": "/usr/bin/ollama", "used_memory_mib": 4302}]
    assert one["unavailable"]["ecc.mode_current"] == "unknown error" and one["unavailable"]["persistence_mode"] == "GPU requires reset"
    assert one["unavailable"]["utilization.gpu_percent"] == "not supported" and values["compute_mode"] == "exclusive_process"


LINKS = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)\n\t Link 0: 26.562 GB/s\n\t Link 1: <inactive>\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    "first, second, expected",
    [
        ("Active", "Not Active", ["gpu_idle"]),
        ("Not Active", "N/A", []),
        ("N/A", "N/A", "not supported"),
        ("Not Active", "Unknown Error", "unknown error"),
        ("Unknown Error", "Unknown Error", "unknown error"),
        ("Perhaps", "Active", "not understood: Perhaps"),
    ],
)
def test_no_reason_is_read_out_of_an_error(first, second, expected):
    reasons = "<clocks_event_reason_gpu_idle>%s</clocks_event_reason_gpu_idle><clocks_event_reason_hw_slowdown>%s</clocks_event_reason_hw_slowdown>"
    text = "<nvidia_smi_log><gpu><clocks_event_reasons>%s</clocks_event_reasons></gpu></nvidia_smi_log>" % (reasons % (first, second))
    (one,) = nvidia_smi.parse(text)["devices"]
    assert (one["values"] if isinstance(expected, list) else one["unavailable"])["event_reasons"] == expected


def answers(log_text, links=(0, LINKS), capabilities=(0, "")):
    """Run `ask` over recorded texts: (the answer, the commands that were run)."""
    commands, emitted = [], []

    def run(args, timeout_seconds=None):
        commands.append(args)
        rc, out = (0, log_text) if args[1:] == ["-q", "-x"] else links if args[1] == "nvlink" else capabilities
        return rc, out, ""

    nvidia_smi.ask(run, 5, emitted.append)
    return emitted[0], commands


def test_boards_without_nvlink_cost_one_command():
    found, commands = answers(log("p40x2-535"))
    assert commands == [["nvidia-smi", "-q", "-x"]] and [one["values"]["nvlinks"] for one in found["devices"]] == [[], []]


def test_links_of_boards_with_nvlink():
    found, commands = answers(log("h100x8-550"))
    assert len(commands) == 2
    assert found["devices"][0]["values"]["nvlinks"] == [{"link": 0, "active": True}, {"link": 1, "active": False}]
    assert found["devices"][1]["values"]["nvlinks"] == []
    found, _commands = answers(log("h100x8-550"), links=(1, "Invalid combination of input arguments"))
    assert "nvlinks" not in found["devices"][0]["values"] and found["devices"][0]["unavailable"]["nvlinks"] == "not offered by this nvidia-smi"


def test_a_board_that_the_catalogue_does_not_know_is_asked_for_its_compute_capability():
    text = log("p40x2-535").replace("1B3810DE", "FFFE10DE")
    found, _commands = answers(text, capabilities=(0, "00000000:04:00.0, 6.1\n00000000:84:00.0, [N/A]\n"))
    first, second = found["devices"]
    assert (first["values"]["compute_capability.major"], first["values"]["compute_capability.minor"]) == (6, 1)
    assert "compute_capability.major" not in second["values"]


@pytest.mark.parametrize(
    "rc, out, err, code, error",
    [
        (127, "", "nvidia-smi: not found", None, "nvidia-smi is not installed"),
        (124, "", "", None, "nvidia-smi: no answer within 5 s"),
        (9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", "", 9, "the NVIDIA driver is not loaded (rc 9)"),
        (12, "NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "", 12, "the NVML library is not installed (rc 12"),
        (18, "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95", "", 18, "have different versions (rc 18"),
        (255, "Failed to initialize NVML: Unknown Error", "", None, "nvidia-smi: Failed to initialize NVML: Unknown Error (rc 255)"),
        (6, "No devices were found", "", None, "No devices were found"),
        (0, "", "", None, "no output"),
        (139, "", "Segmentation fault", None, "Segmentation fault (rc 139)"),
    ],
)
def test_refusals(rc, out, err, code, error):
    found = nvidia_smi.failed(rc, out, err, 5)
    assert found["code"] == code and error in found["error"] and found["devices"] == [] and found["reader"] == "nvidia-smi"


@pytest.mark.parametrize("text", ["", "<nvidia_smi_log>", "<a/>", "\0", "<nvidia_smi_log><gpu/></nvidia_smi_log>", log("p40x2-535")[:5000]])
def test_parse_says_why(text):
    found = nvidia_smi.parse(text)
    assert found["error"] or all(one["bus_address"] is None for one in found["devices"])


@given(st.text(max_size=300))
def test_parse_never_raises(text):
    nvidia_smi.parse(text)


@given(st.data())
def test_parse_never_raises_for_any_text_in_any_field(data):
    odd = ["N/A", "GPU is lost", "[Unknown Error]", "", "-", "0x", "1e9 W", "NaN W", "Enabled", "9" * 30]
    texts = st.one_of(st.sampled_from(odd), st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=8))
    text = re.sub(r">([^<>\s][^<>]*)</", lambda _match: ">%s</" % data.draw(texts).replace("&", "").replace("<", "").replace(">", ""), FIRST_GPU)
    (one,) = nvidia_smi.parse(text)["devices"]
    assert not set(one["values"]) & set(one["unavailable"])


TAGS = ["gpu", "pci", "processes", "process_info", "pid", "ecc_errors", "volatile", "double_bit", "total", "clocks_event_reasons", "mig_mode", "uuid"]
TREE = st.recursive(
    st.sampled_from(["", "N/A", "GPU is lost", "3", "Active"]),
    lambda inner: st.lists(st.tuples(st.sampled_from(TAGS), inner).map(lambda pair: "<%s>%s</%s>" % (*pair, pair[0])), max_size=4).map("".join),
    max_leaves=20,
)


@given(TREE)
def test_parse_never_raises_for_any_structure(text):
    for whole in ("<nvidia_smi_log>%s</nvidia_smi_log>" % text, "<nvidia_smi_log><gpu>%s</gpu></nvidia_smi_log>" % text, "<gpu>%s</gpu>" % text):
        found = nvidia_smi.parse(whole)
        assert found["error"] == "" and all(set(one["values"]).isdisjoint(one["unavailable"]) for one in found["devices"])


FIRST_GPU = re.sub(r"<(fbc_stats|encoder_stats|supported_gpu_target_temp|module_power_readings)>.*?</\1>", "", log("p40x2-535"), flags=re.DOTALL)
FIRST_GPU = FIRST_GPU[: FIRST_GPU.index("</gpu>")] + "</gpu></nvidia_smi_log>"
