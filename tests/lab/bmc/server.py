"""A static Redfish service with TLS and basic authentication: `python3 -m tests.lab.bmc.server TREE [--bind ADDRESS] [--port PORT] [--folder FOLDER]`.

Serves a recorded tree read-only and remembers what it was asked. The certificate of its own CA is FOLDER/ca.pem.
"""

from __future__ import annotations

import argparse
import base64
import datetime
import ipaddress
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.lab.bmc.protocol import HEADERS, JSON, described_by, open_document
from tests.lab.bmc.trees import TREES, Tree, key, load

USERNAME, PASSWORD = "lab", "lab-password"


class Handler(BaseHTTPRequestHandler):
    """One request; `server` is a `Bmc`."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # header and body are two writes: a kept connection would wait for an acknowledgement between them
    server: Bmc

    def do_GET(self) -> None:
        """Answer with the document at this very path."""
        bmc = self.server
        bmc.requests.append(self.path)
        time.sleep(bmc.delay_seconds)
        if bmc.drop_every and len(bmc.requests) % bmc.drop_every == 0:
            self.close_connection = True  # announced by no header, as by a BMC that runs out of memory
        path = key(self.path)
        if self.path in bmc.redirects:
            self._answer(308, b"", {"Location": bmc.redirects[self.path]})
        elif bmc.raw is not None:
            self._answer(200, bmc.raw)
        elif self.headers.get("OData-Version", "4.0") != "4.0":
            self._answer(412, b"{}")
        elif document := open_document(bmc.tree, path):
            kind, body = document
            self._answer(200, body, {"Content-Type": kind, **described_by(bmc.tree, path)})
        elif self.headers.get("Authorization") != bmc.authorization:
            self._answer(401, b"{}", {"WWW-Authenticate": 'Basic realm="Redfish"'})
        elif path in bmc.tree:
            self._answer(200, json.dumps(bmc.tree[path]).encode(), described_by(bmc.tree, path))
        else:
            self._answer(404, b'{"error": {"code": "Base.1.0.ResourceMissingAtURI"}}')

    do_HEAD = do_GET  # noqa: N815

    def refuse(self) -> None:
        """Nothing is changed through a recording."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        known = self.headers.get("Authorization") == self.server.authorization
        self._answer(*((405, b"{}") if known else (401, b"{}", {"WWW-Authenticate": 'Basic realm="Redfish"'})))

    do_POST = do_PATCH = do_PUT = do_DELETE = refuse  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": JSON, "Content-Length": str(len(body)), **HEADERS, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Bmc(ThreadingHTTPServer):
    """The service; a context manager that serves in a thread.

    `raw`: every answer is these bytes; `delay_seconds`: before every answer; `drop_every`: the connection is closed after every so many answers;
    `redirects`: path → Location. All of them, and `tree`, may be changed while it serves.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, tree: Tree, folder: Path, bind: str = "127.0.0.1", port: int = 0):
        self.tree = tree
        self.requests: list[str] = []
        self.raw: bytes | None = None
        self.delay_seconds = 0.0
        self.drop_every = 0
        self.redirects: dict[str, str] = {}
        self.authorization = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()
        self.ca_path = folder / "ca.pem"
        write_certificates(folder, bind)
        super().__init__((bind, port), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.base_url = f"https://{bind}:{self.server_port}"

    def __enter__(self) -> Bmc:
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that refuses the certificate ends the connection; that is no error of the service."""


def write_certificates(folder: Path, address: str) -> None:
    """A CA (ca.pem) and a certificate for `address` that it signed (server.pem, server.key), valid for a day."""
    folder.mkdir(parents=True, exist_ok=True)
    ca_key, key_ = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab BMC CA")])
    ca = _certificate(ca_name, ca_name, ca_key, ca_key, x509.BasicConstraints(ca=True, path_length=0))
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address)), x509.DNSName("localhost")])
    server = _certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab-bmc")]), ca_name, key_, ca_key, names)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    secret = key_.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(secret)


def _certificate(
    name: x509.Name, issuer: x509.Name, key_: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer).public_key(key_.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
    return builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints)).sign(signer, hashes.SHA256())


def main() -> None:
    """Serve a tree until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tree", choices=sorted(TREES))
    parser.add_argument("--bind", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--folder", type=Path, default=Path("build/bmc"), help="where the certificates are written")
    options = parser.parse_args()
    with Bmc(load(options.tree), options.folder, options.bind, options.port) as bmc:
        print(f"{bmc.base_url} user {USERNAME} password {PASSWORD} CA {bmc.ca_path}", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
