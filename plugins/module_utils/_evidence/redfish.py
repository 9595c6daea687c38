# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader of a BMC's Redfish service (DMTF DSP0266). Private to gpuops.fleet: the names may change in any release.

Only GET, over one connection (a BMC needs up to a second for a TLS handshake), with basic authentication. Links are followed as they are
written: some services tell upper and lower case apart. The password goes to the given address only, wherever a link or a redirect points.
"""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import time
import typing as t
from urllib.parse import urlsplit

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError, ServiceError

Json = t.Dict[str, t.Any]

ROOT = "/redfish/v1/"
# A registry of BIOS attributes has up to some megabytes.
LIMIT_BYTES = 32 * 1024 * 1024
LIMIT_REDIRECTS = 4
REDIRECTS = (301, 302, 307, 308)


class MissingError(ServiceError):
    """The service answers, but not with this resource."""

    kind = "missing"


class Redfish:
    """The service at `base_url`. `timeout_seconds` is the longest silence of one request, `total_seconds` the longest time of all together.

    Errors: PolicyError for an option that makes no sense, MissingError for a resource that this service does not have or does not give in a
    usable form, ServiceError for everything after which no further question makes sense. Every message begins with the option it is about.
    """

    def __init__(
        self,
        base_url: str,
        username: str,
        password: str,
        *,
        validate_certs: bool = True,
        ca_path: t.Optional[str] = None,
        timeout_seconds: float = 15,
        total_seconds: float = 180,
    ):
        try:
            parts = urlsplit(base_url)
            port = parts.port
        except ValueError:
            raise PolicyError("base_url %s is not an address like https://bmc.example.org" % base_url, option="base_url") from None
        if parts.scheme != "https" or not parts.hostname or parts.path.strip("/") or parts.username:
            # Not even on request without TLS: the password of a BMC is that of the whole server.
            raise PolicyError("base_url %s is not an address like https://bmc.example.org" % base_url, option="base_url")
        if not 0 < timeout_seconds < 3600:
            raise PolicyError("timeout_seconds is %g: it must be greater than 0 and less than 3600" % timeout_seconds, option="timeout_seconds")
        self.base_url = base_url.rstrip("/")
        self._host, self._port = parts.hostname, port
        self._timeout = timeout_seconds
        self._deadline = time.monotonic() + max(total_seconds, timeout_seconds)
        self._context = _context(validate_certs, ca_path)
        secret = base64.b64encode(("%s:%s" % (username, password)).encode("utf-8")).decode("ascii")
        self._headers = {"Accept": "application/json", "OData-Version": "4.0", "Authorization": "Basic " + secret}
        self._connection: t.Optional[http.client.HTTPSConnection] = None
        self._seen: t.Dict[str, Json] = {}

    def get(self, path: t.Any) -> Json:
        """The resource at `path` (an `@odata.id`), read once."""
        if not isinstance(path, str) or not path.startswith("/") or path.startswith("//"):
            raise MissingError("base_url %s: %s is not a link within the service" % (self.base_url, str(path)[:100]), option="base_url")
        path = path.partition("#")[0]
        if path not in self._seen:
            self._seen[path] = self._read(path)
        return self._seen[path]

    def follow(self, resource: Json, *names: str) -> t.Optional[Json]:
        """The resource behind `resource[name]…["@odata.id"]`, or None where there is no such link or nothing behind it."""
        value: t.Any = resource
        for name in names:
            value = value.get(name) if isinstance(value, dict) else None
        link = value.get("@odata.id") if isinstance(value, dict) else None
        try:
            return self.get(link) if link else None
        except MissingError:
            return None

    def members(self, collection: t.Optional[Json], limit: int = 128) -> t.List[Json]:
        """The resources of a collection that can be read; a page that names a next one is followed."""
        found: t.List[Json] = []
        while collection and len(found) < limit:
            listed = collection.get("Members")
            for link in listed if isinstance(listed, list) else []:
                try:
                    found.append(self.get(link["@odata.id"]))
                except (KeyError, TypeError, MissingError):
                    continue
                if len(found) >= limit:
                    break
            after = collection.get("Members@odata.nextLink")
            try:
                collection = self.get(after) if isinstance(after, str) and after not in self._seen else None
            except MissingError:
                collection = None
        return found

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _read(self, path: str) -> Json:
        target = path
        for _number in range(LIMIT_REDIRECTS):
            status, headers, body = self._request(target)
            if status not in REDIRECTS:
                return self._resource(path, status, body)
            parts = urlsplit(headers.get("Location") or "")
            if (parts.netloc and parts.hostname != self._host) or not parts.path.startswith("/"):
                break
            target = parts.path
        raise MissingError("base_url %s: %s leads elsewhere" % (self.base_url, path), option="base_url")

    def _resource(self, path: str, status: int, body: bytes) -> Json:
        if status in (401, 403):
            what = "wrong username or password" if status == 401 else "this user may not read it"
            raise ServiceError("username, password: the BMC at %s refuses %s: %s (HTTP %d)" % (self.base_url, path, what, status), option="password")
        if status != 200:
            error = ServiceError if status >= 500 else MissingError
            raise error("base_url %s: %s is answered with HTTP %d" % (self.base_url, path, status), option="base_url", http_status=status)
        try:
            found = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise MissingError("base_url %s: %s is no JSON object, so this is not Redfish" % (self.base_url, path), option="base_url")
        return found

    def _request(self, path: str) -> t.Tuple[int, t.Any, bytes]:
        left = self._deadline - time.monotonic()
        if left <= 0:
            line = "timeout_seconds: the answers of %s take longer than all of them together may" % self.base_url
            raise ServiceError(line, option="timeout_seconds")
        for attempt in (1, 2):
            fresh = self._connection is None
            try:
                return self._ask(path, min(self._timeout, left))
            except ssl.SSLCertVerificationError as error:
                self.close()
                why = getattr(error, "verify_message", "") or str(error)
                line = "ca_path: the certificate of %s is not trusted (%s); name the file with its CA's certificate" % (self.base_url, why)
                raise ServiceError(line, option="ca_path") from error
            except socket.timeout as error:
                self.close()
                raise ServiceError("timeout_seconds: no answer from %s to %s in time" % (self.base_url, path), option="timeout_seconds") from error
            except (OSError, http.client.HTTPException, ValueError) as error:
                self.close()
                # A BMC may have closed the connection between two questions; then, and only then, the question is asked again.
                if fresh or attempt == 2:
                    raise self._failed(getattr(error, "strerror", None) or str(error) or type(error).__name__) from error
        raise self._failed("no answer")

    def _ask(self, path: str, seconds: float) -> t.Tuple[int, t.Any, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._context)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        self._connection.request("GET", path, headers=self._headers)
        answer = self._connection.getresponse()
        body = answer.read(LIMIT_BYTES + 1)
        if len(body) > LIMIT_BYTES:
            raise self._failed("%s is larger than %d MiB" % (path, LIMIT_BYTES >> 20))
        if answer.will_close:
            self.close()
        return answer.status, answer.headers, body

    def _failed(self, why: str) -> ServiceError:
        return ServiceError("base_url %s: no BMC answers: %s" % (self.base_url, why.lower()), option="base_url")


def _context(validate_certs: bool, ca_path: t.Optional[str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_path)
    except (OSError, ValueError) as error:
        raise PolicyError("ca_path %s: %s" % (ca_path, getattr(error, "strerror", None) or error), option="ca_path") from error
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
