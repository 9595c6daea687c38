# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A client of Ollama's HTTP API. Private to gpuops.fleet: the names may change in any release.

Every call raises `ServiceError` with one readable line. The server answers long calls with HTTP 200 and puts a later error into the body
(lines of JSON), so every line of every body is looked at. Works with Ollama 0.11 to 0.33.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import typing as t
from urllib.parse import urlsplit

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError, ServiceError

Json = t.Dict[str, t.Any]
# The socket listens before GPUs are discovered and answers only after it, which can take 30 s a library.
QUICK_SECONDS = 90.0
# What Go says when a registry speaks plain HTTP, or has a certificate that it does not trust.
NOT_SECURE = ("HTTP response to HTTPS client", "does not look like a TLS handshake", "x509: ")


class UnreachableError(ServiceError):
    """No server answers at the address."""

    kind = "unreachable"


class OllamaApi:
    """The server at `base_url`. `timeout_seconds`: longest silence of a call that moves or loads a model."""

    def __init__(self, base_url: str, timeout_seconds: float):
        parts = urlsplit(base_url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise PolicyError("base_url %s is not an address like http://127.0.0.1:11434" % base_url, base_url=base_url)
        self.base_url = base_url.rstrip("/")
        self._connection = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._host, self._port, self._prefix = parts.hostname, port, parts.path.rstrip("/")
        self._timeout = timeout_seconds

    def version(self) -> str:
        """The server's version, like `0.17.4`."""
        return str(self._json("GET", "/api/version").get("version"))

    def models(self) -> t.Dict[str, Json]:
        """Name (with tag) → {digest, size, …} of every model in the store."""
        return {item["name"]: item for item in self._json("GET", "/api/tags").get("models") or []}

    def running(self) -> t.List[Json]:
        """The loaded models: [{name, digest, size, size_vram, context_length, expires_at}]; sizes in bytes."""
        return list(self._json("GET", "/api/ps").get("models") or [])

    def show(self, name: str, verbose: bool = False) -> t.Optional[Json]:
        """What the server knows about a model ({modelfile, parameters, template, model_info, …}); None when it has no such model."""
        status, text = self._send("POST", "/api/show", {"model": name, "verbose": verbose})
        return None if status == 404 else self._result("POST", "/api/show", status, text)

    def has_blob(self, sha256: str) -> bool:
        """Is the file with this SHA-256 in the store."""
        path = "/api/blobs/sha256:%s" % sha256
        status, text = self._send("HEAD", path)
        if status not in (200, 404):
            self._result("HEAD", path, status, text)
        return status == 200

    def upload(self, sha256: str, path: str) -> None:
        """Send a file, piece by piece, to the store. The server compares the SHA-256."""
        target = "/api/blobs/sha256:%s" % sha256
        with open(path, "rb") as source:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(os.fstat(source.fileno()).st_size)}
            status, text = self._request("POST", target, source, headers, self._timeout)
        self._result("POST", target, status, text)

    def create(self, name: str, **content: t.Any) -> None:
        """Make a model from `files` ({name: "sha256:…"}) or `from` (a model), with `parameters` and `template`."""
        self._long("/api/create", dict({key: value for key, value in content.items() if value is not None}, model=name))

    def pull(self, name: str, insecure: bool) -> t.Iterator[Json]:
        """Fetch a model from its registry: one {status, digest, total, completed} (bytes of one file) a line, several a second, the last with status `success`.

        What the store already has, and what of a file came before a broken connection, is not fetched again. Ending the iteration ends the pull.
        """
        last: Json = {}
        try:
            for line in self._stream("/api/pull", {"model": name, "insecure": insecure, "stream": True}):
                last = line
                yield line
        except ServiceError as error:
            if not insecure and any(text in error.message for text in NOT_SECURE):
                hint = "set insecure: true for a trusted registry that speaks plain HTTP or has no verifiable certificate"
                raise ServiceError("%s; %s" % (error.message, hint), **error.details) from error
            raise
        if last.get("status") != "success":
            raise self._error("POST", "/api/pull", "the connection broke after %r" % last.get("status", "nothing"))

    def copy(self, source: str, destination: str) -> None:
        """Give a model a second name."""
        self._json("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, name: str) -> None:
        """Remove a model from the store."""
        self._json("DELETE", "/api/delete", {"model": name})

    def load(self, name: str, embedding: bool = False) -> None:
        """Load a model and keep it loaded. A model for embeddings knows no text generation and is loaded by an empty embedding."""
        if embedding:
            self._long("/api/embed", {"model": name, "input": "", "keep_alive": -1})
        else:
            self._long("/api/generate", {"model": name, "keep_alive": -1})

    def measure(self, name: str, tokens: int) -> t.Optional[float]:
        """Tokens a second of a short answer from a model in memory (`eval_count`, and `eval_duration` in ns, of `/api/generate`); None when none came.

        The only option is the length of the answer, which does not make the server load the model anew.
        """
        answer = self._long("/api/generate", {"model": name, "prompt": "Count from one to ten.", "options": {"num_predict": tokens}, "keep_alive": -1})
        count, duration = answer.get("eval_count"), answer.get("eval_duration")
        return count * 1e9 / duration if count and duration else None

    def unload(self, name: str) -> None:
        """Take a model out of memory."""
        self._long("/api/generate", {"model": name, "keep_alive": 0})

    def _long(self, path: str, body: Json) -> Json:
        status, text = self._send("POST", path, dict(body, stream=False), self._timeout)
        return self._result("POST", path, status, text)

    def _json(self, method: str, path: str, body: t.Optional[Json] = None) -> Json:
        return self._result(method, path, *self._send(method, path, body))

    def _send(self, method: str, path: str, body: t.Optional[Json] = None, timeout: float = QUICK_SECONDS) -> t.Tuple[int, str]:
        data = None if body is None else json.dumps(body).encode("utf-8")
        return self._request(method, path, data, {"Content-Type": "application/json"} if data else {}, timeout)

    def _stream(self, path: str, body: Json) -> t.Iterator[Json]:
        """The answer to a POST, line by line as the lines come."""
        data = json.dumps(body).encode("utf-8")
        with self._answer("POST", path, data, {"Content-Type": "application/json"}, self._timeout) as answer:
            if answer.status >= 400:
                self._result("POST", path, answer.status, answer.read().decode("utf-8", "replace"))
            for line in answer:
                yield self._result("POST", path, answer.status, line.decode("utf-8", "replace"))

    def _request(self, method: str, path: str, body: t.Any, headers: t.Dict[str, str], timeout: float) -> t.Tuple[int, str]:
        with self._answer(method, path, body, headers, timeout) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")

    @contextlib.contextmanager
    def _answer(self, method: str, path: str, body: t.Any, headers: t.Dict[str, str], timeout: float) -> t.Iterator[http.client.HTTPResponse]:
        """The answer to a request, whose body is yet to be read; what breaks until it is read is raised as ServiceError."""
        connection = self._connection(self._host, self._port, timeout=timeout)
        try:
            try:
                connection.connect()
            except OSError as error:
                raise UnreachableError("no Ollama server answers at %s: %s" % (self.base_url, _why(error)), base_url=self.base_url) from error
            connection.request(method, self._prefix + path, body=body, headers=headers)
            yield connection.getresponse()
        except socket.timeout as error:
            raise self._error(method, path, "no answer within %g s" % timeout) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._error(method, path, "the connection broke: %s" % _why(error)) from error
        finally:
            connection.close()

    def _result(self, method: str, path: str, status: int, text: str) -> Json:
        """The last JSON object of the body; an error in any of them, or an HTTP status of 400 and more, is raised."""
        last: Json = {}
        for line in text.splitlines():
            try:
                item = json.loads(line)
            except ValueError:
                item = {} if status < 400 else {"error": line}
            if isinstance(item, dict):
                last = item
                if item.get("error"):
                    raise self._error(method, path, str(item["error"]), status)
        if status >= 400:
            raise self._error(method, path, text[:300] or http.client.responses.get(status, ""), status)
        return last

    def _error(self, method: str, path: str, why: str, status: t.Optional[int] = None) -> ServiceError:
        code = " (HTTP %d)" % status if status is not None else ""
        return ServiceError("Ollama at %s, %s %s%s: %s" % (self.base_url, method, path, code, why), base_url=self.base_url, http_status=status, reason=why)


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
