"""The packages of a driver: names, versions, leftovers, and that no plan ever loses a card."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_plan import plan
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_policy import Policy
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.driver_decisions import STREAMS, changed, el_host
from tests.unit.driver_sources import FABRIC_580, UBUNTU, cuda_debian, cuda_ubuntu, debian, el, ubuntu
from tests.unit.facts_samples import KERNEL, MODELS, facts

BARE = facts("p40", loaded=None)
EL_SWITCHED = changed(el_host("h100"), host__nvswitches=["0000:07:00.0"])
SWITCHED = facts("h100", loaded=None, nvswitches=["0000:07:00.0"])

# facts, source, policy → packages that are asked for (source of the names: see the catalogue of driver packages)
PACKAGES = [
    (BARE, ubuntu("580.95.05", "580.173.02"), {}, [
        f"nvidia-utils-580-server=580.173.02-{UBUNTU}", f"nvidia-headless-no-dkms-580-server=580.173.02-{UBUNTU}",
        f"linux-modules-nvidia-580-server-{KERNEL}=6.8.0-60.63+2", "linux-modules-nvidia-580-server-generic=6.8.0-60.63+2",
        f"nvidia-firmware-580-server-580.173.02=580.173.02-{UBUNTU}"]),
    # an older version takes the older modules, and every dependency with it
    (BARE, ubuntu("580.95.05", "580.173.02"), {"version": "580.95.05"}, [
        f"linux-modules-nvidia-580-server-{KERNEL}=6.8.0-60.63+1", f"libnvidia-compute-580-server=580.95.05-{UBUNTU}",
        f"nvidia-kernel-source-580-server=580.95.05-{UBUNTU}"]),
    (SWITCHED, ubuntu("580.95.05"), {}, [f"nvidia-fabricmanager-580=580.95.05-{UBUNTU}", f"libnvidia-nscq-580=580.95.05-{UBUNTU}"]),
    (BARE, ubuntu("580.95.05", kernels=()), {}, [f"nvidia-dkms-580-server=580.95.05-{UBUNTU}"]),
    # the helpers would come from R595 otherwise
    (BARE, cuda_ubuntu("580.95.05", "595.71.05"), {}, [
        "libnvidia-compute-580=580.95.05-0ubuntu1", "nvidia-dkms-580=580.95.05-0ubuntu1", "nvidia-utils-580=580.95.05-0ubuntu1",
        "nvidia-persistenced=580.95.05-0ubuntu1", "nvidia-modprobe=580.95.05-0ubuntu1"]),
    (facts("a100", loaded=None), cuda_ubuntu("595.71.05"), {}, ["libnvidia-compute=595.71.05-0ubuntu1", "nvidia-dkms-open=595.71.05-0ubuntu1"]),
    (SWITCHED, cuda_ubuntu("580.95.05"), {}, [f"{name}=580.95.05-0ubuntu1" for name in FABRIC_580]),
    (SWITCHED, cuda_ubuntu("575.57.08"), {}, [f"{name}-575=575.57.08-0ubuntu1" for name in FABRIC_580]),
    # installed without an NVSwitch: they come along under the name of the branch
    (changed(BARE, driver__packages={"nvidia-imex-570": "570.211.01-0ubuntu1"}), cuda_ubuntu("580.95.05"), {}, ["nvidia-imex=580.95.05-0ubuntu1"]),
    (BARE, cuda_debian("595.71.05", "580.95.05"), {}, ["nvidia-driver-cuda=580.95.05-1", "nvidia-kernel-dkms=580.95.05-1", "nvidia-persistenced=580.95.05-1"]),
    # Debian's helper has a version of its own
    (BARE, debian(), {}, ["nvidia-smi=535.261.03-1~deb12u1", "libcuda1=535.261.03-1~deb12u1", "nvidia-kernel-dkms=535.261.03-1~deb12u1", "nvidia-persistenced"]),  # noqa: E501
    (el_host("p40"), el("595.71.05", "580.95.05", streams=STREAMS), {}, [
        "nvidia-driver-cuda-3:580.95.05-1.el9", "kmod-nvidia-latest-dkms-3:580.95.05-1.el9", "nvidia-persistenced-3:580.95.05-1.el9"]),
    (el_host("p40"), el("580.95.05", major="10.1"), {}, ["kmod-nvidia-latest-dkms-3:580.95.05-1.el10"]),
    # fabric manager asks for no version of the driver, and has no epoch (driver-packages 3.1)
    (EL_SWITCHED, el("580.95.05", streams=STREAMS), {}, [f"{name}-0:580.95.05-1.el9" for name in FABRIC_580]),
    (EL_SWITCHED, el("580.95.05", major="10.1"), {}, [f"{name}-0:580.95.05-1.el10" for name in FABRIC_580]),
    (EL_SWITCHED, el("570.211.01", streams=("570-open",)), {"branch": 570}, [
        "nvidia-fabric-manager-0:570.211.01-1.el9", "libnvidia-nscq-570-0:570.211.01-1.el9", "nvidia-imex-570-0:570.211.01-1.el9"]),
    (changed(el_host("p40"), driver__packages={"nvidia-fabric-manager": "0:570.211.01-1.el9"}), el("580.95.05", streams=STREAMS), {}, [
        "nvidia-fabricmanager-0:580.95.05-1.el9"]),
]  # fmt: skip


@pytest.mark.parametrize(("host", "source", "policy", "wanted"), PACKAGES)
def test_packages_in_exact_versions(host, source, policy, wanted):
    decided = plan(host, Policy(package_source=source, **policy))
    assert set(wanted) <= set(decided["packages"]), decided
    assert not any("container" in name for name in decided["packages"])


# packages that are installed, source, policy → what goes
LEFTOVERS = [
    # the modules of the old flavour do not exclude those of the new one: they would stay
    (["linux-modules-nvidia-580-server-open-generic", "nvidia-utils-580-server"], ubuntu("580.95.05"), ["linux-modules-nvidia-580-server-open-generic"]),
    # DKMS's module would be loaded in place of the prebuilt one
    (["nvidia-dkms-580-server", "libnvidia-decode-580-server"], ubuntu("580.95.05"), ["nvidia-dkms-580-server"]),
    (["linux-modules-nvidia-580-server-generic"], ubuntu("580.95.05", kernels=()), ["linux-modules-nvidia-580-server-generic"]),
    # desktop and server packages exclude each other
    (["nvidia-utils-580", "libnvidia-compute-580"], ubuntu("580.95.05"), ["libnvidia-compute-580", "nvidia-utils-580"]),
    # fabric manager has no -server in its name
    (["nvidia-fabricmanager-535", "nvidia-fabricmanager-580"], ubuntu("580.95.05"), ["nvidia-fabricmanager-535"]),
    # the same under the name of another branch
    (["nvidia-imex-570", "libnvsdm-570"], cuda_ubuntu("580.95.05"), ["libnvsdm-570", "nvidia-imex-570"]),
    (["nvidia-fabric-manager", "libnvidia-nscq"], el("580.95.05", streams=STREAMS), ["nvidia-fabric-manager"]),
    # what this branch lacks works with no driver of it
    (["libnvsdm"], el("570.211.01", streams=("570-dkms",)), ["libnvsdm"]),
    (["nvidia-open", "cuda-drivers"], cuda_debian("580.95.05"), ["nvidia-open"]),
    (["nvidia-kernel-open-dkms"], cuda_debian("580.95.05"), ["nvidia-kernel-open-dkms"]),
    # the archive's nvidia-smi and NVIDIA's nvidia-driver-cuda exclude each other
    (["nvidia-smi", "nvidia-kernel-dkms"], cuda_debian("580.95.05"), ["nvidia-smi"]),
    (["kmod-nvidia-open-dkms"], el("580.95.05", streams=STREAMS), ["kmod-nvidia-open-dkms"]),
    # what belongs to the driver and to no branch stays
    (["nvidia-settings", "nvidia-modprobe"], ubuntu("580.95.05"), []),
]


@pytest.mark.parametrize(("installed", "source", "gone"), LEFTOVERS)
def test_what_cannot_stay_beside_the_new_driver_goes_in_the_same_transaction(installed, source, gone):
    host = changed(BARE, driver__packages=dict.fromkeys(installed, "580.65.06-1"))
    assert plan(host, Policy(package_source=source))["remove"] == gone


@pytest.mark.parametrize(
    ("given_source", "line"),
    [
        ({"manager": "zypper", "versions": {}}, "package_source.manager is zypper: it must be apt or dnf"),
        ({"manager": "apt", "versions": []}, "package_source.versions must be a dict of package name to a list of versions"),
        (
            {"manager": "apt", "versions": {}, "module_source": "kmod"},
            "package_source.module_source is kmod: it must be one of auto, prebuilt, precompiled, dkms",
        ),
    ],
)
def test_a_package_source_that_makes_no_sense(given_source, line):
    with pytest.raises(PolicyError) as error:
        Policy(package_source=given_source)
    assert error.value.message == line


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ({"features": ["cuda14"]}, "features has cuda14: it must be one of "),
        ({"features": ["ollama-0.20"]}, "features has ollama-0.20: it must be one of "),
        ({"boards": {"P40": {}}}, "boards has p40: it must be a PCI device id"),
        ({"boards": {"1b38": {"branch": 580}}}, "boards.1b38 must be a dict with any of first_branch"),
        ({"boards": {"1b38": {"last_branch": "new"}}}, "boards.1b38.last_branch is new: it must be a driver branch"),
        ({"boards": {"1b38": {"flavors": ["closed"]}}}, "boards.1b38.flavors must be a list of open and proprietary"),
        ({"supported_gpus": {"gpus": []}}, "supported_gpus has no list chips"),
    ],
)
def test_policies_that_make_no_sense(policy, line):
    with pytest.raises(PolicyError) as error:
        Policy(**policy)
    assert error.value.message.startswith(line)


VERSIONS = ["470.256.02", "535.309.01", "570.211.01", "580.95.05", "580.173.02", "590.48.01", "595.91.07", "610.43.02", "615.71.09", "620.10.01"]
SOURCES = st.one_of(st.none(), st.builds(lambda make, versions: make(*sorted(versions, key=VERSIONS.index)), st.sampled_from([ubuntu, cuda_ubuntu, cuda_debian]),  # noqa: E501
                                         st.sets(st.sampled_from(VERSIONS), max_size=6)))  # fmt: skip
CARDS = st.lists(st.sampled_from(sorted(set(MODELS) - {"odd"})), min_size=1, max_size=4)


@settings(max_examples=400, deadline=None)
@given(
    cards=CARDS,
    versions=st.tuples(*[st.one_of(st.none(), st.sampled_from(VERSIONS))] * 3),
    flavor=st.sampled_from(["open", "proprietary"]),
    policy=st.fixed_dictionaries({
        "package_source": SOURCES, "latest_supported": st.booleans(), "branch": st.one_of(st.none(), st.sampled_from([535, 580, 595, 620])),
    }),
)  # fmt: skip
def test_no_plan_loses_a_card(cards, versions, flavor, policy):
    loaded, library, disk = versions
    host = facts(*cards, loaded=loaded, library=library, disk=disk, flavor=flavor)
    decided = plan(host, Policy(**policy))
    if decided["action"] in ("install", "upgrade", "downgrade", "reinstall", "reload", "reboot"):
        asked = [branches.card(device) for device in host["devices"]]
        assert branches.refusals(asked, decided["branch"], decided["flavor"] if decided["action"] not in ("reload", "reboot") else None) == []
    if decided["packages"]:
        own = [name for name in decided["packages"] if name.startswith(("nvidia-utils", "libnvidia-compute", "nvidia-driver-cuda"))]
        assert own and all("=%s-" % decided["version"] in name for name in own), decided
        assert not set(decided["remove"]) & {name.partition("=")[0] for name in decided["packages"]}
