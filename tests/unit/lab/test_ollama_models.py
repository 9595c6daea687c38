"""The tiny models and the store made from them."""
import hashlib
import json

import pytest
from gguf import GGUFReader

from tests.lab.ollama import store, tiny_models


@pytest.fixture(scope="module", params=tiny_models.ARCHITECTURES)
def model(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"tiny-{request.param}.gguf"
    tiny_models.write_model(path, request.param)
    return request.param, path


def test_same_arguments_give_the_same_bytes(model, tmp_path):
    architecture, path = model
    tiny_models.write_model(tmp_path / "again.gguf", architecture)
    assert (tmp_path / "again.gguf").read_bytes() == path.read_bytes()


def test_model_is_whole(model):
    architecture, path = model
    reader = GGUFReader(path)
    assert reader.fields["general.architecture"].contents() == architecture
    assert reader.fields[f"{architecture}.block_count"].contents() == 2
    words = reader.fields["tokenizer.ggml.tokens"].contents()
    shapes = {tensor.name: tuple(int(size) for size in tensor.shape) for tensor in reader.tensors}
    assert shapes["token_embd.weight"] == shapes["output.weight"] == (128, len(words))
    assert shapes["blk.1.attn_k.weight"] == (128, 64)
    assert ("blk.0.attn_q_norm.weight" in shapes) == (architecture == "qwen3")
    assert path.stat().st_size < 600_000


def test_unknown_architecture(tmp_path):
    with pytest.raises(ValueError, match="'gpt9' is none of llama, qwen3"):
        tiny_models.write_model(tmp_path / "x.gguf", "gpt9")


def test_manifest_has_the_shape_that_a_server_writes(model, tmp_path):
    architecture, path = model
    digest = store.add_model(tmp_path, "library/tiny:small", path, template="{{ .Prompt }}", parameters={"num_ctx": 1024, "stop": ["x"]})
    text = (tmp_path / "manifests/registry.lab/library/tiny/small").read_bytes()
    assert hashlib.sha256(text).hexdigest() == digest
    manifest = json.loads(text)
    assert list(manifest) == ["schemaVersion", "mediaType", "config", "layers"]
    assert [layer["mediaType"] for layer in manifest["layers"]] == [store.WEIGHTS, store.TEMPLATE, store.PARAMETERS]
    for layer in [manifest["config"], *manifest["layers"]]:
        content = (tmp_path / "blobs" / layer["digest"].replace(":", "-")).read_bytes()
        assert layer["digest"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert layer["size"] == len(content)
    config = json.loads((tmp_path / "blobs" / manifest["config"]["digest"].replace(":", "-")).read_bytes())
    assert config["model_family"] == architecture
    assert config["file_type"] == "F16"
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]


# 288K is what the server 0.17.4 shows for tiny-llama; the others follow its source (format.HumanNumber).
@pytest.mark.parametrize(
    ("number", "text"),
    [(287872, "288K"), (7241748480, "7.2B"), (32000000000, "32B"), (1500000, "1.50M"), (2000000, "2M"), (999, "999")],
)
def test_human(number, text):
    assert store.human(number) == text
