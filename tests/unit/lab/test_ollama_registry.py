"""The registry double, over real sockets on the loopback interface."""
import http.client
import json

import pytest

from tests.lab.ollama import store, tiny_models
from tests.lab.ollama.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    root = tmp_path_factory.mktemp("store")
    tiny_models.write_model(root / "tiny.gguf", "llama")
    store.write_store(root, {"tiny": root / "tiny.gguf"})
    with Registry(root) as server:
        yield server


def ask(registry, method, path, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", registry.server_port, timeout=10)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer, body


@pytest.fixture(scope="module")
def weights(registry):
    _, body = ask(registry, "GET", "/v2/library/tiny/manifests/latest")
    return json.loads(body)["layers"][0]


def test_blob_is_announced_redirected_and_served_in_ranges(registry, weights):
    path = f"/v2/library/tiny/blobs/{weights['digest']}"
    answer, _ = ask(registry, "HEAD", path)
    assert (answer.status, int(answer.headers["Content-Length"])) == (200, weights["size"])
    answer, _ = ask(registry, "GET", path)
    assert answer.status == 307
    assert answer.headers["Location"] == f"http://[::ffff:127.0.0.1]:{registry.server_port}/storage/library/tiny/blobs/{weights['digest']}"
    content = (registry.store / "blobs" / weights["digest"].replace(":", "-")).read_bytes()
    storage = path.replace("/v2/", "/storage/")
    assert ask(registry, "GET", storage)[1] == content
    answer, body = ask(registry, "GET", storage, Range="bytes=4-99")
    assert (answer.status, answer.headers["Content-Range"], body) == (206, f"bytes 4-99/{len(content)}", content[4:100])
    answer, body = ask(registry, "GET", storage, Range=f"bytes={len(content) - 5}-")
    assert (answer.status, body) == (206, content[-5:])
    assert ask(registry, "GET", storage, Range=f"bytes={len(content)}-")[0].status == 416


def test_redirect_leaves_the_host_name_that_was_asked(registry, weights):
    answer, _ = ask(registry, "GET", f"/v2/library/tiny/blobs/{weights['digest']}", Host=f"models.example:{registry.server_port}")
    assert answer.headers["Location"].startswith(f"http://127.0.0.1:{registry.server_port}/storage/")


@pytest.mark.parametrize(
    "path",
    ["/v2/library/none/manifests/latest", "/v2/library/tiny/manifests/other", "/v2/../../etc/passwd", "/", "/v2/library/tiny/blobs/sha256:" + "0" * 64],
)
def test_what_is_not_there(registry, path):
    for method in ("GET", "HEAD"):
        assert ask(registry, method, path)[0].status == 404
