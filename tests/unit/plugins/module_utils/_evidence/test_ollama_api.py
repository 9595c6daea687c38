"""The client against a server that answers what Ollama 0.17.4 was seen to answer."""

import http.server
import socket
import threading

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.ollama_api import OllamaApi, UnreachableError


class Answers(http.server.BaseHTTPRequestHandler):
    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, body = self.server.answers[self.path]
        if status is None:
            self.server.quit.wait(20)
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as instance:
        instance.answers, instance.quit, instance.daemon_threads = {}, threading.Event(), True
        threading.Thread(target=instance.serve_forever, daemon=True).start()
        instance.api = OllamaApi("http://127.0.0.1:%d/" % instance.server_port, 0.5)
        yield instance
        instance.quit.set()
        instance.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, b'{"status":"pulling manifest"}\n{"error":"pull model manifest: file does not exist"}\n', "(HTTP 200): pull model manifest: file does not exist"),
        (500, b'{"error":"pull model manifest: file does not exist"}', "(HTTP 500): pull model manifest: file does not exist"),
        (502, b"<html>Bad Gateway</html>", "(HTTP 502): <html>Bad Gateway</html>"),
        (500, b"", "(HTTP 500): Internal Server Error"),
        (None, b"", "no answer within 0.5 s"),
        (200, b'{"status":"pulling manifest"}\n', "the connection broke after 'pulling manifest'"),
        (200, b"", "the connection broke after 'nothing'"),
    ],
)
def test_every_failure_is_one_line_with_the_servers_words(server, status, body, message):
    server.answers["/api/pull"] = (status, body)
    with pytest.raises(ServiceError) as caught:
        list(server.api.pull("x:latest", False))
    assert caught.value.message == "Ollama at http://127.0.0.1:%d, POST /api/pull%s%s" % (server.server_port, " " if message[0] == "(" else ": ", message)


def test_a_pull_tells_its_progress_line_by_line(server):
    lines = [b'{"status":"pulling manifest"}', b'{"status":"pulling aa","digest":"sha256:aa","total":9,"completed":4}', b'{"status":"success"}', b""]
    server.answers["/api/pull"] = (200, b"\n".join(lines))
    assert [event.get("completed") for event in server.api.pull("x:latest", False)] == [None, 4, None]


def test_show_tells_a_missing_model_from_a_failure(server):
    server.answers["/api/show"] = (404, b'{"error":"model \'x\' not found"}')
    assert server.api.show("x") is None
    server.answers["/api/show"] = (500, b'{"error":"broken"}')
    with pytest.raises(ServiceError, match="broken"):
        server.api.show("x")


@pytest.mark.parametrize(("status", "found"), [(200, True), (404, False)])
def test_blobs(server, status, found):
    server.answers["/api/blobs/sha256:ab"] = (status, b"")
    assert server.api.has_blob("ab") is found
    server.answers["/api/blobs/sha256:ab"] = (400, b"")
    with pytest.raises(ServiceError, match="HTTP 400"):
        server.api.has_blob("ab")


def test_nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "http://127.0.0.1:%d" % free.getsockname()[1]
        with pytest.raises(UnreachableError, match="no Ollama server answers at %s: Connection refused" % address):
            OllamaApi(address, 1).models()


@pytest.mark.parametrize("url", ["127.0.0.1:11434", "ftp://host", "http://", "http://host:port", ""])
def test_addresses_that_are_none(url):
    with pytest.raises(PolicyError, match="base_url"):
        OllamaApi(url, 1)
