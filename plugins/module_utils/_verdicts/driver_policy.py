# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may ask of the driver. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._catalog.branches import DATE
from ansible_collections.gpuops.fleet.plugins.module_utils._check import PolicyError
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import branches
from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import facts as known

FLOOR_VERSION = "470.82.01"
AUTO = "auto"


class Policy:
    """What the user asks of the driver. Raises PolicyError when a value makes no sense or two of them contradict each other."""

    def __init__(
        self,
        *,
        floor_version: str = FLOOR_VERSION,
        branch: t.Optional[int] = None,
        version: t.Optional[str] = None,
        flavor: str = AUTO,
        available_branches: t.Optional[t.Sequence[int]] = None,
        date: t.Optional[str] = None,
        cuda_major: t.Optional[int] = None,
        features: t.Optional[t.Sequence[str]] = None,
        latest_supported: bool = False,
        package_source: t.Optional[t.Dict[str, t.Any]] = None,
        supported_gpus: t.Optional[t.Dict[str, t.Any]] = None,
        boards: t.Optional[t.Dict[str, t.Any]] = None,
        dkms_key_enrolled: t.Optional[bool] = None,
    ):
        self.floor, self.floor_text = _version("floor_version", floor_version), "the floor %s" % floor_version
        # What most plans do without is imported where it is asked for.
        self.features: t.List[t.Any] = []
        if features or cuda_major is not None:
            from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import driver_features

            self.features = driver_features.parse(features or [])
            if cuda_major is not None:
                cuda = driver_features.cuda(cuda_major)
                self.features.insert(0, cuda)
                oldest = cuda.rules[0][2]
                if _version("cuda_major", oldest) > self.floor:
                    self.floor, self.floor_text = _version("cuda_major", oldest), "%s, which %s needs" % (oldest, cuda.title)
        self.version = None if version is None else _version("version", version)
        if branch is not None and branch < 1:
            raise PolicyError("branch is %d: it must be a driver branch such as 580" % branch, option="branch")
        if self.version and branch not in (None, self.version[0]):
            raise PolicyError("version %s is not of branch %s: give one of them, or both alike" % (version, branch), option="version")
        if flavor not in (AUTO, branches.OPEN, branches.PROPRIETARY):
            raise PolicyError("flavor is %s: it must be auto, open or proprietary" % flavor, option="flavor")
        if date is not None and not re.match(r"[0-9]{4}-[01][0-9]-[0-3][0-9]\Z", date):
            raise PolicyError("date is %s: it must be written YYYY-MM-DD" % date, option="date")
        self.version_text = version
        self.branch = self.version[0] if self.version else branch
        self.flavor = flavor
        self.available = None if available_branches is None else sorted(set(available_branches))
        self.date = date or DATE
        self.latest_supported, self.dkms_key_enrolled = bool(latest_supported), dkms_key_enrolled
        self.package_source: t.Optional[t.Any] = None
        if package_source:
            from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.driver_packages import PackageSource

            self.package_source = PackageSource(package_source)
        self.limits: t.Optional[t.Any] = None
        if boards or supported_gpus:
            from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts.board_limits import Limits

            self.limits = Limits(boards or {}, supported_gpus)
        pinned = self.version or (() if branch is None else (branch,))
        if pinned < self.floor[: len(pinned)]:
            raise PolicyError("%s is below %s" % (version or "branch %s" % branch, self.floor_text), option="floor_version")


def _version(option: str, value: str) -> t.Tuple[int, ...]:
    found = known.version(value)
    if found is None or len(found) < 2:
        raise PolicyError("%s is %s: it must be a driver version such as 580.95.05" % (option, value), option=option)
    return found
