# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What about a host's driver is not in the way of a plan and wants attention. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_state import State


def warnings(state: State, branch: t.Optional[int], date: str, changes: bool) -> t.List[str]:
    """One line each. `branch`: of the driver that the host is to have; `changes`: packages are going to change."""
    found = _vbios(state.facts)
    if branch is not None and not branches.maintained(branch, date):
        found.append(branches.maintenance(branch, date))
    held = _texts(known.get(state.facts, "driver", "held_packages"))
    if held and changes:
        found.append("held: %s; the hold has to go for the change" % ", ".join(held))
    unattended = known.get(state.facts, "host", "unattended_upgrades")
    touched = _texts(known.get(unattended, "would_touch"))
    if known.get(unattended, "enabled") is True and touched:
        shown = ", ".join(touched[:4]) + (" and %d more" % (len(touched) - 4) if len(touched) > 4 else "")
        found.append("unattended-upgrades may replace %s under a loaded module: hold the packages or put them on its Package-Blacklist" % shown)
    found.extend(_sources(state.facts))
    if not changes:
        from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_blockers import unmanaged

        found.extend(unmanaged(state.facts))
    for kernel in state.kernels:
        if kernel in state.modules:
            found.extend("%s for kernel %s, which has another module" % (line, kernel) for line in state.build(kernel))
    if state.secure_boot is None and changes:
        found.append("whether Secure Boot is on is not known: a module that is not signed with an enrolled key would not load")
    return found


def _vbios(facts: t.Any) -> t.List[str]:
    """One line a model whose cards have different VBIOS versions."""
    models: t.Dict[t.Tuple[t.Any, ...], t.Dict[str, t.List[str]]] = {}
    for device in known.devices(facts):
        version = known.text(device.get("vbios_version"))
        if version is not None:
            ids = tuple(str(known.get(device, "pci", key)) for key in ("device_id", "subsystem_vendor_id", "subsystem_device_id"))
            models.setdefault((known.model(device),) + ids, {}).setdefault(version, []).append(known.subject(device))
    lines = []
    for key, versions in models.items():
        if len(versions) > 1:
            which = ", ".join("%s at %s" % (version, " and ".join(versions[version])) for version in sorted(versions))
            lines.append("VBIOS versions of %s differ: %s" % (key[0], which))
    return lines


def _sources(facts: t.Any) -> t.List[str]:
    """One line when the installed packages come from more than one publisher."""
    found = known.get(facts, "driver", "package_sources")
    by_source: t.Dict[str, t.List[str]] = {}
    for name, source in sorted(found.items()) if isinstance(found, dict) else ():
        if source != "other":
            by_source.setdefault(str(source), []).append(str(name))
    if len(by_source) < 2:
        return []
    return ["driver packages come from several sources: %s" % "; ".join("%s has %s" % (name, by_source[name][0]) for name in sorted(by_source))]


def _texts(value: t.Any) -> t.List[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
