# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server's BMC tells of its BIOS settings and power supplies. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError, ServiceError
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import bmc_bios, bmc_power
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import ROOT, MissingError, Redfish

Json = t.Dict[str, t.Any]


def read(service: Redfish, system_id: t.Optional[str] = None) -> t.Dict[str, t.Any]:
    """`{service, system, bios, bios_attributes, power, power_sources, unavailable}`; `system_id`: Id of the system where the BMC has several.

    Raises ServiceError when nobody answers, the password is wrong or the answer is not Redfish. What a service lacks is in `unavailable`.
    """
    root = _root(service)
    system = _system(service, root, system_id)
    unavailable: t.Dict[str, str] = {}
    settings, attributes, why = bmc_bios.read(service, system, root.get("Registries"))
    if why:
        unavailable["bios"] = why
    # All of them, not only those that the system links to: on some boards the supplies are in a chassis of their own.
    sources = bmc_power.read(service, service.members(service.follow(root, "Chassis")))
    telling = [one for one in sources if bmc_power.tells(one)]
    if not telling:
        unavailable["power"] = "no chassis tells the capacity of power supplies"
    return {
        "service": {name.lower(): _text(root.get(name)) for name in ("Vendor", "Product")},
        "system": {name.lower(): _text(system.get(name)) for name in ("Id", "Manufacturer", "Model", "BiosVersion")},
        "bios": settings,
        "bios_attributes": attributes,
        "power": telling[0] if telling else None,
        "power_sources": telling,
        "unavailable": unavailable,
    }


def _root(service: Redfish) -> Json:
    try:
        root = service.get(ROOT)
    except MissingError as error:
        raise ServiceError(error.message, **error.details) from error
    if not isinstance(root.get("Systems"), dict):
        raise ServiceError("base_url %s: %s has no Systems, so this is not the Redfish service of a server" % (service.base_url, ROOT), option="base_url")
    return root


def _system(service: Redfish, root: Json, system_id: t.Optional[str]) -> Json:
    systems = service.members(service.follow(root, "Systems"))
    if system_id is not None:
        for one in systems:
            if one.get("Id") == system_id:
                return one
        there = ", ".join(str(one.get("Id")) for one in systems) or "none"
        raise PolicyError("system %s does not exist at %s; there are: %s" % (system_id, service.base_url, there), option="system")
    # A GPU board that a BMC lists as a system of its own has no BIOS.
    with_bios = [one for one in systems if isinstance(one.get("Bios"), dict)]
    if len(with_bios) > 1:
        there = ", ".join(str(one.get("Id")) for one in with_bios)
        raise PolicyError("system: %s manages several servers (%s); name the right one" % (service.base_url, there), option="system")
    if not with_bios and not systems:
        raise ServiceError("base_url %s: the BMC lists no system" % service.base_url, option="base_url")
    return with_bios[0] if with_bios else systems[0]


def _text(value: t.Any) -> t.Optional[str]:
    return value.strip()[:200] if isinstance(value, str) and value.strip() else None
