"""The lab's Redfish service speaks Redfish: DMTF's own validator of the protocol finds nothing but what a recording cannot do."""

from __future__ import annotations

import csv
import os
import subprocess

from tests.lab.bmc.server import PASSWORD, USERNAME, Bmc
from tests.lab.bmc.trees import load

# A recording is not written to: nobody logs in for a session, and there are no accounts.
WRITES = {
    "PROTO_HTTP_SUPPORTED_METHODS", "REQ_POST_CREATE_TO_MEMBERS_PROP", "REQ_POST_CREATE_VIA_COLLECTION", "SEC_PRIV_SUPPORT_PREDEFINED_ROLES",
    "SEC_REQUIRE_LOGIN_SESSIONS", "SEC_WRITE_REQUIRES_AUTH",
}  # fmt: skip


def test_the_protocol_validator_accepts_the_service(tmp_path):
    with Bmc(load("dell-r6515"), tmp_path) as service:
        access = ["--user", USERNAME, "--password", PASSWORD, "--rhost", service.base_url, "--ca-bundle", str(service.ca_path)]
        command = ["rf_protocol_validator", *access, "--avoid-http-redirect", "--report-dir", str(tmp_path), "--report-type", "tsv"]
        # Not all of its requests take --ca-bundle.
        environment = dict(os.environ, REQUESTS_CA_BUNDLE=str(service.ca_path))
        run = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=180)
    (report,) = tmp_path.glob("RedfishProtocolValidationReport_*.tsv")
    rows = list(csv.DictReader(report.read_text().splitlines(), delimiter="\t"))
    failed = {row["Assertion"]: row["Message"] for row in rows if row["Result"] == "FAIL"}
    assert len([row for row in rows if row["Result"] == "PASS"]) > 100, run.stdout + run.stderr
    assert set(failed) == WRITES, failed
