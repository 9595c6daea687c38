# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver of a host as its facts show it: loaded, on disk, for which kernels. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known


class NoDriverError(Exception):
    """No driver does what facts and policy ask for; carries the blockers."""

    def __init__(self, *blockers: str):
        super().__init__(blockers)
        self.blockers = list(blockers)


class State:
    """What is there. Versions are texts or None; `kernels`: the running kernel, then that of the next boot where it is another."""

    def __init__(self, facts: t.Any):
        self.facts = facts
        self.loaded, self.disk, self.library = known.loaded(facts), known.on_disk(facts), known.library(facts)
        self.current = self.loaded or self.disk
        self.kernel = known.text(known.get(facts, "host", "kernel_release"))
        self.boot_kernel = known.text(known.get(facts, "host", "boot_kernel_release"))
        self.kernels = [kernel for kernel in dict.fromkeys((self.kernel, self.boot_kernel)) if kernel]
        modules = known.get(facts, "driver", "module_versions")
        self.modules_known = isinstance(modules, dict)
        self.modules = {str(kernel): value for kernel, value in modules.items() if known.version(value)} if isinstance(modules, dict) else {}
        self.flavor = branches.flavor_of(known.get(facts, "driver", "flavor"))
        self.secure_boot = known.get(facts, "host", "secure_boot")
        self.nouveau = known.get(facts, "driver", "nouveau_loaded") is True
        packages = known.get(facts, "driver", "packages")
        self.packages: t.Dict[str, str] = {str(name): str(value) for name, value in packages.items()} if isinstance(packages, dict) else {}

    def flavor_on_disk(self, kernel: t.Optional[str]) -> t.Optional[str]:
        """Flavour of the module for `kernel`, or None."""
        return branches.flavor_of(known.get(self.facts, "driver", "module_flavors", str(kernel)))

    def unusable(self, kernel: t.Optional[str]) -> t.Optional[str]:
        """Why Secure Boot does not let the kernel load the module for `kernel`; None when it does or when that is not known."""
        if self.secure_boot is not True or str(kernel) not in self.modules:
            return None
        signers = known.get(self.facts, "driver", "module_signers")
        if not isinstance(signers, dict) or str(kernel) not in signers:
            return None
        signer = known.text(signers[str(kernel)])
        if signer is None:
            return "Secure Boot is on, and the module for kernel %s is not signed" % kernel
        keys = known.get(self.facts, "host", "module_keys")
        if signer == known.text(known.get(keys, "subject")) and known.get(keys, "enrolled") is False:
            return "Secure Boot is on, and the firmware does not know the key of %s, which signed the module for kernel %s" % (signer, kernel)
        return None

    def next_boot(self, version: str, cards: t.Sequence[branches.Card]) -> t.Optional[str]:
        """Why the GPUs would be gone or split after the next boot although `version` runs whole now; None when nothing is wrong or known.

        `cards`: what the GPUs ask of the driver.
        """
        if not self.modules_known or self.boot_kernel is None:
            return None
        kernel = self.boot_kernel
        if kernel != self.kernel:
            found = self.modules.get(kernel)
            if found is None:
                why = "".join(" (%s)" % line for line in self.build(kernel))
                return "no kernel module for kernel %s, which the next boot takes: the driver is gone after it%s" % (kernel, why)
            if found != version:
                return "the module for kernel %s, which the next boot takes, is %s and not %s" % (kernel, found, version)
            flavor = self.flavor_on_disk(kernel)
            if flavor is not None and branches.refusals(cards, known.version(version)[0], flavor):  # type: ignore[index]
                return "the module for kernel %s, which the next boot takes, is the %s one, which does not drive every GPU" % (kernel, flavor)
        return self.unusable(kernel)

    def build(self, kernel: t.Optional[str]) -> t.List[str]:
        """What DKMS says of its builds for `kernel` that are not installed, one line each."""
        builds = known.get(self.facts, "driver", "dkms")
        found = []
        for one in builds if isinstance(builds, list) else []:
            state = known.text(known.get(one, "state"))
            if known.get(one, "kernel_release") in (kernel, None) and state not in (None, "installed"):
                found.append("DKMS: %s %s is %s" % (known.get(one, "module"), known.get(one, "version"), state))
        return found

    def users(self) -> t.List[str]:
        """One line a GPU that programs use."""
        lines = []
        for device in known.devices(self.facts):
            processes = device.get("processes")
            if isinstance(processes, list) and processes:
                names = ", ".join(sorted({str(known.get(process, "name") or known.get(process, "pid") or "a process") for process in processes}))
                lines.append("%s is in use by %s: the loaded module cannot be replaced without a reboot" % (known.subject(device), names))
        return lines
