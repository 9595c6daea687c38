# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BIOS settings as a BMC tells them over Redfish, under one name whatever the vendor calls them. Private to gpuops.fleet.

Source: DMTF DSP0268 (schemas Bios, AttributeRegistry, MessageRegistryFile), DSP0266 section 9.10 (settings resource).
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog import bios_attributes as catalog
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import MissingError, Redfish

Json = t.Dict[str, t.Any]

# Without these the registry is asked, which is large and slow to read.
WANTED = ("above_4g", "sriov", "aspm")


def read(service: Redfish, system: Json, registries: t.Any) -> t.Tuple[t.Dict[str, t.Any], t.Dict[str, t.Any], str]:
    """`(settings, attributes, reason)`: {canonical name: {attribute, value, enabled, pending, slots, slots_pending}}, the same as
    {attribute: {value, pending, canonical}} with an entry for each slot, and why there are none.

    `registries`: the service root's link to them. `enabled` is what a switch says as true or false, null for other values.
    `pending`: the value that the next start will set, null when it is the present one.
    """
    bios = service.follow(system, "Bios")
    if bios is None:
        return {}, {}, "the service has no BIOS resource for this system (some vendors want a licence for it)"
    attributes = _attributes(bios)
    if not attributes:
        return {}, {}, "the BIOS resource lists no attributes"
    pending = _attributes(service.follow(bios, "@Redfish.Settings", "SettingsObject") or {})
    found = by_name(attributes)
    if not all(name in found for name in WANTED):
        for name, attribute in by_display_name(attributes, registry(service, bios, registries)).items():
            found.setdefault(name, attribute)
    single = {attribute: name for name, attribute in sorted(found.items())}
    for name in catalog.SLOTS:
        single.update(dict.fromkeys(_slots(name, attributes), name))
    settings = {name: _setting(name, attribute, attributes, pending) for name, attribute in sorted(found.items())}
    return settings, {attribute: _single(name, attribute, attributes, pending) for attribute, name in sorted(single.items())}, ""


def by_name(attributes: t.Dict[str, t.Any]) -> t.Dict[str, str]:
    """Canonical name → attribute, of the attributes with a name that the catalogue knows, a model's suffix stripped."""
    plain: t.Dict[str, str] = {}
    for attribute in attributes:
        plain.setdefault(re.sub(catalog.SUFFIX, "", attribute).lower(), attribute)
    found = {}
    for name, spellings in catalog.NAMES.items():
        match = next((plain[spelling] for spelling in spellings if spelling in plain), None)
        if match is not None:
            found[name] = match
    for name, pattern in catalog.SLOTS.items():
        # No setting for the whole machine: the slots' own ones are all there is.
        slots = sorted(attribute for attribute in attributes if re.match(pattern, attribute))
        if slots:
            found.setdefault(name, slots[0])
    return found


def by_display_name(attributes: t.Dict[str, t.Any], entries: t.Sequence[Json]) -> t.Dict[str, str]:
    """Canonical name → attribute, of what a registry's entries show to humans. An attribute that the machine does not have is none."""
    found: t.Dict[str, str] = {}
    for entry in entries:
        attribute, shown = entry.get("AttributeName"), entry.get("DisplayName")
        if not isinstance(attribute, str) or not isinstance(shown, str) or attribute not in attributes:
            continue
        if re.search(catalog.NOT_A_SETTING, shown[:200], re.IGNORECASE):
            continue
        for name, pattern in catalog.DISPLAY_NAMES.items():
            if re.search(pattern, shown[:200], re.IGNORECASE):
                found.setdefault(name, attribute)
    return found


def registry(service: Redfish, bios: Json, registries: t.Any) -> t.List[Json]:
    """The entries of the attribute registry that `bios` names, else of the service's BIOS attribute registry; none when it cannot be read."""
    wanted = bios.get("AttributeRegistry")
    wanted = wanted if isinstance(wanted, str) and wanted else "BiosAttributeRegistry"
    collection = service.follow({"Registries": registries}, "Registries") or {}
    listed = collection.get("Members")
    links = [one.get("@odata.id") for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    there: t.List[str] = [one for one in links if isinstance(one, str)]
    # The link ends in the registry's name, with or without its version.
    stem = wanted.split(".")[0].lower()
    for link in [one for one in there if wanted in one] + [one for one in there if stem in one.lower()]:
        try:
            file = service.get(link)
            locations = file.get("Location")
            places = [one.get("Uri") for one in locations if isinstance(one, dict)] if isinstance(locations, list) else []
            for place in [one for one in places if isinstance(one, str)] or [link]:
                entries = _entries(service.get(place))
                if entries:
                    return entries
        except MissingError:
            continue
    return []


def _entries(document: Json) -> t.List[Json]:
    inner = document.get("RegistryEntries")
    listed = inner.get("Attributes") if isinstance(inner, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _attributes(resource: Json) -> t.Dict[str, t.Any]:
    found = resource.get("Attributes")
    return found if isinstance(found, dict) else {}


def _setting(name: str, attribute: str, attributes: t.Dict[str, t.Any], pending: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    value, later = _plain(attributes.get(attribute)), _plain(pending.get(attribute))
    slots, slots_later = _slots(name, attributes), _slots(name, pending)
    enabled = switch(value)
    if attribute in slots:
        # One value stands for all slots only where all have it.
        attribute = re.sub(r"\d+", "*", attribute, count=1)
        value, later = _common(slots), _common(slots_later)
        enabled = switch(value)
    elif any(switch(other) != enabled for other in slots.values()):
        # HPE: PcieGlobalAspm Enabled beside PciSlotNAspm Disabled. Which of them holds for a slot, only the link itself can tell.
        enabled = None
    changed = {_slot(name, other): new for other, new in slots_later.items() if other in slots and new != slots[other]}
    return {
        "attribute": attribute, "value": value, "enabled": enabled, "pending": None if later == value else later,
        "slots": {_slot(name, other): one for other, one in slots.items()}, "slots_pending": changed,
    }  # fmt: skip


def _single(name: str, attribute: str, attributes: t.Dict[str, t.Any], pending: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    value, later = _plain(attributes.get(attribute)), _plain(pending.get(attribute))
    return {"canonical": name, "value": value, "pending": None if later == value else later}


def _slots(name: str, attributes: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    """Attribute → value of every slot's own setting."""
    pattern = catalog.SLOTS.get(name)
    return {one: _plain(attributes[one]) for one in sorted(attributes) if pattern and re.match(pattern, one)}


def _slot(name: str, attribute: str) -> str:
    match = re.match(catalog.SLOTS[name], attribute)
    return next((part for part in match.groups() if part), attribute) if match else attribute


def _common(values: t.Dict[str, t.Any]) -> t.Any:
    found = list(values.values())
    return found[0] if found and all(one == found[0] for one in found) else None


def switch(value: t.Any) -> t.Optional[bool]:
    """`value` of an attribute as true or false, or None for one that is no switch or is left to the firmware (Auto)."""
    text = "" if value is None else re.sub(r"[\s_]+", "", str(value)).lower()
    return True if text in catalog.ON else False if text in catalog.OFF else None


def _plain(value: t.Any) -> t.Any:
    return value[:200] if isinstance(value, str) else value if isinstance(value, (bool, int, float)) else None
