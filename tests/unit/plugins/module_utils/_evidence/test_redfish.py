"""The Redfish client against a service that misbehaves: one line that names the option, and no password to anybody else."""

from __future__ import annotations

import time

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FleetError, PolicyError, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import bmc
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import MissingError, Redfish

from tests.lab.bmc.server import PASSWORD, USERNAME, Bmc
from tests.lab.bmc.trees import load

ROOT = "/redfish/v1/"


@pytest.fixture
def service(tmp_path):
    with Bmc(load("hpe-dl360"), tmp_path) as server:
        yield server


def client(service, **options):
    options = {"username": USERNAME, "password": PASSWORD, "ca_path": str(service.ca_path), **options}
    return Redfish(options.pop("base_url", service.base_url), options.pop("username"), options.pop("password"), **options)


def failure(service, **options):
    with pytest.raises(FleetError) as error:
        bmc.read(client(service, **options))
    assert "\n" not in error.value.message and PASSWORD not in error.value.message
    return error.value


def test_a_wrong_password(service):
    error = failure(service, password="secret-but-wrong")
    assert error.message == "username, password: the BMC at %s refuses /redfish/v1/Systems: wrong username or password (HTTP 401)" % service.base_url
    assert error.details["option"] == "password"


def test_nobody_at_the_address(service):
    error = failure(service, base_url="https://127.0.0.1:1")
    assert error.message == "base_url https://127.0.0.1:1: no BMC answers: connection refused" and error.details["option"] == "base_url"


def test_a_name_that_does_not_exist(service):
    assert failure(service, base_url="https://bmc.invalid").message.startswith("base_url https://bmc.invalid: no BMC answers: ")


def test_a_certificate_that_nobody_vouches_for(service):
    error = failure(service, ca_path=None)
    assert error.message.startswith("ca_path: the certificate of %s is not trusted (" % service.base_url) and error.details["option"] == "ca_path"
    assert bmc.read(client(service, ca_path=None, validate_certs=False))["system"]["id"] == "1"


def test_a_certificate_for_another_name(service):
    error = failure(service, base_url=service.base_url.replace("127.0.0.1", "127.0.0.2").replace("localhost", "127.0.0.2"))
    assert error.details["option"] in ("ca_path", "base_url")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_is_none(service, tmp_path, content):
    path = tmp_path / "other.pem"
    if content:
        path.write_text(content)
    error = failure(service, ca_path=str(path))
    assert error.message.startswith("ca_path %s: " % path) and isinstance(error, PolicyError)


@pytest.mark.parametrize("raw", [b"<html>It works!</html>", b"", b"\xff\xfe\x00", b"[1, 2]", b'"text"', b"{", b"[" * 100000, b"null"])
def test_garbage(service, raw):
    service.raw = raw
    assert failure(service).message == "base_url %s: /redfish/v1/ is no JSON object, so this is not Redfish" % service.base_url


def test_json_that_is_not_redfish(service):
    service.raw = b'{"hello": "world"}'
    assert failure(service).message.endswith("/redfish/v1/ has no Systems, so this is not the Redfish service of a server")


def test_an_answer_that_does_not_come(service):
    service.delay_seconds = 2
    began = time.monotonic()
    error = failure(service, timeout_seconds=0.2)
    assert error.message == "timeout_seconds: no answer from %s to /redfish/v1/ in time" % service.base_url
    assert time.monotonic() - began < 2


def test_all_requests_together_have_a_limit_too(service):
    service.delay_seconds = 0.2
    began = time.monotonic()
    assert failure(service, timeout_seconds=0.5, total_seconds=0.5).details["option"] == "timeout_seconds"
    assert time.monotonic() - began < 1


@pytest.mark.parametrize(
    "base_url", ["bmc.example.org", "http://bmc.example.org", "ftp://x", "https://", "https://u:p@h", "https://h/redfish", "https://h:port", "https://["]
)
def test_addresses_that_are_none(service, base_url):
    error = failure(service, base_url=base_url)
    assert error.message == "base_url %s is not an address like https://bmc.example.org" % base_url and isinstance(error, PolicyError)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), 1e9])
def test_time_outs_that_make_no_sense(service, seconds):
    assert failure(service, timeout_seconds=seconds).details["option"] == "timeout_seconds"


def test_a_connection_that_the_service_closes_is_opened_again(service):
    service.drop_every = 2
    assert bmc.read(client(service))["power"]["capacity_watts"] == 1600


def test_redirects_within_the_service_are_followed(service):
    service.redirects["/redfish/v1/"] = "/redfish/v1"
    assert bmc.read(client(service))["system"]["id"] == "1"


@pytest.mark.parametrize("location", ["https://elsewhere.example.org/redfish/v1/", "//elsewhere.example.org/", "", "redfish"])
def test_redirects_to_others_are_not(service, location):
    service.redirects["/redfish/v1/"] = location
    assert failure(service).message == "base_url %s: /redfish/v1/ leads elsewhere" % service.base_url


def test_a_redirect_in_a_circle_comes_to_an_end(service):
    service.redirects.update({"/redfish/v1/": "/redfish/v1/x", "/redfish/v1/x": "/redfish/v1/"})
    assert failure(service).message.endswith("leads elsewhere") and len(service.requests) == 4


@pytest.mark.parametrize("link", ["https://elsewhere.example.org/x", "//elsewhere.example.org/x", "x", None, 5, {}])
def test_links_out_of_the_service_are_not_followed(service, link):
    with pytest.raises(MissingError, match="is not a link within the service"):
        client(service).get(link)
    assert service.requests == []


def test_a_resource_that_is_missing_is_no_end(service):
    del service.tree["/redfish/v1/Chassis/1/Power"]
    assert bmc.read(client(service))["unavailable"] == {"power": "no chassis tells the capacity of power supplies"}


def test_a_service_that_breaks_is_an_end(service):
    service.raw = b"x" * (33 << 20)
    error = failure(service)
    assert "is larger than 32 mib" in error.message and isinstance(error, ServiceError)


def test_pages_of_a_collection_are_followed(service):
    tree = {"/c": {"Members": [{"@odata.id": "/c/1"}, {"@odata.id": "/c/gone"}, {}, 5], "Members@odata.nextLink": "/c?skip=2"},
            "/c?skip=2": {"Members": [{"@odata.id": "/c/2"}], "Members@odata.nextLink": "/c"}, "/c/1": {"Id": "1"}, "/c/2": {"Id": "2"}}  # fmt: skip
    service.tree = tree
    reader = client(service)
    assert [one["Id"] for one in reader.members(reader.get("/c"))] == ["1", "2"]
