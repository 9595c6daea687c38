"""The recipes of the lab's driver and toolkit packages, and the package files themselves, read by dpkg-deb, modinfo and depmod."""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.hardware.profile import load
from tests.lab.node import sources
from tests.lab.packages import driver, modules, recipes, toolkit
from tests.lab.packages.deb import Package, write
from tests.lab.packages.keys import ModuleKey
from tests.lab.packages.recipes import Archive

# What the packages need from the distribution.
DISTRIBUTION = {"libc6", "adduser", "kmod", "dkms", "gcc", "make", "python3"}
UBUNTU = Archive.load("ubuntu")
OTHERS = ["cuda-ubuntu", "cuda-debian/debian12", "cuda-debian/debian13", "debian/bookworm", "debian/trixie"]
LIBRARIES = ("libcuda.so", "libnvidia-cfg.so", "libnvidia-ml.so")


def run(*command: str | Path) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout


def userland(version: str, out: Path) -> None:
    """Files where the compiled doubles would be."""
    for name in [f"usr/lib/x86_64-linux-gnu/{library}.{version}" for library in LIBRARIES] + ["usr/bin/nvidia-smi"]:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(version)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> ModuleKey:
    folder = tmp_path_factory.mktemp("key")
    found = ModuleKey(folder / "certificate.pem", folder / "key.pem")
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Test Signer", "-keyout", found.private, "-out", found.certificate)
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory, key: ModuleKey) -> list[Package]:
    return driver.Builder(UBUNTU, tmp_path_factory.mktemp("work"), key, userland).packages()


def satisfied(dependency: str, available: list[Package]) -> bool:
    """Whether a package of the repository fulfils one `NAME (OP VERSION)`."""
    match = re.fullmatch(r"(\S+)(?: \((<=|>=|=) (\S+)\))?", dependency)
    assert match, dependency
    name, operator, wanted = match.groups()
    if name in DISTRIBUTION:
        return True
    offered = [package.version for package in available if package.name == name]
    for package in available:
        for provided in package.relations.get("provides", []):
            offered += re.findall(rf"^{re.escape(name)}(?: \(= (\S+)\))?$", provided)
    if operator is None:
        return bool(offered)
    compare = {"<=": "le", ">=": "ge", "=": "eq"}[operator]
    return any(subprocess.run(["dpkg", "--compare-versions", have, compare, wanted], check=False).returncode == 0 for have in offered)


def test_every_dependency_is_in_the_repository_or_the_distribution(packages: list[Package]) -> None:
    missing = {f"{package.name}: {entry}" for package in packages for entry in package.relations.get("depends", []) if not satisfied(entry, packages)}
    assert not missing


def test_a_missing_dependency_is_noticed(packages: list[Package]) -> None:
    assert not satisfied("nvidia-kernel-common-580-server (= 1.0)", packages)
    assert not satisfied("nvidia-kernel-common-999-server", packages)


def test_names_and_versions_are_unique_and_legal(packages: list[Package]) -> None:
    identities = [(package.name, package.version) for package in packages]
    assert len(set(identities)) == len(identities)
    assert not [name for name, _version in identities if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name)]


@pytest.mark.parametrize(
    "name",
    [
        "nvidia-headless-no-dkms-580-server",
        "nvidia-headless-580-server-open",
        "nvidia-utils-535-server",
        "nvidia-dkms-580-server",
        "nvidia-kernel-source-580-server-open",
        "nvidia-firmware-580-server-580.95.05",
        f"linux-modules-nvidia-580-server-{recipes.package_release()}",
        "linux-modules-nvidia-580-server-open-generic",
        "nvidia-utils-570-server",
        "nvidia-headless-no-dkms-590-server-open",
        "nvidia-utils-470-server",
        "nvidia-fabricmanager-580",
        "libnvidia-nscq-535",
    ],
)
def test_the_archive_names_are_there(packages: list[Package], name: str) -> None:
    assert name in {package.name for package in packages}


def test_branches_and_desktop_and_server_exclude_each_other(packages: list[Package]) -> None:
    commons = {package.name: package for package in packages if package.name.startswith("nvidia-kernel-common-")}
    assert len(commons) >= 3
    for one, other in itertools.combinations(commons.values(), 2):
        assert set(one.relations["conflicts"]) & set(other.relations["provides"])


def test_no_two_packages_of_one_driver_ship_the_same_file(packages: list[Package]) -> None:
    for of in UBUNTU.drivers():
        named = re.compile(rf"-{of.branch}(-(?!server|open)|$)")  # without the packages named after the number alone
        own = [package for package in packages if named.search(package.name) and package.version == of.package_version]
        paths = [path for package in own for path in (*package.files, *package.links)]
        assert own and sorted(set(paths)) == sorted(paths)


def test_a_file_that_no_recipe_takes_is_an_error(tmp_path: Path, key: ModuleKey) -> None:
    def more(version: str, out: Path) -> None:
        userland(version, out)
        (out / "usr/bin/forgotten").write_text("")

    with pytest.raises(ValueError, match="usr/bin/forgotten"):
        driver.Builder(UBUNTU, tmp_path, key, more).packages()


@pytest.mark.parametrize(
    ("branch", "version", "flavor"),
    [("580-server", "580.95.05", "proprietary"), ("580-server", None, "open"), ("535-server", "535.274.02", "proprietary")],
)
def test_install_arguments_name_a_closed_set_of_existing_packages(packages: list[Package], branch: str, version: str | None, flavor: str) -> None:
    arguments = [tuple(argument.split("=")) for argument in driver.install_arguments(branch, version, flavor)]
    chosen = [package for package in packages if (package.name, package.version) in arguments]
    assert len(chosen) == len(arguments)
    kernel = [package for package in packages if package.component == "main"]
    assert not [entry for package in chosen for entry in package.relations["depends"] if not satisfied(entry, chosen + kernel)]
    assert any(name.startswith("nvidia-utils-") for name, _version in arguments)


@pytest.mark.parametrize(
    ("branch", "version", "flavor"),
    [("580-server", "1.2.3", "proprietary"), ("999-server", None, "proprietary"), ("535-server", None, "open")],
)
def test_install_arguments_of_an_unknown_driver(branch: str, version: str | None, flavor: str) -> None:
    with pytest.raises(LookupError, match=branch):
        driver.install_arguments(branch, version, flavor)


PROFILES = sorted((Path(driver.__file__).parents[1] / "profiles").glob("*.yml"))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_the_driver_of_every_profile_can_be_installed(profile: Path) -> None:
    hardware = load(profile.stem)
    wanted = hardware["driver"]
    if wanted is None:
        pytest.skip("no driver")
    _extra, archive = sources.archive_of(hardware)
    assert driver.install_arguments(wanted["branch"], wanted["version"], wanted.get("flavor", modules.PROPRIETARY), archive)


def test_an_unknown_word_in_a_recipe_is_an_error() -> None:
    assert recipes.fill({"@B@": ["x-@B@"]}, {"B": "580"}) == {"580": ["x-580"]}
    with pytest.raises(KeyError, match="NONE"):
        recipes.fill("@NONE@", {})


@pytest.mark.parametrize(("flavor", "licence"), [(modules.PROPRIETARY, "NVIDIA"), (modules.OPEN, "Dual MIT/GPL")])
def test_modules_are_read_by_the_kernel_tools(tmp_path: Path, key: ModuleKey, flavor: str, licence: str) -> None:
    release = "6.8.0-88-generic"
    folder = tmp_path / "lib/modules" / release
    (folder / "kernel").mkdir(parents=True)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (folder / name).touch()
    of = next(one for one in UBUNTU.drivers() if one.version == "580.95.05")
    for name, source in driver.Modules(tmp_path / "sources", of, flavor).sources.items():
        built = tmp_path / f"{name}.o"
        modules.compile_module(source, release, built)
        (folder / "kernel" / f"{name}.ko").write_bytes(built.read_bytes() + modules.signature(built, key))
    run("depmod", "-b", tmp_path, release)
    nvidia = folder / "kernel/nvidia.ko"
    shown = {field: run("modinfo", "-F", field, nvidia).strip() for field in ("version", "license", "signer", "vermagic")}
    assert shown == {"version": "580.95.05", "license": licence, "signer": "Test Signer", "vermagic": f"{release} SMP preempt mod_unload modversions"}
    needed = dict(line.split(":") for line in (folder / "modules.dep").read_text().splitlines())
    assert {Path(name).stem: sorted(Path(other).stem for other in others.split()) for name, others in needed.items()} == {
        "nvidia": [],
        "nvidia-uvm": ["nvidia"],
        "nvidia-modeset": ["nvidia"],
        "nvidia-drm": ["nvidia", "nvidia-modeset"],
    }
    alias = "pci:v000010DEd00001B38sv000010DEsd000011D9bc03sc02i00"
    assert run("modprobe", "-d", tmp_path, "-S", release, "--resolve-alias", alias).split() == ["nvidia"]


def test_a_package_file_says_what_was_described(tmp_path: Path) -> None:
    package = Package("sample", "1.0-1", "A sample\nMore words.", relations={"depends": ["libc6", "kmod (>= 1)"]})
    package.files = {"/etc/sample.conf": "value\n", "/usr/bin/sample": b"#!/bin/sh\n"}
    package.links = {"/usr/lib/libsample.so.1": "libsample.so.1.0"}
    package.scripts = {"postinst": "#!/bin/sh\n"}
    first, second = write(package, tmp_path / "a"), write(package, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    assert run("dpkg-deb", "-f", first, "Depends").strip() == "libc6, kmod (>= 1)"
    assert run("dpkg-deb", "-I", first, "conffiles").split() == ["/etc/sample.conf"]
    listing = run("dpkg-deb", "-c", first)
    assert re.search(r"^-rwxr-xr-x root/root .* \./usr/bin/sample$", listing, re.M)
    assert "./usr/lib/libsample.so.1 -> libsample.so.1.0" in listing


def test_control_paragraphs_of_the_toolkit() -> None:
    text = "Source: x\nSection: utils\n\nPackage: one\nDepends: a, b\nDescription: First\n More of it.\n\nPackage: two\nDescription: Second\n"
    assert toolkit.control_paragraph(text, "one") == {"Package": "one", "Depends": "a, b", "Description": "First\n More of it."}
    with pytest.raises(LookupError, match="three"):
        toolkit.control_paragraph(text, "three")


def test_the_fabric_manager_is_locked_to_one_version_of_the_driver(packages: list[Package]) -> None:
    found = [package for package in packages if package.name == "nvidia-fabricmanager-580"]
    assert sorted(package.relations["depends"][0] for package in found) == [
        "nvidia-kernel-common-580-server-580.173.02",
        "nvidia-kernel-common-580-server-580.95.05",
    ]


@pytest.mark.parametrize(
    ("release", "following"),
    [("6.8.0-88-generic", "6.8.1-88-generic"), ("6.18.44-fc-v657", "6.18.45-fc-v657"), ("6.18-rc1", "6.19-rc1"), ("7", "8")],
)
def test_the_next_kernel_is_newer_and_of_the_same_flavour(release: str, following: str) -> None:
    assert recipes.next_release(release) == following


def of_variant(name: str) -> driver.Driver:
    (found,) = Archive.load(f"ubuntu/{name}").drivers()
    return found


def test_the_broken_source_does_not_compile(tmp_path: Path) -> None:
    source = driver.Modules(tmp_path / "broken", of_variant("broken"), modules.OPEN).sources["nvidia"]
    with pytest.raises(subprocess.CalledProcessError):
        modules.compile_module(source, "6.8.0-88-generic", tmp_path / "nvidia.o")
    assert "prebuilt" not in Archive.load("ubuntu/broken").groups


@pytest.mark.parametrize(("variant", "version", "defect"), [("bad-proof", "580.997.01", ""), ("bad-gpu", "580.998.02", "gpu")])
def test_a_module_says_its_defect(tmp_path: Path, variant: str, version: str, defect: str) -> None:
    built = driver.Modules(tmp_path / variant, of_variant(variant), modules.PROPRIETARY).objects["nvidia"]
    built = built.rename(built.with_suffix(".ko"))
    assert [run("modinfo", "-F", field, built).strip() for field in ("version", "lab_defect")] == [version, defect]


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, key: ModuleKey) -> tuple[Archive, list[Package]]:
    archive = Archive.load(request.param)
    return archive, driver.Builder(archive, tmp_path_factory.mktemp("work"), key, userland).packages()


def test_other_archives_are_whole(other: tuple[Archive, list[Package]]) -> None:
    archive, found = other
    identities = [(package.name, package.version) for package in found]
    assert len(set(identities)) == len(identities)
    outside = ("xserver-xorg-core",)
    missing = {
        (package.name, entry)
        for package in found
        for entry in package.relations["depends"]
        if entry not in outside and not any(satisfied(one, found) for one in entry.split(" | "))
    }
    assert not missing
    assert not [package.version for package in found if ":" in package.version]
    for of in archive.drivers():
        for flavor in of.flavors:
            arguments = dict(argument.split("=") for argument in driver.install_arguments(of.branch, of.version, flavor, _name(archive)))
            chosen = [package for package in found if arguments.get(package.name) == package.version]
            paths = [path for package in chosen for path in (*package.files, *package.links)]
            assert len(chosen) == len(arguments) and len(set(paths)) == len(paths)
            assert "/usr/bin/nvidia-smi" in paths and any(path.endswith("/dkms.conf") for path in paths)


def _name(archive: Archive) -> str:
    return next(name for name in OTHERS if Archive.load(name) == archive)


def test_debian_13_has_no_driver_for_pascal_from_nvidia() -> None:
    branches = [{of.branch for of in Archive.load(f"cuda-debian/{release}").drivers()} for release in ("debian12", "debian13")]
    assert branches[0] - branches[1] == {"580"}


def test_the_last_closed_name_installs_no_driver(other: tuple[Archive, list[Package]]) -> None:
    _archive, found = other
    newest = [package for package in found if package.name == "cuda-drivers" and package.version.startswith("615.")]
    assert not [package for package in newest if package.relations["depends"]]
