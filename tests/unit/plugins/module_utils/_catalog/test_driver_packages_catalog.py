"""The catalogues of driver packages and of features are whole: every row has every key, and every rule is a version that compares."""

from __future__ import annotations

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import driver_packages, features
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

KEYS = {"source", "manager", "distributions", "major", "branches", "flavors", "module_source", "required", "per_kernel", "per_flavor", "companions", "plain",
        "fabric", "fabric_also", "stream", "headers"}  # fmt: skip


def test_every_row_has_every_key_and_only_known_words():
    for row in driver_packages.ROWS:
        assert set(row) == KEYS
        for key in ("required", "per_kernel", "per_flavor", "companions", "plain", "fabric", "fabric_also"):
            assert isinstance(row[key], tuple), (row["source"], key)
            for name in row[key]:
                assert name.format(B=580, V="580.95.05", O="-open", K="k", F="f") and " " not in name
        assert row["required"] and set(row["flavors"]) <= {"open", "proprietary"}
        assert bool(row["stream"]) == (row["source"] == "dnf_module")


def test_every_rule_of_a_feature_compares():
    rules = [rule for feature in features.FEATURES.values() for rule in feature["rules"]] + [rule for some in features.OLLAMA.values() for rule in some]
    for lowest, end, driver in rules:
        assert known.version(lowest) and known.version(driver) and (end is None or known.version(end) > known.version(lowest))
    drivers = [known.version(features.TOOLKITS[toolkit]) for toolkit in sorted(features.TOOLKITS)]
    assert drivers == sorted(drivers)
