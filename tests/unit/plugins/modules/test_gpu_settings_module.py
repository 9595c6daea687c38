"""gpu_settings as Ansible runs it, with the system around it replaced. What NVML, nvidia-smi and systemd do with it is tested elsewhere."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import gpu_settings as setting
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import kept_settings as keeping
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import driver, gpu_settings, kept_settings
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import kept_settings as keep

from tests.unit.module_runner import run

GPU = {
    "index": 0, "uuid": "GPU-0", "bus_address": "0000:3b:00.0", "name": "Tesla P40", "lost": False, "unavailable": {}, "persistence_mode": False,
    "power_limit_watts": 250.0, "min_power_limit_watts": 125.0, "max_power_limit_watts": 250.0, "compute_mode": "default", "ecc_mode": True,
    "ecc_mode_pending": True,
}  # fmt: skip
DAEMON = "[Service]\nExecStart=/usr/bin/nvidia-persistenced --user nvpd --no-persistence-mode\n"


class Host:
    """A host with one GPU, systemd and the persistence daemon; `deaf`: a GPU that takes settings and does not keep them."""

    def __init__(self, patch, systemd=True, loaded=True, deaf=False):
        self.gpu, self.files, self.calls, self.enabled, self.deaf = dict(GPU), {}, [], False, deaf
        patch.setattr(driver, "loaded", lambda: {"loaded": loaded})
        patch.setattr(gpu_settings, "read", lambda run_command, timeout: ("nvidia-smi", [dict(self.gpu)]))
        patch.setattr(kept_settings, "systemd", lambda: systemd)
        patch.setattr(kept_settings, "texts", lambda paths: {path: self.files.get(path) for path in paths})
        patch.setattr(kept_settings, "units", lambda run_command, *names: {name: self.unit(name) for name in names})
        patch.setattr(kept_settings, "unit_texts", lambda unit, but: [DAEMON])
        patch.setattr(setting, "apply", lambda run_command, reader, changes, timeout: [self.take(change) for change in changes])
        patch.setattr(keeping, "write", lambda files, move, folder: self.files.update(files))
        patch.setattr(keeping, "systemctl", lambda run_command, *words: self.systemctl(words))

    def unit(self, name):
        return {"UnitFileState": "enabled" if self.enabled else "", "ActiveState": "active" if self.enabled or name == keep.DAEMON_NAME else "inactive"}

    def take(self, change):
        self.calls.append((change["option"], change["word"]))
        if not self.deaf:
            self.gpu["ecc_mode_pending" if change["setting"] == "ecc_mode" else change["setting"]] = change["after"]

    def systemctl(self, words):
        self.calls.append(words)
        self.enabled = {"enable": True, "disable": False}.get(words[0], self.enabled)


def test_kept_first_then_set_then_proved(capsys, monkeypatch):
    host = Host(monkeypatch)
    result = run(capsys, "gpu_settings", persistence_mode=True, power_limit_watts=200)
    assert result["changed"] and host.files[keep.SETTINGS].endswith("GPU-0 -pm 1\nGPU-0 -pl 200\n")
    assert host.files[keep.DROP_IN].endswith("ExecStart=/usr/bin/nvidia-persistenced --user nvpd\n")
    units = [("daemon-reload",), ("restart", keep.DAEMON_NAME), ("enable", keep.UNIT_NAME), ("restart", keep.UNIT_NAME)]
    assert host.calls == [*units, ("-pm", "1"), ("-pl", "200")]
    again = run(capsys, "gpu_settings", persistence_mode=True, power_limit_watts=200)
    assert (again["changed"], len(host.calls), again["msg"]) == (False, 6, "nothing to change")


def test_check_mode_says_the_same_and_does_nothing(capsys, monkeypatch):
    host = Host(monkeypatch)
    planned = run(capsys, "gpu_settings", check_mode=True, persistence_mode=True, ecc_mode=False)
    assert planned["changed"] and (host.calls, host.files, host.gpu) == ([], {}, GPU)
    done = run(capsys, "gpu_settings", persistence_mode=True, ecc_mode=False)
    assert {key: done[key] for key in ("msg", "gpus", "kept", "reset_pending")} == {key: planned[key] for key in ("msg", "gpus", "kept", "reset_pending")}
    # ECC mode is kept by the board, not by a unit.
    assert done["reset_pending"] == ["0000:3b:00.0"] and done["kept"] == {"GPU-0": {"-pm": "1"}}


def test_a_gpu_that_does_not_keep_what_it_took_is_a_failure(capsys, monkeypatch):
    Host(monkeypatch, deaf=True)
    result = run(capsys, "gpu_settings", power_limit_watts=200, persist=False)
    assert result["failed"] and result["error"]["kind"] == "action"
    assert result["msg"] == "power_limit_watts of GPU 0 (Tesla P40 at 0000:3b:00.0) is still 250.0 after it was set to 200.0"


@pytest.mark.parametrize(
    "host, params, error",
    [
        (
            {"systemd": False},
            {"persistence_mode": True},
            ("evidence", "systemd does not run on this host: settings cannot be kept across reboots, set persist to false"),
        ),
        ({"loaded": False}, {"persistence_mode": True}, ("evidence", "the NVIDIA driver is not loaded: GPUs cannot be set")),
        ({}, {"power_limit_watts": 251}, ("policy", "power_limit_watts is 251: GPU 0 (Tesla P40 at 0000:3b:00.0) takes 125 to 250 W")),
        ({}, {}, ("policy", "nothing to set: name at least one of persistence_mode, ecc_mode, compute_mode, power_limit_watts, application_clocks")),
    ],
)
def test_nothing_is_touched_before_all_is_known_to_fit(capsys, monkeypatch, host, params, error):
    there = Host(monkeypatch, **host)
    result = run(capsys, "gpu_settings", **params)
    assert result["failed"] and (result["error"]["kind"], result["msg"]) == error
    assert (there.calls, there.files) == ([], {})


def test_without_systemd_settings_can_be_made_for_now(capsys, monkeypatch):
    host, warnings = Host(monkeypatch, systemd=False), []
    monkeypatch.setattr(FleetModule, "warn", lambda fleet, message: warnings.append(message))
    result = run(capsys, "gpu_settings", power_limit_watts=200, persist=False)
    assert result["changed"] and host.calls == [("-pl", "200")]
    assert warnings == ["persistence mode is off on 0000:3b:00.0: the driver forgets these settings when the last client leaves the GPU"]


@pytest.mark.parametrize("loaded", [True, False])
def test_what_is_kept_can_be_forgotten_with_the_driver_gone(capsys, monkeypatch, loaded):
    host = Host(monkeypatch, loaded=loaded)
    host.enabled, host.files = True, keep.files({"GPU-0": {"-pm": "1"}, "GPU-gone": {"-pl": "100"}}, ["GPU-0"], None)
    result = run(capsys, "gpu_settings", state="absent")
    assert result["changed"] and result["kept"] == {} and set(host.files.values()) == {None} and not host.enabled
    assert host.calls[0] == ("disable", "--now", keep.UNIT_NAME)
    assert not run(capsys, "gpu_settings", state="absent")["changed"]


def test_one_setting_is_forgotten_and_the_others_stay(capsys, monkeypatch):
    host = Host(monkeypatch)
    run(capsys, "gpu_settings", persistence_mode=True, power_limit_watts=200)
    result = run(capsys, "gpu_settings", power_limit_watts=200, state="absent")
    assert result["kept"] == {"GPU-0": {"-pm": "1"}} and host.enabled and host.gpu["power_limit_watts"] == 200
