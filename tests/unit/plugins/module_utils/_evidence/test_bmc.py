"""What a BMC tells: the recorded trees of three vendors over real TLS, and settings and supplies that no recording has."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import FleetError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import bmc, bmc_bios, bmc_power
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import Redfish
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import power
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lab.bmc.server import PASSWORD, USERNAME, Bmc
from tests.lab.bmc.trees import TREES, load
from tests.unit.facts_samples import facts
from tests.unit.junk import places, put


class Offline(Redfish):
    """The client over a tree in memory: everything but the network."""

    def __init__(self, tree):
        # Not the client's own: it would read the system's certificates, a thousand times.
        self.base_url, self.tree, self._seen = "https://bmc.example.org", tree, {}

    def _read(self, path):
        return self._resource(path, *((200, self.tree[path.rstrip("/")]) if path.rstrip("/") in self.tree else (404, b"")))

    def _resource(self, path, status, body):
        if status == 200 and isinstance(body, dict):
            return body
        return super()._resource(path, status, body if isinstance(body, bytes) else b"")


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with Bmc({}, tmp_path_factory.mktemp("bmc")) as server:
        yield server


def read(service, tree, **options):
    service.tree = tree
    client = Redfish(service.base_url, USERNAME, PASSWORD, ca_path=str(service.ca_path))
    try:
        return bmc.read(client, **options)
    finally:
        client.close()


def told(found):
    return {name: (one["attribute"], one["value"]) for name, one in found["bios"].items() if name not in ("acs", "iommu", "virtualization")}


# Tree → the settings that it tells. What is not here is not known: HPE has no switch for Above 4G, AMD Dells neither.
SETTINGS = {
    "dell-r6515": {"mmio_window": ("MmioLimit", "8TB"), "aspm": ("PcieAspmL1", "Enabled"), "sriov": ("SriovGlobalEnable", "Disabled")},
    "hpe-dl360": {"mmio_window": ("PciResourcePadding", "Normal"), "aspm": ("PciSlot*Aspm", "Disabled"), "sriov": ("Sriov", "Enabled")},
    "hpe-dl380a": {"mmio_window": ("PciResourcePadding", "Disabled"), "aspm": ("PcieGlobalAspm", "Enabled"), "sriov": ("Sriov", "Enabled")},
    # What a port advertises (Socket0Pcie0AdvertiseASPML1) is no setting of ASPM.
    "supermicro-gb300": {"above_4g": ("Above4GDecoding", "Enabled"), "sriov": ("SR_IOVSupport", "Disabled")},
}
# Tree → usable watts of each source (N + R as the groups say), None: no source tells a capacity.
POWER = {
    "dell-r6515": {}, "hpe-dl360": {"redfish_power": 800.0}, "hpe-dl380a": {"redfish_power_subsystem": 4400.0, "redfish_power": 4400.0}, "supermicro-gb300": {},
}  # fmt: skip
# Tree → power.budget and power.redundancy of a host with two P40 (1000 W recommended).
VERDICTS = {"dell-r6515": ("unknown", "skipped"), "hpe-dl360": ("fail", "pass"), "hpe-dl380a": ("pass", "pass"), "supermicro-gb300": ("unknown", "skipped")}


def test_every_recorded_tree_is_in_the_tables():
    assert set(SETTINGS) == set(POWER) == set(VERDICTS) == set(TREES)


@pytest.mark.parametrize("name", TREES)
def test_recorded_trees(service, name):
    found = read(service, load(name))
    assert told(found) == SETTINGS[name]
    assert all(one["pending"] is None and not one["slots_pending"] for one in found["bios"].values())
    policy = power.Policy()
    sources = power.sources_of(None, found, policy)
    figures = power.budget(facts("p40", "p40"), policy, sources)
    assert {one.name: one.usable for one in figures["capacities"]} == POWER[name]
    checks = {check.id: check for check in power.check(facts("p40", "p40"), policy, sources)}
    assert (checks["power.budget"].status, checks["power.redundancy"].status) == VERDICTS[name], checks["power.budget"].line()
    assert checks["power.sources_agree"].status == ("pass" if len(POWER[name]) == 2 else "skipped")
    assert (found["power"] is None) == (not POWER[name]) == ("power" in found["unavailable"])


def test_links_are_followed_as_they_are_written(service):
    service.requests.clear()
    read(service, load("hpe-dl380a"))
    assert "/redfish/v1/systems/1/bios" in service.requests and "/redfish/v1/Systems/1/bios" not in service.requests
    assert len(service.requests) == len(set(service.requests)), "nothing is asked twice"


def test_slots_that_contradict_the_switch_for_all_leave_it_open(service):
    found = read(service, load("hpe-dl380a"))
    aspm = found["bios"]["aspm"]
    assert aspm["enabled"] is None and set(aspm["slots"].values()) == {"Disabled"} and set(aspm["slots"]) == {"2", "14", "16", "17", "18"}
    assert found["bios_attributes"]["PcieGlobalAspm"] == {"canonical": "aspm", "value": "Enabled", "pending": None}
    assert found["bios_attributes"]["PciSlot14Aspm"] == {"canonical": "aspm", "value": "Disabled", "pending": None}


def test_no_other_attribute_is_returned(service):
    found = read(service, load("dell-r6515"))
    assert "Password" not in str(found) and "4PN08J3" not in str(found) and len(found["bios_attributes"]) == len(found["bios"])


def test_pending_settings(service):
    tree = load("hpe-dl380a")
    later = tree["/redfish/v1/systems/1/bios/settings"]["Attributes"]
    later.update(Sriov="Disabled", PciSlot14Aspm="AspmL1Enabled")
    found = read(service, tree)
    assert found["bios"]["sriov"] == {"attribute": "Sriov", "value": "Enabled", "enabled": True, "pending": "Disabled", "slots": {}, "slots_pending": {}}
    assert found["bios"]["aspm"]["slots_pending"] == {"14": "AspmL1Enabled"}
    assert found["bios_attributes"]["PciSlot14Aspm"]["pending"] == "AspmL1Enabled"


def test_hpe_bays_that_are_empty_have_not_failed(service):
    tree = load("hpe-dl360")
    supplies = tree["/redfish/v1/Chassis/1/Power"]["PowerSupplies"]
    supplies[1] = {"@odata.id": supplies[1]["@odata.id"], "Status": {"State": "Absent"}, "PowerCapacityWatts": None, "LineInputVoltage": 0, "MemberId": "1"}
    found = read(service, tree)
    assert [one["state"] for one in found["power"]["supplies"]] == ["ok", "absent"]
    assert [(row["members"], row["needed"]) for row in found["power"]["redundancy"]] == [(1, 2)]


@pytest.mark.parametrize(
    "change, state",
    [
        ({"Status": {"State": "Enabled", "Health": "Critical"}}, "failed"),
        ({"Status": {"State": "Enabled", "Health": "Warning"}}, "failed"),
        ({"Status": {"State": "UnavailableOffline", "Health": "Critical"}}, "unplugged"),
        ({"LineInputVoltage": 0}, "unplugged"),
        ({"Status": {"State": "Enabled"}}, "ok"),
        ({"Status": {}}, "unknown"),
    ],
)
def test_states_of_a_supply(change, state):
    tree = load("hpe-dl360")
    tree["/redfish/v1/Chassis/1/Power"]["PowerSupplies"][1].update(change)
    assert [one["state"] for one in bmc.read(Offline(tree))["power"]["supplies"]] == ["ok", state]


# PWS-2K05A-1R as a BMC describes it: label, line, and what it gives there.
RANGES = [
    {"InputType": "AC", "MinimumVoltage": 200, "MaximumVoltage": 240, "OutputWattage": 2000},
    {"InputType": "AC", "MinimumVoltage": 100, "MaximumVoltage": 127, "OutputWattage": 1000},
]
NOMINAL = [{"NominalVoltageType": "AC200To240V", "CapacityWatts": 2000}, {"NominalVoltageType": "AC100To127V", "CapacityWatts": 1000}]


@pytest.mark.parametrize(
    "volts, kind, ranges, watts, derated",
    [
        (230, None, RANGES, 2000, True),
        (120, None, RANGES, 1000, True),
        (None, "AC120V", RANGES, 1000, True),
        (None, "ACHighLine", RANGES, 2000, True),
        (118, None, NOMINAL, 1000, True),
        (208, None, NOMINAL, 2000, True),
        (120, None, [], 2000, False),
        (None, None, RANGES, 2000, False),
        (170, None, RANGES, 2000, False),
    ],
)
def test_line_voltage(volts, kind, ranges, watts, derated):
    one = {"PowerCapacityWatts": 2000, "LineInputVoltage": volts, "LineInputVoltageType": kind, "InputRanges": ranges, "Status": {"State": "Enabled"}}
    tree = load("hpe-dl360")
    tree["/redfish/v1/Chassis/1/Power"].update(PowerSupplies=[one], Redundancy=[])
    (supply,) = bmc.read(Offline(tree))["power"]["supplies"]
    assert (supply["watts"], supply["rated_watts"], supply["derated"]) == (watts, 2000, derated)


def test_a_supply_of_the_subsystem_tells_its_line_in_its_metrics():
    tree = load("hpe-dl380a")
    path = "/redfish/v1/Chassis/1/PowerSubsystem/PowerSupplies/0"
    tree[path].update(Metrics={"@odata.id": path + "/Metrics"}, InputRanges=NOMINAL)
    tree[path + "/Metrics"] = {"InputVoltage": {"Reading": 121.5}}
    supplies = bmc.read(Offline(tree))["power"]["supplies"]
    assert [(one["watts"], one["line_volts"]) for one in supplies] == [(1000, 121.5), (2200, None), (2200, None), (2200, None)]


def test_a_list_without_supplies_and_0_w_tells_nothing():
    """Supermicro X10: no BIOS resource, and Chassis Power with neither a supply nor a capacity."""
    tree = load("hpe-dl360")
    tree["/redfish/v1/Chassis/1/Power"].update(PowerSupplies=[], PowerControl=[{"PowerCapacityWatts": 0, "PowerConsumedWatts": 0}])
    del tree["/redfish/v1/Systems/1"]["Bios"]
    found = bmc.read(Offline(tree))
    assert found["power"] is None and found["bios"] == {} and set(found["unavailable"]) == {"bios", "power"}


def bios(attributes, entries=(), name="BiosAttributeRegistry.v1_0_0"):
    tree = {
        "/redfish/v1": {"Systems": {"@odata.id": "/s"}, "Chassis": {"@odata.id": "/c"}, "Registries": {"@odata.id": "/r"}},
        "/s": {"Members": [{"@odata.id": "/s/1"}]}, "/s/1": {"Id": "1", "Bios": {"@odata.id": "/s/1/b"}}, "/c": {"Members": []},
        "/s/1/b": {"Attributes": attributes, "AttributeRegistry": name}, "/r": {"Members": [{"@odata.id": "/r/" + name}]},
        "/r/" + name: {"Location": [{"Uri": "/r/document"}]}, "/r/document": {"RegistryEntries": {"Attributes": list(entries)}},
    }  # fmt: skip
    return {canonical: one["attribute"] for canonical, one in bmc.read(Offline(tree))["bios"].items()}


@pytest.mark.parametrize(
    "attributes, expected",
    [
        (["MmioAbove4Gb", "MemoryMappedIOH", "SriovGlobalEnable", "PcieAspmL1"],
         {"above_4g": "MmioAbove4Gb", "mmio_window": "MemoryMappedIOH", "sriov": "SriovGlobalEnable", "aspm": "PcieAspmL1"}),
        (["Above4GDecoding_00B1", "Re_SizeBARSupport_00AF", "SR_IOVSupport_00B2", "ASPMSupport_0083"],
         {"above_4g": "Above4GDecoding_00B1", "resizable_bar": "Re_SizeBARSupport_00AF", "sriov": "SR_IOVSupport_00B2", "aspm": "ASPMSupport_0083"}),
        (["SR-IOVSupport", "ACSEnable", "IOMMU"], {"sriov": "SR-IOVSupport", "acs": "ACSEnable", "iommu": "IOMMU"}),
        (["DevicesandIOPorts_PCI64BitResourceAllocation", "DevicesandIOPorts_MMConfigBase"],
         {"above_4g": "DevicesandIOPorts_PCI64BitResourceAllocation", "mmio_window": "DevicesandIOPorts_MMConfigBase"}),
        (["Socket0Pcie0AdvertiseASPML1", "SysPassword", "AssetTag"], {}),
    ],
)  # fmt: skip
def test_names_of_the_vendors(attributes, expected):
    assert bios(dict.fromkeys(attributes, "Enabled")) == expected


@pytest.mark.parametrize(
    "shown, canonical",
    [
        ("Above 4G Decoding", "above_4g"),
        ("Memory Mapped I/O above 4GB", "above_4g"),
        ("PCI 64-Bit Resource Allocation", "above_4g"),
        ("Prefetchable MMIO Above 4G Size", "mmio_window"),
        ("Memory Hole for PCI MMIO", "mmio_window"),
        ("SR-IOV Support", "sriov"),
        ("ASPM Support", "aspm"),
        ("PCI-E ASPM Support (Global)", "aspm"),
        ("Re-Size BAR Support", "resizable_bar"),
        ("Resizable BAR", "resizable_bar"),
        ("ACS Enable", "acs"),
        ("Intel VT for Directed I/O (VT-d)", "iommu"),
        ("SVM Mode", "virtualization"),
        ("Advertise ASPM L1", None),
        ("Advertise ACS capability", None),
        ("Above the fold", None),
    ],
)
def test_opaque_names_are_resolved_by_what_the_registry_shows(shown, canonical):
    entry = {"AttributeName": "PCIS042", "DisplayName": shown}
    assert bios({"PCIS042": "Enabled"}, [entry]) == ({canonical: "PCIS042"} if canonical else {})
    assert bios({"Other": "Enabled"}, [entry]) == {}, "the registry lists an attribute that this machine does not have"


def test_the_registry_is_read_only_when_names_do_not_tell(service):
    tree = load("supermicro-gb300")
    tree["/redfish/v1/Systems/System_0/Bios"]["Attributes"].update(ASPMSupport="Disabled")
    service.requests.clear()
    read(service, tree)
    assert not [path for path in service.requests if "Registr" in path]


@pytest.mark.parametrize(
    "value, state",
    [("Enabled", True), ("Enable", True), (True, True), ("AspmL1Enabled", True), ("Disabled", False), ("Auto", None), ("56TB", None), (None, None)],
)
def test_switches(value, state):
    assert bmc_bios.switch(value) is state


def test_a_bmc_of_several_servers_wants_one_named():
    tree = load("hpe-dl360")
    second = copy.deepcopy(tree["/redfish/v1/Systems/1"])
    second["Id"] = "2"
    tree["/redfish/v1/Systems/2"] = second
    tree["/redfish/v1/Systems"]["Members"].append({"@odata.id": "/redfish/v1/Systems/2"})
    with pytest.raises(FleetError, match="^system: .* manages several servers \\(1, 2\\); name the right one"):
        bmc.read(Offline(tree))
    assert bmc.read(Offline(tree), "2")["system"]["id"] == "2"
    with pytest.raises(FleetError, match="^system 3 does not exist .*; there are: 1, 2"):
        bmc.read(Offline(tree), "3")


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.just([]), st.just({}), st.just([None]), st.just([[]]), st.just([{}]),
    st.just({"@odata.id": 1}), st.just({"@odata.id": "/redfish/v1"}), st.just(10**400), st.just("Absent"),
)  # fmt: skip


def small(name):
    """A tree without the mass of attributes that all are alike, so that many examples fit into a second."""
    tree = load(name)
    for document in tree.values():
        if isinstance(document.get("Attributes"), dict):
            document["Attributes"] = {key: value for key, value in document["Attributes"].items() if "4G" in key or "Aspm" in key or "S" in key[:2]}
        if "RegistryEntries" in document:
            document["RegistryEntries"]["Attributes"] = document["RegistryEntries"]["Attributes"][:3]
        if len(document.get("Members", [])) > 8:
            document["Members"] = [one for one in document["Members"] if one["@odata.id"] in tree] + document["Members"][:2]
    return tree


BIG = {name: small(name) for name in ("hpe-dl380a", "supermicro-gb300")}
PLACES = {name: [place for place in places(tree) if len(place) > 1] for name, tree in BIG.items()}


def changed(name):
    """The tree's name, with values to put at some of its places."""
    return st.tuples(st.just(name), st.lists(st.tuples(st.sampled_from(PLACES[name]), JUNK), min_size=1, max_size=6))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(BIG)).flatmap(changed))
def test_no_tree_raises_outside_the_error_tree(case):
    name, changes = case
    tree = copy.deepcopy(BIG[name])
    for place, value in changes:
        put(tree, place, value)
    try:
        found = bmc.read(Offline(tree))
    except FleetError as error:
        assert error.message
        return
    for check in power.check(facts("p40", "p40"), power.Policy(), power.sources_of(None, found, power.Policy())):
        assert check.line()


SCALARS = st.none() | st.booleans() | st.floats() | st.text(max_size=3)
KEYS = ["PowerSupplies", "Redundancy", "PowerControl", "Status", "State", "RedundancySet", "InputRanges", "LineInputVoltage", "PowerCapacityWatts", "Members"]


@settings(max_examples=100, deadline=None)
@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4), max_leaves=20))
def test_no_power_resource_raises(document):
    client = Offline({"/p": document if isinstance(document, dict) else {"PowerSupplies": document}})
    for one in bmc_power.read(client, [{"Power": {"@odata.id": "/p"}, "PowerSubsystem": {"@odata.id": "/p"}}]):
        assert one["source"] in ("redfish_power", "redfish_power_subsystem")
