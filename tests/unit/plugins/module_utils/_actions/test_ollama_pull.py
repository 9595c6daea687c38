"""Pulls that go on, break, stand still, and do not fit, against servers that answer what Ollama 0.17.4 was seen to answer."""

import os

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._actions import ollama_pull
from ansible_collections.gpuops.fleet.plugins.module_utils._check import ActionError, EvidenceError, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import UnreachableError

GIB = 2**30
MANIFEST, SUCCESS = {"status": "pulling manifest"}, {"status": "success"}
CUT = "Ollama at U, POST /api/pull (HTTP 200): max retries exceeded: unexpected EOF"


def part(done, total=4 * GIB, digest="aa"):
    return {"status": "pulling %s" % digest, "digest": "sha256:%s" % digest, "total": total, "completed": done}


def said(reason, status=200):
    return ServiceError("Ollama at U, POST /api/pull (HTTP %d): %s" % (status, reason), http_status=status, reason=reason)


class Server:
    """Answers one pull after the other; an exception in an answer is raised there. `ended`: pulls that the client left."""

    base_url = "U"

    def __init__(self, *answers):
        self.answers, self.asked, self.ended = list(answers), 0, 0

    def pull(self, name, insecure):
        self.asked += 1
        try:
            for item in self.answers.pop(0):
                if isinstance(item, Exception):
                    raise item
                yield item
        except GeneratorExit:
            self.ended += 1
            raise


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    slept = []
    monkeypatch.setattr(ollama_pull.time, "sleep", slept.append)
    return slept


def pull(server, tmp_path, attempts=3, store_path=None, timeout=60):
    with ollama_pull.Note(str(tmp_path / "deep" / "progress")) as note:
        ollama_pull.pull(server, ollama_pull.Terms("m:latest", False, attempts, timeout, store_path), note)


@pytest.mark.parametrize(
    ("events", "line"),
    [
        ([], "m: waiting for the server"),
        ([MANIFEST], "m: pulling manifest"),
        ([MANIFEST, part(0)], "m: 0 % of 4.0 GiB"),
        ([MANIFEST, part(GIB), part(3 * GIB - 1)], "m: 74 % of 4.0 GiB"),
        # The files come one after the other, the largest first.
        ([part(4 * GIB), part(0, 2**20, "bb")], "m: 99 % of 4.0 GiB"),
        ([part(2**19, 2**20)], "m: 50 % of 1.0 MiB"),
        ([part(4 * GIB), {"status": "verifying sha256 digest"}], "m: verifying sha256 digest"),
        ([part(4 * GIB), SUCCESS], "m: success"),
    ],
)
def test_progress_in_one_line(events, line):
    progress = ollama_pull.Progress("m")
    for event in events:
        progress.add(event)
    assert progress.line == line


def test_the_note_is_replaced_as_a_whole_and_gone_at_the_end(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(ollama_pull.time, "monotonic", lambda: now[0])
    path = tmp_path / "folder" / "progress"
    with ollama_pull.Note(str(path)) as note:
        note.write("one")
        first = path.stat().st_ino
        note.write("two")
        assert path.read_text() == "one\n"  # not again within a second
        now[0] = 1.0
        note.write("two")
        assert path.read_text() == "two\n"
        assert path.stat().st_ino != first
        assert os.listdir(path.parent) == ["progress"]
    assert os.listdir(path.parent) == []
    with pytest.raises(ActionError, match="progress_file /proc/none/progress cannot be written"), ollama_pull.Note("/proc/none/progress") as note:
        note.write("x")


@pytest.mark.parametrize(
    "failure",
    [
        said("max retries exceeded: unexpected EOF"),
        said('pull model manifest: Get "http://r/v2/": dial tcp 127.0.0.1:5000: connect: connection refused', 500),
        said("pull model manifest: 503: busy", 500),
        ServiceError("Ollama at U, POST /api/pull: the connection broke: IncompleteRead", http_status=None),
        UnreachableError("no Ollama server answers at U: Connection refused"),
    ],
    ids=lambda failure: failure.message[-30:],
)
def test_a_pull_that_broke_is_tried_again(tmp_path, pauses, failure):
    server = Server([MANIFEST, part(GIB), failure], [MANIFEST, part(GIB), part(4 * GIB), SUCCESS])
    pull(server, tmp_path)
    assert (server.asked, pauses) == (2, [2.0])


def test_a_network_that_stays_broken_ends_the_pull_with_the_servers_words(tmp_path, pauses):
    broken = said("max retries exceeded: unexpected EOF")
    server = Server(*[[MANIFEST, part(GIB), broken]] * 3)
    with pytest.raises(ServiceError) as caught:
        pull(server, tmp_path)
    assert caught.value.message == CUT + "; tried 3 times, and what has come is kept for the next time"
    assert (server.asked, pauses) == (3, [2.0, 10.0])


def test_attempts_count_anew_when_more_has_come(tmp_path):
    broken = said("max retries exceeded: unexpected EOF")
    server = Server(*[[part(step * 2**20), broken] for step in range(1, 8)], [part(4 * GIB), SUCCESS])
    pull(server, tmp_path, attempts=2)
    assert server.asked == 8


@pytest.mark.parametrize("reason", ["pull model manifest: file does not exist", "write blobs/x: no space left on device", "digest mismatch"])
def test_what_will_not_pass_is_not_tried_again(tmp_path, reason):
    server = Server([MANIFEST, said(reason)])
    with pytest.raises(ServiceError) as caught:
        pull(server, tmp_path)
    assert caught.value.message.endswith(reason) and server.asked == 1


def test_a_pull_that_stands_still_is_ended(tmp_path, monkeypatch):
    ticks = iter(range(0, 100000, 10))
    monkeypatch.setattr(ollama_pull.time, "monotonic", lambda: float(next(ticks)))
    server = Server([part(GIB)] * 100)
    with pytest.raises(ServiceError, match=r"m:latest: 25 % of 4.0 GiB, and no progress for 60 s"):
        pull(server, tmp_path, attempts=1)


def test_a_model_that_does_not_fit_is_refused_at_the_first_byte(tmp_path):
    huge = 2**60
    server = Server([MANIFEST, part(0, huge), part(1, huge)])
    with pytest.raises(ActionError) as caught:
        pull(server, tmp_path, store_path=str(tmp_path))
    free = caught.value.details["free_bytes"]
    assert caught.value.message == "m:latest needs %d MiB more in the model store, and %s has %d MiB free" % (huge // 2**20, tmp_path, free // 2**20)
    assert 0 < free < huge and server.ended == 1


def test_only_what_is_yet_to_come_needs_room(tmp_path):
    huge = 2**60
    server = Server([part(huge - 4096, huge), part(huge, huge), SUCCESS])
    pull(server, tmp_path, store_path=str(tmp_path))
    with pytest.raises(EvidenceError, match="the free space of store_path /nowhere could not be read"):
        ollama_pull.need_room("/nowhere", 1, "m")
    ollama_pull.need_room(None, huge, "m")
