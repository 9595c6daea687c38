"""The decision table of the driver plan. One row a decision; the comment of a row names its source: a requirement, NVIDIA's or a distribution's
documentation as the reference of driver packages cites it, or the thread of users whom the decision would have helped."""

from __future__ import annotations

import copy

from tests.unit.driver_sources import EL_KERNEL, NEXT_KERNEL, UBUNTU, cuda_debian, cuda_ubuntu, debian, el, ubuntu
from tests.unit.facts_samples import KERNEL, device, facts

OPEN, CLOSED = "open", "proprietary"
BUSY = [{"pid": 812, "name": "/usr/bin/ollama", "used_memory_mib": 9000}]
STREAMS = ("latest-dkms", "open-dkms", "580", "580-dkms", "580-open", "595-open")
# A closed branch of the archive: its names only bring the next one.
STUB = {"nvidia-utils-570-server": ["580.95.05-" + UBUNTU], "nvidia-headless-no-dkms-570-server": ["580.95.05-" + UBUNTU]}
HAS_535 = dict.fromkeys(
    ["nvidia-utils-535-server", "nvidia-headless-no-dkms-535-server", "libnvidia-compute-535-server", "libnvidia-decode-535-server",
     "linux-modules-nvidia-535-server-generic", "nvidia-firmware-535-server-535.309.01"], "535.309.01-" + UBUNTU)  # fmt: skip
ENROLLED = {"certificate": "/var/lib/shim-signed/mok/MOK.der", "subject": "p40-1 Secure Boot Module Signature key", "enrolled": True, "names": []}


def changed(given, **values):
    """`given` with values at `part__key`."""
    found = copy.deepcopy(given)
    for key, value in values.items():
        part, _, name = key.partition("__")
        found[part][name] = value
    return found


def build(state, kernel):
    """A DKMS build as the facts have it."""
    return {"module": "nvidia", "version": "580.95.05", "kernel_release": kernel, "state": state}


def el_host(model):
    """A host of Enterprise Linux without a driver and without kernel headers."""
    return facts(model, loaded=None, kernel=EL_KERNEL, kernel_headers=[])


# facts, policy → action, branch, flavor, words of a reason, blocker or warning; and, where the row is about them, other keys of the plan
ROWS = [
    # --- nothing to do
    # S1: at or above 470.82.01 no update, however new the branches are
    (facts("p40", "p40", loaded="470.82.01"), {}, "none", 470, CLOSED, "meets the floor 470.82.01"),
    # S1; R535 was maintained until June 2026 (branch table): said, not acted on
    (facts("p40", "p40", loaded="535.309.01"), {}, "none", 535, CLOSED, "was maintained until 2026-06-30"),
    # S1
    (facts("p40", "p40", loaded="580.95.05"), {}, "none", 580, CLOSED, "supports every GPU"),
    # a pin that is met
    (facts("p40", loaded="580.95.05"), {"version": "580.95.05"}, "none", 580, CLOSED, "meets"),
    # a branch pin that is met
    (facts("p40", loaded="580.178.04"), {"branch": 580}, "none", 580, CLOSED, "meets"),
    # Turing runs both flavours below R615: what works stays (driver-assistant rule "either")
    (facts("t4", loaded="580.95.05", flavor=CLOSED), {}, "none", 580, CLOSED, "meets"),
    # evidence, pitfall 10: a lost GPU is no matter of the driver
    (facts(device(state="lost"), device(number=1)), {}, "none", 580, CLOSED, "no driver change brings it back"),
    # the driver supports the card and still does not see it: its version is not why
    (facts(device(state="not_visible"), device(number=1)), {}, "none", 580, CLOSED, "its version is not why"),
    # unknown id, working: not guessed about, left alone (selection rule, last row)
    (facts("odd", loaded="580.95.05", flavor=OPEN), {}, "none", 580, OPEN, "meets"),
    # no GPU
    (facts(loaded=None), {}, "none", None, None, "no NVIDIA GPU on the PCI bus"),
    # --- install
    # S2 and selection table: P40 ends with R580, proprietary
    (facts("p40", "p40", loaded=None), {}, "install", 580, CLOSED, "newest maintained branch that supports every GPU"),
    # selection table: V100 as P40
    (facts("v100", loaded=None), {}, "install", 580, CLOSED, "no NVIDIA driver is installed"),
    # selection table: Pascal with Turing and Ampere is R580 proprietary
    (facts("p40", "t4", "a100", loaded=None), {}, "install", 580, CLOSED, "newest maintained"),
    # R620 long-term until 2029, open only (driver guide r620)
    (facts("h100", loaded=None), {}, "install", 620, OPEN, "R620 (long-term support branch)"),
    # Blackwell: open only
    (facts("b200", loaded=None), {}, "install", 620, OPEN, "newest maintained"),
    # Grace Hopper: open only
    (facts("gh200", loaded=None), {"branch": 580}, "install", 580, OPEN, "R580 is pinned"),
    # what the archive has decides: 595 is the newest maintained one offered; open is the default from R560
    (facts("a100", loaded=None), {"available_branches": [535, 580, 595]}, "install", 595, OPEN, "newest maintained"),
    # proprietary asked for: R610 was the last with it and is a feature branch, so R595
    (facts("a100", loaded=None), {"flavor": CLOSED}, "install", 595, CLOSED, "newest maintained"),
    # below R560 the proprietary flavour is the default (driver guide r560)
    (facts("t4", loaded=None), {"branch": 535}, "install", 535, CLOSED, "was maintained until 2026-06-30"),
    # only the ended R535 on offer (Debian 12): taken, and said
    (facts("p40", loaded=None), {"available_branches": [535]}, "install", 535, CLOSED, "newest branch that supports every GPU"),
    # Kepler ends with R470, long ended: the only one that drives the card
    (facts("k80", loaded=None), {}, "install", 470, CLOSED, "no maintenance commitment"),
    # R595 ends in March 2027, R580 in June 2028: after that date R580 is the newest maintained one below R620
    (facts("a100", loaded=None), {"available_branches": [580, 595], "date": "2027-06-01"}, "install", 580, OPEN, "newest maintained"),
    # unknown id with both pins: the user's word
    (facts("odd", loaded=None), {"branch": 580, "flavor": OPEN}, "install", 580, OPEN, "taken because it is pinned"),
    # S3: the kernel changed, the module is only there for the old one: same branch again
    (facts("p40", loaded=None, disk={"5.15.0-100-generic": "535.183.01"}), {}, "reinstall", 535, CLOSED, "only for 5.15.0-100-generic"),
    # S3: still loaded, gone from the disk
    (facts("p40", loaded="580.95.05", disk={}), {}, "reinstall", 580, CLOSED, "gone after the next boot"),
    # headless set without its library
    (facts("p40", loaded="580.95.05", library=None), {}, "reinstall", 580, CLOSED, "libnvidia-ml.so.1 is missing"),
    # unattended upgrade of the library alone (prior art, thread 3)
    (facts("p40", loaded="535.183.01", library="580.95.05"), {}, "reinstall", 580, CLOSED, "half installed"),
    # open flavour on a Pascal: the card is invisible until the flavour changes (driver-packages 0.1)
    (facts(device(state="not_visible"), loaded="580.95.05", flavor=OPEN), {}, "install", 580, CLOSED, "needs the proprietary kernel modules"),
    # --- upgrade, downgrade
    # S2
    (facts("p40", "p40", loaded="390.157"), {}, "upgrade", 580, CLOSED, "390.157 is older than the floor 470.82.01"),
    # S2: not R620, which drops Pascal, although the T4 could have it
    (facts("p40", "t4", loaded="450.248.02"), {}, "upgrade", 580, CLOSED, "older than the floor"),
    # S2: an H100 SXM begins with R525 (open module tables)
    (facts(device("h100", state="not_visible"), loaded="510.108.03"), {}, "upgrade", 620, OPEN, "its first branch is R525"),
    # floor within a branch
    (facts("p40", loaded="580.65.06"), {"floor_version": "580.95.05"}, "upgrade", 580, CLOSED, "older than the floor 580.95.05"),
    # a newer branch pinned: the installed flavour stays
    (facts("t4", loaded="535.309.01", flavor=CLOSED), {"branch": 580}, "upgrade", 580, CLOSED, "not of the pinned branch R580"),
    # CUDA repository upgraded past Pascal (driver-packages 0.4): back to the last branch that has it
    (facts(device(state="not_visible"), loaded="615.71.09", flavor=OPEN), {}, "downgrade", 580, CLOSED, "its last branch is R580"),
    # version pinned below what runs
    (facts("a100", loaded="595.91.07", flavor=OPEN), {"version": "580.95.05"}, "downgrade", 580, OPEN, "not the pinned version"),
    # S4: CUDA 12 needs 525.60.13
    (facts("p40", loaded="470.256.02"), {"cuda_major": 12}, "upgrade", 580, CLOSED, "older than 525.60.13, which CUDA 12 needs"),
    # S4: and is met from there on
    (facts("p40", loaded="535.183.01"), {"cuda_major": 12}, "none", 535, CLOSED, "meets 525.60.13, which CUDA 12 needs"),
    # S4: the floor of the user stays when it is higher
    (facts("p40", loaded="470.256.02"), {"cuda_major": 11}, "none", 470, CLOSED, "meets the floor 470.82.01"),
    # S4: CUDA 13 needs R580
    (facts("t4", loaded="570.211.01", flavor=OPEN), {"cuda_major": 13, "available_branches": [570, 580]}, "upgrade", 580, OPEN, "which CUDA 13 needs"),
    # --- the driver is there and waits
    # evidence, pitfall 9: library and disk new, old module loaded
    (facts("p40", loaded="535.183.01", library="580.95.05", disk="580.95.05"), {}, "reload", 580, CLOSED, "535.183.01 is loaded, 580.95.05 is installed"),
    # the same, in use by a program
    (facts(device(processes=BUSY), loaded="535.183.01", library="580.95.05", disk="580.95.05"), {}, "reboot", 580, CLOSED, "in use by /usr/bin/ollama"),
    # installed and never loaded
    (facts("p40", loaded=None, disk="580.95.05", library="580.95.05"), {}, "reload", 580, CLOSED, "installed and not loaded"),
    # installed, nouveau was first (S17)
    (facts("p40", loaded=None, disk="580.95.05", library="580.95.05", nouveau=True), {}, "reboot", 580, CLOSED, "nouveau is loaded"),
    # --- impossible
    # selection table: R590 and later drop Pascal
    (facts("p40", loaded=None), {"branch": 595}, "impossible", None, None, "R595 does not support Tesla P40 at 0000:3b:00.0 (pascal): its last branch is R580"),
    # the same while a good driver runs: it is not exchanged for one that loses the card
    (facts("p40", "t4"), {"branch": 595}, "impossible", None, None, "its last branch is R580"),
    # selection table: Pascal and Blackwell share branches and no flavour
    (facts("p40", "b200", loaded=None), {}, "impossible", None, None, "no flavour drives every GPU"),
    # Kepler ends with R470, Hopper SXM begins with R525
    (facts("k80", "h100", loaded=None), {}, "impossible", None, None, "one ends with R470, another begins with R525"),
    # open asked for on a Pascal
    (facts("p40", loaded=None), {"flavor": OPEN}, "impossible", None, None, "needs the proprietary kernel modules, not the open ones"),
    # proprietary ended with R610
    (facts("t4", loaded=None), {"branch": 620, "flavor": CLOSED}, "impossible", None, None, "they end with R610"),
    # driver-packages 0.5: Debian 13 and Ubuntu 26.04 of the CUDA repository have nothing for a Pascal
    (facts("p40", loaded=None), {"available_branches": [595, 610]}, "impossible", None, None, "R595 does not support"),
    # pin and source disagree
    (facts("p40", loaded=None), {"branch": 580, "available_branches": [535]}, "impossible", None, None, "R580 is not available from the package source"),
    # empty source
    (facts("p40", loaded=None), {"available_branches": []}, "impossible", None, None, "the package source has no driver branch"),
    # a floor above the last branch of the card
    (facts("p40"), {"floor_version": "590.44.01"}, "impossible", None, None, "its last branch is R580"),
    # S4: a 580 driver reports CUDA 13.0 on a Pascal, whose code CUDA 13 no longer builds
    (facts("p40"), {"cuda_major": 13}, "impossible", None, None, "impossible on this hardware: it needs compute capability 7.5, and Tesla P40"),
    # S4, unknown card: nobody knows
    (facts("odd"), {"cuda_major": 13}, "impossible", None, None, "is not known"),
    # unknown id: no guess (selection rule, last row)
    (facts("odd", loaded=None), {}, "impossible", None, None, "set branch and flavor"),
    # unknown id, branch pinned only
    (facts("odd", loaded=None), {"branch": 580}, "impossible", None, None, "set flavor"),
    # --- kernels (S3): the running one and the one of the next boot
    # requirement S3: a kernel was installed and DKMS did not build for it (ansible-role-nvidia-driver #18): same version again, nothing to reload
    (facts("p40", boot_kernel_release=NEXT_KERNEL), {}, "reinstall", 580, CLOSED, "no kernel module for kernel " + NEXT_KERNEL,
     {"activation": "none", "kernels": [KERNEL, NEXT_KERNEL], "needs_reboot": False}),
    # the same with its cause: DKMS's state of that kernel (evidence: dkms status)
    (changed(facts("p40", boot_kernel_release=NEXT_KERNEL), driver__dkms=[build("broken", NEXT_KERNEL)]), {}, "reinstall", 580, CLOSED, "580.95.05 is broken"),
    # both kernels have it
    (facts("p40", disk={KERNEL: "580.95.05", NEXT_KERNEL: "580.95.05"}, boot_kernel_release=NEXT_KERNEL), {}, "none", 580, CLOSED, "supports every GPU"),
    # the next kernel has another version than the library: a mismatch after the reboot (driver-packages 6.1, "disk != loaded")
    (facts("p40", disk={KERNEL: "580.95.05", NEXT_KERNEL: "535.183.01"}, boot_kernel_release=NEXT_KERNEL), {}, "reinstall", 580, CLOSED,
     "is 535.183.01 and not"),
    # the next kernel has the open flavour, which a Pascal does not run (open-gpu-kernel-modules #322)
    (changed(facts("p40", disk={KERNEL: "580.95.05", NEXT_KERNEL: "580.95.05"}, boot_kernel_release=NEXT_KERNEL),
             driver__module_flavors={KERNEL: CLOSED, NEXT_KERNEL: OPEN}), {}, "reinstall", 580, CLOSED, "is the open one"),
    # installed, waiting, and nothing for the next kernel: a reboot would not help (driver-packages 6.1: do not reboot)
    (facts("p40", loaded=None, disk={KERNEL: "580.95.05"}, library="580.95.05", boot_kernel_release=NEXT_KERNEL), {}, "reinstall", 580, CLOSED, "not loaded"),
    # DKMS: registered and never built (driver-packages 9: its postinst ends well when the build was skipped)
    (changed(facts("p40", loaded=None, library="580.95.05"), driver__dkms=[build("added", None)]), {}, "reinstall", 580, CLOSED, "was never built"),
    # DKMS: broken for a kernel that has a prebuilt module: said, not acted on
    (changed(facts("p40"), driver__dkms=[build("broken", KERNEL)]), {}, "none", 580, CLOSED, "is broken for kernel"),
    # --- packages: the Ubuntu archive (driver-packages 1.1)
    # headless set, signed modules for the running kernel and for the kernels to come
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05")}, "install", 580, CLOSED, "newest maintained",
     {"version": "580.95.05", "source": "ubuntu_archive", "module_source": "prebuilt", "headers": [], "remove": []}),
    # driver-packages 9: a module for each of both kernels
    (facts("p40", loaded=None, boot_kernel_release=NEXT_KERNEL), {"package_source": ubuntu("580.95.05", kernels=(KERNEL, NEXT_KERNEL))}, "install", 580, CLOSED,
     "newest maintained", {"module_source": "prebuilt"}),
    # modules lag behind the next kernel: DKMS for both, with the headers that are missing (driver-packages 1.1, last point)
    (facts("p40", loaded=None, boot_kernel_release=NEXT_KERNEL), {"package_source": ubuntu("580.95.05")}, "install", 580, CLOSED, "newest maintained",
     {"module_source": "dkms", "headers": ["linux-headers-" + NEXT_KERNEL]}),
    # a source that has only older branches: the newest of these
    (facts("p40", loaded=None), {"package_source": ubuntu("470.256.02", "535.309.01")}, "install", 535, CLOSED, "was maintained until",
     {"version": "535.309.01"}),
    # R595 is there and loses the card
    (facts("p40", "t4", loaded=None), {"package_source": ubuntu("580.95.05", "595.91.07")}, "install", 580, CLOSED, "supports every GPU",
     {"version": "580.95.05"}),
    # a pinned version that is not the newest
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05", "580.173.02"), "version": "580.95.05"}, "install", 580, CLOSED, "is pinned",
     {"version": "580.95.05"}),
    # one that the source does not have
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05", "580.173.02"), "version": "580.65.06"}, "impossible", None, None,
     "580.65.06 is asked for, and the package source has 580.173.02, 580.95.05 of R580"),
    # driver-packages 0.6: asking for 570 must not bring 580
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05", more=STUB), "branch": 570}, "impossible", None, None, "R570 is not available"),
    # the same, nothing pinned: named as avoided
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05", more=STUB)}, "install", 580, CLOSED, "not taken, because they bring another branch"),
    # S2, branch upgrade 535 → 580: what the host has beside a headless driver comes along, the old branch goes
    (changed(facts("p40", loaded="535.309.01"), driver__packages=HAS_535), {"package_source": ubuntu("580.95.05"), "branch": 580}, "upgrade", 580, CLOSED,
     "not of the pinned branch R580", {"remove": sorted(HAS_535), "activation": "reload"}),
    # an upgrade within the branch
    (facts("p40", loaded="580.95.05"), {"package_source": ubuntu("580.95.05", "580.173.02"), "version": "580.173.02"}, "upgrade", 580, CLOSED,
     "not the pinned version"),
    # floor within the branch, which the source does not reach
    (facts("p40", loaded="580.65.06"), {"package_source": ubuntu("580.82.07"), "floor_version": "580.95.05"}, "impossible", None, None, "which is too old"),
    # driver-packages 1.4: half upgraded by itself, and the version is still on offer
    (facts("p40", loaded="580.95.05", library="580.173.02"), {"package_source": ubuntu("580.95.05", "580.173.02")}, "reinstall", 580, CLOSED, "half installed",
     {"version": "580.173.02"}),
    # made whole in another version where the source has moved on
    (facts("p40", loaded="580.95.05", library=None), {"package_source": ubuntu("580.173.02")}, "upgrade", 580, CLOSED, "is missing", {"version": "580.173.02"}),
    # NVSwitch: fabric manager and NSCQ in the driver's version (driver-packages 0.9)
    (facts("h100", loaded=None, nvswitches=["0000:07:00.0"]), {"package_source": ubuntu("580.95.05")}, "install", 580, OPEN, "newest maintained"),
    # an empty source
    (facts("p40", loaded=None), {"package_source": ubuntu()}, "impossible", None, None, "the package source has no driver branch"),
    # only the open flavour of a branch that a T4 runs in both: taken (driver-packages 0.10)
    (facts("t4", loaded=None), {"package_source": ubuntu("535.309.01", flavors=("-open",))}, "install", 535, OPEN, "was maintained"),
    # prebuilt asked for where there is none
    (facts("p40", loaded=None), {"package_source": ubuntu("580.95.05", kernels=(), module_source="prebuilt")}, "impossible", None, None,
     "lacks linux-modules-nvidia-580"),
    # --- packages: NVIDIA's repository (driver-packages 2.2)
    # up to R580 the branch is part of the names, of the helpers it is not
    (facts("p40", loaded=None), {"package_source": cuda_ubuntu("580.95.05", "595.71.05")}, "install", 580, CLOSED, "supports every GPU",
     {"source": "cuda_repository", "module_source": "dkms", "version": "580.95.05"}),
    # from R590 on it is not
    (facts("a100", loaded=None), {"package_source": cuda_ubuntu("580.95.05", "595.71.05")}, "install", 595, OPEN, "newest maintained",
     {"version": "595.71.05"}),
    # driver-packages 0.5: the repository for Ubuntu 26.04 and Debian 13 begins after Pascal
    (facts("p40", loaded=None), {"package_source": cuda_ubuntu("595.71.05")}, "impossible", None, None, "R595 does not support"),
    # driver-packages 0.2: R615 has no proprietary modules
    (facts("t4", loaded=None), {"package_source": cuda_ubuntu("615.71.09"), "flavor": CLOSED}, "impossible", None, None, "no proprietary kernel modules"),
    # Debian: no branch in any name, so the version carries it
    (facts("p40", loaded=None), {"package_source": cuda_debian("595.71.05", "580.95.05")}, "install", 580, CLOSED, "supports every GPU",
     {"version": "580.95.05"}),
    # --- packages: Debian's archive (driver-packages 2.5)
    (facts("p40", loaded=None), {"package_source": debian()}, "install", 535, CLOSED, "was maintained until", {"source": "debian_archive",
     "module_source": "dkms"}),
    (facts("t4", loaded=None), {"package_source": debian(), "flavor": OPEN}, "install", 535, OPEN, "was maintained until"),
    # --- packages: Enterprise Linux (driver-packages 3)
    (el_host("p40"), {"package_source": el("580.95.05", streams=STREAMS)}, "install", 580, CLOSED, "newest maintained",
     {"stream": "580-dkms", "source": "dnf_module", "module_source": "dkms", "headers": ["kernel-devel-5.14.0-611.5.1.el9_7"]}),
    (el_host("a100"), {"package_source": el("595.71.05", "580.95.05", streams=STREAMS)}, "install", 595, OPEN, "newest maintained", {"stream": "595-open"}),
    # EL 10 has no modules
    (el_host("p40"), {"package_source": el("580.95.05", major="10.1")}, "install", 580, CLOSED, "newest maintained", {"stream": None, "source": "dnf"}),
    # a branch without a stream of its own is not taken from a stream that moves on
    (el_host("p40"), {"package_source": el("580.95.05", streams=("latest-dkms", "open-dkms"))}, "impossible", None, None,
     "the module stream nvidia-driver:580-dkms"),
    # precompiled modules: only when asked for
    (el_host("p40"), {"package_source": el("580.95.05", streams=STREAMS, module_source="precompiled")}, "impossible", None, None,
     "lacks kmod-nvidia-580.95.05-"),
    # --- Secure Boot (driver-packages 8, yum-packaging-precompiled-kmod #67)
    # prebuilt modules are signed by the distribution
    (facts("p40", loaded=None, secure_boot=True), {"package_source": ubuntu("580.95.05")}, "install", 580, CLOSED, "newest maintained",
     {"module_source": "prebuilt"}),
    # DKMS and no enrolled key
    (facts("p40", loaded=None, secure_boot=True), {"package_source": ubuntu("580.95.05", kernels=())}, "impossible", None, None,
     "the firmware does not know the key"),
    # the key is enrolled
    (facts("p40", loaded=None, secure_boot=True, module_keys=ENROLLED), {"package_source": cuda_ubuntu("580.95.05")}, "install", 580, CLOSED,
     "newest maintained"),
    # the user says that it is
    (facts("p40", loaded=None, secure_boot=True), {"package_source": cuda_ubuntu("580.95.05"), "dkms_key_enrolled": True}, "install", 580, CLOSED,
     "newest maintained"),
    # a module that is there and not signed does not load: installed again, signed
    (facts("p40", loaded=None, disk="580.95.05", library="580.95.05", secure_boot=True), {"package_source": ubuntu("580.95.05")}, "reinstall", 580, CLOSED,
     "is not signed"),
    # --- mixed sources
    # a .run driver under packages makes one half of each: refused before anything is changed
    (changed(facts("p40", loaded="390.157"), driver__unmanaged=["/usr/bin/nvidia-uninstall"]), {}, "impossible", None, None, "no package owns"),
    # the same while nothing is to be done: said
    (changed(facts("p40"), driver__unmanaged=["/usr/bin/nvidia-uninstall"]), {}, "none", 580, CLOSED, "no package owns"),
    # driver-packages 1.5: archive and NVIDIA's repository on one host
    (changed(facts("p40"), driver__package_sources={"nvidia-utils-580-server": "ubuntu_archive", "nvidia-persistenced": "cuda_repository"}), {},
     "none", 580, CLOSED,
     "come from several sources"),
    # prior art, threads 1 and 2: a hold is why an upgrade ends in "held broken packages"
    (changed(facts("p40", loaded="390.157"), driver__held_packages=["nvidia-utils-390"]), {}, "upgrade", 580, CLOSED, "held: nvidia-utils-390"),
    # prior art, thread 3 (deepops #1186): said before it happens
    (facts("p40", unattended_upgrades={"enabled": True, "would_touch": ["libnvidia-compute-580-server"]}), {}, "none", 580, CLOSED,
     "unattended-upgrades may replace"),
    # S1: same model, another VBIOS
    (facts(device(), device(number=1, vbios_version="86.02.40.00.02")), {}, "none", 580, CLOSED, "VBIOS versions of Tesla P40 differ"),
    # --- features (S4)
    (facts("p40"), {"features": ["dlss3"]}, "impossible", None, None, "impossible on this hardware"),
    (facts("p40"), {"features": ["cuda13"]}, "impossible", None, None, "impossible on this hardware"),
    (facts("p40"), {"features": ["cuda12"]}, "none", 580, CLOSED, "CUDA 12 needs driver 525.60.13" , {"features": [
        {"name": "cuda12", "status": "met", "detail": "CUDA 12 needs driver 525.60.13 on Tesla P40 at 0000:3b:00.0"}]}),
    # ollama #17290: two P40 with driver 535 are dropped without an error from 0.30 on
    (facts("p40", "p40", loaded="535.309.01"), {"features": ["ollama-0.30"]}, "upgrade", 580, CLOSED, "older than 570, which Ollama 0.30 needs"),
    # a Turing needs R550 from 0.30.11 on (discover/cuda_compat.go)
    (facts("t4", loaded="535.309.01"), {"features": ["ollama-0.34.1"], "available_branches": [535, 550, 580]}, "upgrade", 580, CLOSED, "older than 550"),
    (facts("p40", loaded="535.309.01"), {"features": ["ollama-0.30"], "branch": 535}, "impossible", None, None,
     "R535 is pinned, and Ollama 0.30 needs driver 570"),
    # PTX and new functions need the toolkit's own driver
    (facts("p40", loaded="535.309.01"), {"features": ["cuda-12.8"]}, "upgrade", 580, CLOSED, "570.26, which CUDA 12.8 needs"),
    (facts("t4"), {"features": ["DLSS 3"]}, "impossible", None, None, "needs compute capability 8.9"),
    # --- the latest that supports every GPU
    (facts("p40", loaded="535.309.01"), {"latest_supported": True}, "upgrade", 580, CLOSED, "is not the latest driver"),
    (facts("p40"), {"latest_supported": True}, "none", 580, CLOSED, "supports every GPU"),
    (facts("p40"), {"latest_supported": True, "package_source": ubuntu("580.95.05", "580.173.02", "595.91.07")}, "upgrade", 580, CLOSED, "that is 580.173.02"),
    # never backwards: R610 runs and is not maintained, R595 is
    (facts("a100", loaded="610.43.02", flavor=OPEN), {"latest_supported": True, "available_branches": [595, 610]}, "none", 610, OPEN, "meets"),
    # --- who knows better than the catalogue (driver-packages 0.1 and 11)
    (facts("odd", loaded=None), {"supported_gpus": {"chips": [{"devid": "0xFFFF", "legacybranch": "580.xx", "features": ["kernelopen"]}]}},
     "install", 580, CLOSED,
     "newest maintained"),
    (facts("p40", loaded=None), {"supported_gpus": {"chips": [{"devid": "0x1B38", "legacybranch": "580.xx", "features": ["kernelopen"]}]}},
     "install", 580, CLOSED,
     "newest maintained"),
    # the list of an older driver does not know where a card ends
    (changed(facts("p40", loaded=None), driver__supported_gpus={"path": "/x", "chips": [{"devid": "0x1B38", "features": []}]}), {},
     "install", 580, CLOSED, "newest"),
    (facts("odd", loaded=None), {"supported_gpus": {"chips": [{"devid": "0xffff", "features": ["kernelopen"]}]}}, "install", 620, OPEN, "newest maintained"),
    (facts("odd", loaded=None), {"boards": {"ffff": {"last_branch": 535, "flavors": [CLOSED]}}}, "install", 535, CLOSED, "was maintained until"),
]
