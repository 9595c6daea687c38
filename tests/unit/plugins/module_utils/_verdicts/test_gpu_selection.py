"""Which GPUs a choice means, and what is said when it cannot be met."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.gpuops.fleet.plugins.filter.select_gpus import FilterModule
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.gpu_selection import select

A, B, C, STRANGE = (f"GPU-{letter * 8}-1111-2222-3333-444444444444" for letter in "fab9")


def gpu(index, uuid, name, address, state="ok"):
    return {"index": index, "uuid": uuid, "name": name, "bus_address": address, "state": state}


# The UUIDs are in another order than the indices.
HOST = [gpu(0, A, "Tesla P40", "0000:3b:00.0"), gpu(1, B, "Tesla P40", "0000:af:00.0"), gpu(2, C, "Tesla T4", "0000:d8:00.0")]
LOST = [HOST[0], dict(HOST[1], state="lost"), HOST[2]]
BARE = [gpu(None, None, "Tesla P40", "0000:af:00.0", "no_driver"), gpu(None, None, "Tesla P40", "0000:3b:00.0", "no_driver")]
HELD = {A: "chat"}


@pytest.mark.parametrize(
    ("devices", "wish", "held", "uuids"),
    [
        (HOST, None, {}, [B, C, A]),
        (HOST, "all", {}, [B, C, A]),
        (HOST, {"all": True}, {}, [B, C, A]),
        (HOST, [], {}, [B, C, A]),
        (HOST, ["1"], {}, [B]),
        (HOST, [1, A], {}, [B, A]),
        (HOST, [A, 0], {}, [A]),
        (HOST, {"indices": [0, "2"]}, {}, [C, A]),
        (HOST, {"uuids": [C]}, {}, [C]),
        (HOST, {"model": "p40"}, {}, [B, A]),
        (HOST, {"model": "(t4|a100)$"}, {}, [C]),
        (HOST, {"count": 1}, {}, [A]),
        (HOST, {"count": "2"}, {}, [B, A]),
        (HOST, {"model": "P40", "count": 1}, HELD, [B]),
        (HOST, {"count": 2}, HELD, [B, C]),
        (LOST, {"count": 2}, {}, [C, A]),
        (LOST, {"indices": [0, 2]}, {}, [C, A]),
        (HOST, {"indices": [1], "model": None, "count": None, "uuids": []}, HELD, [B]),
    ],
)  # fmt: skip
def test_a_choice_means(devices, wish, held, uuids):
    assert select(devices, wish, held) == uuids


@pytest.mark.parametrize(
    ("devices", "wish", "held", "line"),
    [
        (HOST, ["3"], {}, "there is no GPU 3 on this host: it has GPU 0 (Tesla P40 at 0000:3b:00.0) %s, GPU 1 (Tesla P40 at 0000:af:00.0) %s, "
                          "GPU 2 (Tesla T4 at 0000:d8:00.0) %s" % (A, B, C)),
        (HOST[:1], [STRANGE], {}, "%s is no GPU of this host: it has GPU 0 (Tesla P40 at 0000:3b:00.0) %s" % (STRANGE, A)),
        (HOST[2:], {"model": "P40"}, {}, "no GPU of this host is a P40: it has GPU 2 (Tesla T4 at 0000:d8:00.0) %s" % C),
        (LOST, "all", {}, "GPU 1 (Tesla P40 at 0000:af:00.0) is lost"),
        (LOST, [B], {}, "GPU 1 (Tesla P40 at 0000:af:00.0) is lost"),
        (LOST, {"model": "P40"}, HELD, "GPU 0 (Tesla P40 at 0000:3b:00.0) is held by container chat; GPU 1 (Tesla P40 at 0000:af:00.0) is lost"),
        (LOST, {"model": "P40", "count": 2}, {}, "of 2 GPU(s) of model P40 wanted, 1 can be had: GPU 1 (Tesla P40 at 0000:af:00.0) is lost"),
        (HOST, {"count": 4}, {}, "of 4 GPU(s) wanted, 3 can be had: there are no more"),
        (HOST, {"count": 3}, HELD, "of 3 GPU(s) wanted, 2 can be had: GPU 0 (Tesla P40 at 0000:3b:00.0) is held by container chat"),
        (HOST, {"indices": [0]}, HELD, "GPU 0 (Tesla P40 at 0000:3b:00.0) is held by container chat"),
        ([gpu(None, A, "Tesla P40", "0000:3b:00.0", "not_visible")], None, {},
         "GPU (Tesla P40 at 0000:3b:00.0) is on the PCI bus, but the driver does not show it"),
        ([gpu(0, None, None, "0000:3b:00.0")], None, {}, "GPU 0 (unknown model at 0000:3b:00.0) has no UUID"),
        (BARE, {"count": 1}, {}, "of 1 GPU(s) wanted, 0 can be had: GPU (Tesla P40 at 0000:3b:00.0) has no driver yet; "
         "GPU (Tesla P40 at 0000:af:00.0) has no driver yet"),
        ([], None, {}, "this host has no GPU"),
    ],
)  # fmt: skip
def test_a_choice_that_cannot_be_met(devices, wish, held, line):
    with pytest.raises(PolicyError) as error:
        select(devices, wish, held)
    assert error.value.message == line


@pytest.mark.parametrize(
    ("wish", "line"),
    [
        (["P40"], "P40 is neither an index nor the UUID of a GPU"),
        (["GPU-1"], "GPU-1 is neither an index nor the UUID of a GPU"),
        (["-1"], "-1 is neither an index nor the UUID of a GPU"),
        ("some", "a choice of GPUs is all, a list of indices and UUIDs, or a dictionary of all, uuids, indices, model, count, not 'some'"),
        ({"number": 2}, "a choice of GPUs has no number: it has all, uuids, indices, model, count"),
        ({"all": False}, "a choice of GPUs: all is true or left out, not False"),
        ({"count": 1, "uuids": [A]}, "a choice of GPUs names one of all, uuids, indices, model, count, or model and count together, not count, uuids"),
        ({"count": 0}, "count is 0: it must be a number from 1 on"),
        ({"count": True}, "count is True: it must be a number from 1 on"),
        ({"model": "P40("}, "model P40( is no regular expression: missing ), unterminated subpattern at position 3"),
        ({"indices": "0"}, "a choice of GPUs: indices is a list, not '0'"),
        ({"indices": ["x"]}, "x is no index of a GPU"),
        ({"uuids": ["0"]}, "0 is no UUID of a GPU"),
    ],
)
def test_a_choice_that_makes_no_sense(wish, line):
    with pytest.raises(PolicyError) as error:
        select(HOST, wish)
    assert error.value.message == line


@pytest.mark.parametrize(("wish", "uuids"), [(None, []), (["1"], []), ({"model": "P40", "count": 2}, []), ([STRANGE], [STRANGE])])
def test_before_the_driver_a_choice_is_checked_as_far_as_can_be(wish, uuids):
    assert select(BARE, wish, before_driver=True) == uuids


@pytest.mark.parametrize("wish", [["2"], {"count": 3}, {"model": "T4"}, [STRANGE, A, B]])
def test_before_the_driver_a_choice_that_can_never_be_met_is_refused(wish):
    with pytest.raises(PolicyError):
        select(BARE, wish, before_driver=True)


def test_the_filter_says_the_same_line():
    select_gpus = FilterModule().filters()["select_gpus"]
    assert select_gpus(HOST, {"count": 1}, exclusive_held={A: "chat"}) == [B]
    for arguments, line in (((LOST,), "is lost"), (("x",), "give it ansible_facts.gpu.devices"), ((HOST, None, [A]), "exclusive_held is a dictionary")):
        with pytest.raises(AnsibleFilterError, match=line):
            select_gpus(*arguments)
