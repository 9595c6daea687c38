"""The part of udev that a driver's arrival needs: rules of /usr/lib/udev and /etc/udev with RUN and SYSTEMD_WANTS.

udevd itself does not run in a container, where /sys is read-only and events of the host's devices would be its business.
"""
from __future__ import annotations

import fnmatch
import re
import shlex
import subprocess
from pathlib import Path

_FOLDERS = (Path("/usr/lib/udev/rules.d"), Path("/etc/udev/rules.d"))
_TERM = re.compile(r'(\w+(?:\{\w+\})?)\s*(==|!=|\+=|=)\s*"([^"]*)"')


def _rules() -> list[list[tuple[str, str, str]]]:
    # A file of /etc hides one of the same name.
    files = {path.name: path for folder in _FOLDERS for path in sorted(folder.glob("*.rules"))}
    lines = [line for name in sorted(files) for line in files[name].read_text().replace("\\\n", " ").splitlines()]
    return [_TERM.findall(line) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def event(action: str, path: str, subsystem: str) -> None:
    """Do what the rules say about one event; rules with other conditions than these three properties do not apply."""
    properties = {"ACTION": action, "DEVPATH": path, "SUBSYSTEM": subsystem}
    # systemd keeps what a device wants for as long as the device is there: a unit of its own stands for the device.
    unit = f"lab-device{path.replace('/', '-')}.service"
    if action == "remove":
        subprocess.run(["systemctl", "--no-block", "stop", unit], check=False, stderr=subprocess.DEVNULL)
    for rule in _rules():
        conditions = [(key, value) for key, operator, value in rule if operator == "=="]
        negated = any(operator == "!=" for _, operator, _ in rule)
        if negated or ("DEVPATH", path) not in conditions or not all(_matches(properties.get(key), value) for key, value in conditions):
            continue
        for key, _, value in rule:
            if key == "RUN":
                subprocess.run(shlex.split(value), check=False)
            elif key == "ENV{SYSTEMD_WANTS}":
                device = ["systemd-run", "--quiet", "--no-block", "--collect", f"--unit={unit}", "--service-type=oneshot", "--property=RemainAfterExit=yes"]
                subprocess.run([*device, f"--property=Wants={value}", f"--property=Before={value}", "true"], check=False)


def _matches(value: str | None, pattern: str) -> bool:
    return value is not None and any(fnmatch.fnmatchcase(value, part) for part in pattern.split("|"))
