"""The files that keep settings across reboots, over the persistence daemon as distributions ship it."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import kept_settings as keep
from hypothesis import given
from hypothesis import strategies as st

DAEMON = "/usr/bin/nvidia-persistenced"
A, B = "GPU-aaaa", "GPU-bbbb"
# From nvidia-compute-utils-580-server (Ubuntu), nvidia-persistenced 550.163.01-1 (Debian) and NVIDIA's CUDA repository (EL).
UBUNTU = (
    "[Unit]\nDescription=NVIDIA Persistence Daemon\nStopWhenUnneeded=true\n\n[Service]\nType=forking\n"
    "ExecStart=/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose\nExecStopPost=/bin/rm -rf /var/run/nvidia-persistenced\n"
)
DEBIAN = "[Service]\nType=forking\nExecStart=/usr/bin/nvidia-persistenced --user nvpd\n\n[Install]\nWantedBy=multi-user.target\n"
EL = "[Service]\nType=forking\nRestart=always\nExecStart=/usr/bin/nvidia-persistenced --verbose\n\n[Install]\nWantedBy=multi-user.target\n"
CLEARED = "[Service]\nExecStart=\nExecStart=/usr/bin/nvidia-persistenced --user me \\\n  --no-persistence-mode\n"


@pytest.mark.parametrize(
    "texts, command, started",
    [
        ([UBUNTU], DAEMON + " --user nvidia-persistenced --no-persistence-mode --verbose", DAEMON + " --user nvidia-persistenced --verbose"),
        ([DEBIAN], DAEMON + " --user nvpd", None),
        ([EL], DAEMON + " --verbose", None),
        # An administrator's drop-in counts, ours comes after it.
        ([UBUNTU, CLEARED], DAEMON + " --user me    --no-persistence-mode", DAEMON + " --user me"),
        ([UBUNTU, "[Service]\nExecStart=\n"], None, None),
        ([], None, None),
        (["[Unit]\nExecStart=/bin/false\n"], None, None),
    ],
    ids=["ubuntu", "debian", "el", "drop-in", "emptied", "none", "other-section"],
)
def test_the_drop_in_takes_one_flag_away_and_leaves_the_rest(texts, command, started):
    assert keep.command(texts) == command
    text = keep.drop_in(command)
    assert (text is None) == (started is None)
    assert text is None or text.endswith("[Service]\nExecStart=\nExecStart=%s\n" % started)


@pytest.mark.parametrize(
    "kept, chosen, options, present, result",
    [
        ({}, [A, B], {"-pm": "1"}, [A, B], {A: {"-pm": "1"}, B: {"-pm": "1"}}),
        ({A: {"-pm": "1"}}, [A], {"-pl": "200"}, [A, B], {A: {"-pm": "1", "-pl": "200"}}),
        ({A: {"-pl": "250"}}, [A], {"-pl": "200"}, [A], {A: {"-pl": "200"}}),
        ({A: {"-pm": "1", "-pl": "200"}, B: {"-pm": "1"}}, [A], {"-pl": None}, [A, B], {A: {"-pm": "1"}, B: {"-pm": "1"}}),
        ({A: {"-pl": "200"}}, [A], {"-pl": None, "-pm": None}, [A], {}),
        # A card that was exchanged is forgotten, but only where all that are there are known.
        ({A: {"-pm": "1"}}, [B], {"-pm": "1"}, [B], {B: {"-pm": "1"}}),
        ({A: {"-pm": "1"}}, [B], {"-pm": "1"}, None, {A: {"-pm": "1"}, B: {"-pm": "1"}}),
    ],
)
def test_merge(kept, chosen, options, present, result):
    before = {uuid: dict(values) for uuid, values in kept.items()}
    assert keep.merge(kept, chosen, options, present) == result
    assert kept == before


def test_files():
    kept = {B: {"-pm": "1"}, A: {"-pl": "200", "-pm": "1"}}
    files = keep.files(kept, [A, B], keep.command([UBUNTU]))
    assert files[keep.SETTINGS].splitlines()[2:] == [A + " -pm 1", A + " -pl 200", B + " -pm 1"]
    assert files[keep.UNIT] == keep.UNIT_TEXT and files[keep.DROP_IN]
    assert keep.parse(files[keep.SETTINGS]) == kept
    # Only some GPUs are to keep persistence mode: the daemon, which serves all, stays as the distribution has it.
    assert keep.files(kept, [A, B, "GPU-cccc"], keep.command([UBUNTU]))[keep.DROP_IN] is None
    assert keep.files(dict(kept, **{B: {"-pm": "0"}}), [A, B], keep.command([UBUNTU]))[keep.DROP_IN] is None
    assert set(keep.files({}, [A, B], keep.command([UBUNTU])).values()) == {None}


@given(st.text() | st.text(alphabet="GPU-ab \n-pmlc1,#"))
def test_parse_takes_any_text_and_only_what_it_would_write(text):
    kept = keep.parse(text)
    written = keep.files(kept, [], None)[keep.SETTINGS]
    assert keep.parse(written) == kept
    assert all(uuid.startswith("GPU-") and set(values) <= set(keep.ORDER) for uuid, values in kept.items())
