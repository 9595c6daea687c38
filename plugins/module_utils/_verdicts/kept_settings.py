# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps settings of GPUs across reboots: three files, as text. Private to gpuops.fleet: the names may change in any release.

The driver forgets persistence mode, compute mode, power limit and application clocks when its last client leaves or it is unloaded
(NVIDIA driver persistence, data persistence); ECC mode it keeps in the board itself. No distribution has a unit for the former.
"""

from __future__ import annotations

import typing as t

Kept = t.Dict[str, t.Dict[str, str]]

UNIT_NAME = "gpuops-gpu-settings.service"
DAEMON_NAME = "nvidia-persistenced.service"
SETTINGS = "/etc/gpuops/gpu-settings"
UNIT = "/etc/systemd/system/" + UNIT_NAME
DROP_IN = "/etc/systemd/system/%s.d/10-gpuops.conf" % DAEMON_NAME
NO_PERSISTENCE = "--no-persistence-mode"
ORDER = ("-pm", "-c", "-pl", "-ac")

HEAD = "# Managed by gpuops.fleet.gpu_settings.\n"
# A GPU that refuses does not keep the others from their settings, but the unit fails: nobody has to read a log to learn of it. It starts
# anew with the persistence daemon, which drivers stop before they are exchanged.
UNIT_TEXT = HEAD + """[Unit]
Description=Settings of NVIDIA GPUs that the driver does not keep
Wants=modprobe@nvidia.service %(daemon)s
After=modprobe@nvidia.service %(daemon)s
PartOf=%(daemon)s

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'failed=0; while read -r gpu option value; do case $$gpu in GPU-*) \\
    nvidia-smi -i $$gpu $$option $$value </dev/null || failed=1;; esac; done <%(settings)s; exit $$failed'

[Install]
WantedBy=multi-user.target %(daemon)s
""" % {"daemon": DAEMON_NAME, "settings": SETTINGS}


def parse(text: t.Optional[str]) -> Kept:
    """UUID → option of nvidia-smi → value, from the lines `UUID option value` of the settings file."""
    kept: Kept = {}
    for line in (text or "").splitlines():
        words = line.split()
        if len(words) == 3 and words[0].startswith("GPU-") and words[1] in ORDER:
            kept.setdefault(words[0], {})[words[1]] = words[2]
    return kept


def merge(kept: Kept, chosen: t.Sequence[str], options: t.Mapping[str, t.Optional[str]], present: t.Optional[t.Sequence[str]]) -> Kept:
    """`kept` with `options` (None: forget it) for the GPUs `chosen`. GPUs that are not `present` any more are forgotten (None: not known)."""
    merged: Kept = {uuid: dict(values) for uuid, values in kept.items()}
    for uuid in chosen:
        values = merged.setdefault(uuid, {})
        for option, value in options.items():
            if value is None:
                values.pop(option, None)
            else:
                values[option] = value
    return {uuid: values for uuid, values in merged.items() if values and (present is None or uuid in present or uuid in chosen)}


def files(kept: Kept, present: t.Sequence[str], command: t.Optional[str]) -> t.Dict[str, t.Optional[str]]:
    """Path → text, None for a file that is not to be there. `command`: how the distribution starts the persistence daemon, None without one."""
    lines = ["%s %s %s\n" % (uuid, option, kept[uuid][option]) for uuid in sorted(kept) for option in ORDER if option in kept[uuid]]
    everywhere = bool(present) and all(kept.get(uuid, {}).get("-pm") == "1" for uuid in present)
    return {
        SETTINGS: HEAD + "# Each boot sets these: GPU, option of nvidia-smi, value.\n" + "".join(lines) if lines else None,
        UNIT: UNIT_TEXT if lines else None,
        DROP_IN: drop_in(command) if everywhere else None,
    }


def drop_in(command: t.Optional[str]) -> t.Optional[str]:
    """The drop-in that makes the daemon keep persistence mode on; None where the distribution's own unit does. Its user and flags stay."""
    words = (command or "").split()
    if NO_PERSISTENCE not in words:
        return None
    return HEAD + "[Service]\nExecStart=\nExecStart=%s\n" % " ".join(word for word in words if word != NO_PERSISTENCE)


def command(texts: t.Iterable[str]) -> t.Optional[str]:
    """ExecStart of a unit from the `texts` of its file and drop-ins, in systemd's order: an empty one takes back those before."""
    found: t.Optional[str] = None
    for text in texts:
        section = ""
        for line in (raw.strip() for raw in text.replace("\\\n", " ").splitlines()):
            if line.startswith("["):
                section = line
            elif section == "[Service]" and line.partition("=")[0].strip() == "ExecStart":
                found = line.partition("=")[2].strip() or None
    return found
