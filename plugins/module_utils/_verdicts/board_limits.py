# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What others than the board catalogue say of a GPU's drivers. Private to gpuops.fleet: the names may change in any release.

NVIDIA ships `supported-gpus.json` with every driver: `{chips: [{devid, subvendorid, subdevid, name, legacybranch, features}]}`. A user may overrule
both it and the catalogue.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

OPEN, PROPRIETARY = "open", "proprietary"
# Cards without GSP firmware, which is what the open modules need: R580 is the last branch that drives them.
LAST_WITHOUT_GSP = 580
FIELDS = ("first_branch", "last_branch", "flavors", "architecture")
DEVICE_ID = re.compile(r"[0-9a-f]{4}(?::[0-9a-f]{4}:[0-9a-f]{4})?\Z")


class Limits:
    """Corrections of what the catalogue says. Raises PolicyError for what makes no sense."""

    def __init__(self, boards: t.Dict[str, t.Any], supported_gpus: t.Optional[t.Dict[str, t.Any]]):
        self.boards = {str(name).lower(): _own(str(name).lower(), row) for name, row in boards.items()}
        self.chips: t.Dict[str, t.Dict[str, t.Any]] = {}
        listed = known.get(supported_gpus, "chips")
        if supported_gpus is not None and not isinstance(listed, list):
            raise PolicyError("supported_gpus has no list chips: pass the contents of NVIDIA's supported-gpus.json", option="supported_gpus")
        for chip in listed or []:
            ids = [_hex(known.get(chip, key)) for key in ("devid", "subvendorid", "subdevid")]
            if ids[0]:
                self.chips[":".join(ids) if all(ids) else ids[0]] = chip

    def correct(self, card: t.Any, pci: t.Any) -> t.Any:
        """`card` (branches.Card) with what the driver's list says, and then with what the user says."""
        names = [_hex(known.get(pci, key)) for key in ("device_id", "subsystem_vendor_id", "subsystem_device_id")]
        keys = (":".join(names), names[0])
        chip = next((self.chips[key] for key in keys if key in self.chips), None)
        if chip is not None:
            card = _listed(card, chip)
        own = next((self.boards[key] for key in keys if key in self.boards), None)
        return card if own is None else card._replace(**own)


def _listed(card: t.Any, chip: t.Dict[str, t.Any]) -> t.Any:
    """From R590 on Maxwell, Pascal and Volta carry `kernelopen` beside `legacybranch` 580.xx: the branch is looked at first."""
    listed = chip.get("features")
    features = listed if isinstance(listed, list) else []
    legacy = re.match(r"(\d{3})\.", str(chip.get("legacybranch") or ""))
    if legacy:
        return card._replace(last_branch=int(legacy.group(1)), flavors=(PROPRIETARY,))
    if "kernelopen" not in features:
        # The list of a driver of then does not know of later branches; what the catalogue says of the last one holds.
        return card._replace(last_branch=card.last_branch or LAST_WITHOUT_GSP, flavors=(PROPRIETARY,))
    if card.flavors == (PROPRIETARY,) and card.last_branch is not None:
        return card
    return card._replace(flavors=(OPEN, PROPRIETARY) if "gsp_proprietary_supported" in features else (OPEN,))


def _own(name: str, row: t.Any) -> t.Dict[str, t.Any]:
    if not DEVICE_ID.match(name):
        raise PolicyError("boards has %s: it must be a PCI device id such as 1b38, or 25b6:10de:14a9 with that of the subsystem" % name, option="boards")
    if not isinstance(row, dict) or set(row) - set(FIELDS):
        raise PolicyError("boards.%s must be a dict with any of %s" % (name, ", ".join(FIELDS)), option="boards")
    found = dict(row)
    for key in ("first_branch", "last_branch"):
        value = found.get(key)
        if value is not None and (isinstance(value, bool) or not str(value).isdigit()):
            raise PolicyError("boards.%s.%s is %s: it must be a driver branch such as 580" % (name, key, value), option="boards")
        if value is not None:
            found[key] = int(value)
    if "flavors" in found:
        if not isinstance(found["flavors"], list) or not found["flavors"] or set(found["flavors"]) - {OPEN, PROPRIETARY}:
            raise PolicyError("boards.%s.flavors must be a list of open and proprietary" % name, option="boards")
        found["flavors"] = tuple(found["flavors"])
    return found


def _hex(value: t.Any) -> str:
    text = str(value or "").lower()
    return text[2:] if text.startswith("0x") else text
