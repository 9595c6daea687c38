"""A read-only Ollama registry over a model store: `python3 registry.py STORE [--bind ADDRESS] [--port PORT]`.

Standard library only, so that it runs in any container. Pull from it as `HOST:PORT/library/NAME:TAG` with `insecure: true` (plain HTTP).

What a server asks for: the manifest; `HEAD` of a blob for its size; `GET` of a blob, which must be answered by a redirect to another host
name (there the storage behind the registry lives); from there the blob in ranges.
"""

from __future__ import annotations

import argparse
import re
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME = r"[A-Za-z0-9][\w.-]*"
MANIFEST_PATH = re.compile(rf"/v2/({NAME}/{NAME})/manifests/({NAME})")
BLOB_PATH = re.compile(rf"/(v2|storage)/({NAME}/{NAME})/blobs/sha256:([0-9a-f]{{64}})")
RANGE = re.compile(r"bytes=(\d+)-(\d*)")
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
NOT_FOUND = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'


class Handler(BaseHTTPRequestHandler):
    """One request; `server` is a `Registry`."""

    protocol_version = "HTTP/1.1"
    server: Registry

    def do_HEAD(self) -> None:
        """Answer with the header alone."""
        self._answer(body=False)

    def do_GET(self) -> None:
        """Answer with header and body."""
        self._answer(body=True)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Remember requests for tests. What is no HTTP request (a client that tries TLS) has no path."""
        if self.requestline and hasattr(self, "path"):
            self.server.requests.append(f"{self.command} {self.path} {self.headers.get('Range', '-')}")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _answer(self, body: bool) -> None:
        manifest, blob = MANIFEST_PATH.fullmatch(self.path), BLOB_PATH.fullmatch(self.path)
        if blob and self.command == "HEAD" and self.server.drops_head():
            self.close_connection = True
            return
        if manifest:
            found = sorted(self.server.store.glob(f"manifests/*/{manifest[1]}/{manifest[2]}"))
            self._file(found[0] if found else None, MANIFEST_TYPE, body)
        elif blob:
            path = self.server.store / "blobs" / f"sha256-{blob[3]}"
            if blob[1] == "v2" and body and path.is_file():
                self._header(307, {"Location": f"http://{self._other_name()}:{self.server.server_port}{self.path.replace('/v2/', '/storage/', 1)}"})
            else:
                self._file(path, "application/octet-stream", body)
        else:
            self._file(None, "", body)

    def _other_name(self) -> str:
        """A name of this server other than the one in the request, that needs no name service.

        The client insists on a redirect that leaves the host name. An address can be written in a second way: as IPv6.
        """
        if self.server.storage_name:
            return self.server.storage_name
        asked = self.headers.get("Host", "").rpartition(":")[0]
        address = str(self.connection.getsockname()[0])
        return address if asked != address else f"[::ffff:{address}]"

    def _header(self, status: int, headers: dict[str, str], length: int = 0) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _file(self, path: Path | None, content_type: str, body: bool) -> None:
        if path is None or not path.is_file():
            self._header(404, {"Content-Type": "application/json"}, len(NOT_FOUND))
            if body:
                self.wfile.write(NOT_FOUND)
            return
        size = path.stat().st_size
        headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
        wanted = RANGE.fullmatch(self.headers.get("Range", ""))
        first, last = 0, size - 1
        if wanted:
            first, last = int(wanted[1]), min(int(wanted[2] or last), last)
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        if first > last:
            self._header(416, {"Content-Range": f"bytes */{size}"})
            return
        self._header(206 if wanted else 200, headers, last - first + 1)
        if body:
            with path.open("rb") as source:
                source.seek(first)
                if self.server.cut_after is not None and last - first >= self.server.cut_after:
                    # Less than was announced, then the end of the connection: what a client sees of a network that broke.
                    self.wfile.write(source.read(self.server.cut_after))
                    time.sleep(self.server.cut_pause)
                    self.server.cut_after, self.close_connection = None, True
                elif last == size - 1:
                    shutil.copyfileobj(source, self.wfile)
                else:
                    self.wfile.write(source.read(last - first + 1))


class Registry(ThreadingHTTPServer):
    """The registry. As a context manager it serves from a thread; `requests` lists what was asked, `address` is `HOST:PORT`."""

    daemon_threads = True

    def __init__(self, store: Path, bind: str = "127.0.0.1", port: int = 0, storage_name: str = "") -> None:
        super().__init__((bind, port), Handler)
        self.store = store
        self.storage_name = storage_name
        # A fault for tests: the next answer that is longer ends after so many bytes.
        self.cut_after: int | None = None
        self.cut_pause = 0.0
        # Another one: after `spared_heads` requests for the size of a blob the next `dropped_heads` are cut without an answer.
        self.spared_heads = self.dropped_heads = 0
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, daemon=True)

    def drops_head(self) -> bool:
        """Whether this request for the size of a blob is to be cut; counts it."""
        if self.spared_heads or not self.dropped_heads:
            self.spared_heads = max(0, self.spared_heads - 1)
            return False
        self.dropped_heads -= 1
        return True

    @property
    def address(self) -> str:
        """Where it listens, as it stands in a model reference."""
        return f"{self.server_address[0]!s}:{self.server_port}"

    def __enter__(self) -> Registry:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description="Serve a model store as a read-only Ollama registry.")
    parser.add_argument("store", type=Path)
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument("--storage-name", default="", help="host name that blob requests are redirected to (default: this server's address)")
    parser.add_argument("--cut-after", type=int, help="break the connection once, after so many bytes of a blob")
    parser.add_argument("--cut-pause", type=float, default=0.0, help="seconds that this connection stands still before it breaks")
    arguments = parser.parse_args()
    registry = Registry(arguments.store, arguments.bind, arguments.port, arguments.storage_name)
    registry.cut_after, registry.cut_pause = arguments.cut_after, arguments.cut_pause
    registry.serve_forever()


if __name__ == "__main__":
    main()
