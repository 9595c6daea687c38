# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module says of check mode, differences and second runs."""

from __future__ import annotations


class ModuleDocFragment:
    """The attributes; a module that changes something adds its `support`."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
"""

    # For modules that only read and judge.
    READS = r"""
attributes:
  check_mode:
    support: full
    details:
      - This module only reads and changes nothing, so it does the same in check mode.
  diff_mode:
    support: N/A
    details:
      - This module does not change state.
  idempotent:
    support: full
    details:
      - This module never reports a change.
"""
