# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether unattended-upgrades could replace driver packages. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_text

PROGRAM = "/usr/bin/unattended-upgrade"
FOLDER = "/etc/apt/apt.conf.d"
LAST = "/etc/apt/apt.conf"
COMMENT = re.compile(r'("[^"\n]*")|//[^\n]*|/\*.*?\*/|^\s*#(?!clear)[^\n]*', re.DOTALL | re.MULTILINE)
TOKEN = re.compile(r'"([^"\n]*)"|([{};])|(#clear)|([^\s"{};#]+)')
ORIGINS = ("Unattended-Upgrade::Allowed-Origins", "Unattended-Upgrade::Origins-Pattern")
# Origin of a package as the driver's facts name it → as unattended-upgrades' configuration names it.
LABELS = {"ubuntu_archive": re.compile("ubuntu|distro_id", re.IGNORECASE), "debian_archive": re.compile("debian|distro_id", re.IGNORECASE),
          "cuda_repository": re.compile("nvidia", re.IGNORECASE)}  # fmt: skip


def read(packages: t.Dict[str, str], held: t.Sequence[str], root: str = "") -> t.Dict[str, t.Any]:
    """`{enabled, would_touch}`: whether it runs by itself, and which of the driver's `packages` (name → source) it may replace.

    A package is left alone when it is held, when its source is no allowed origin, or when an expression of Package-Blacklist matches the
    beginning of its name (unattended-upgrades uses re.match).
    """
    settings = configuration(root)
    enabled = read_text(root + PROGRAM, 1)[0] is not None and _on(settings.get("APT::Periodic::Unattended-Upgrade"))
    origins = [value for key in ORIGINS for value in settings.get(key, [])]
    blacklist = settings.get("Unattended-Upgrade::Package-Blacklist", [])
    touched = [
        name
        for name, source in sorted(packages.items())
        if name not in held and _allowed(source, origins) and not any(_matches(expression, name) for expression in blacklist)
    ]
    return {"enabled": enabled, "would_touch": touched}


def configuration(root: str = "") -> t.Dict[str, t.List[str]]:
    """apt's configuration: `{key: values}`, the values of a list in order (apt.conf(5))."""
    found: t.Dict[str, t.List[str]] = {}
    folder = root + FOLDER
    files = ["%s/%s" % (folder, name) for name in names(folder) if re.match(r"[\w-]+(?:\.conf)?\Z", name)] + [root + LAST]
    for path in files:
        parse(read_text(path)[0] or "", found)
    return found


def parse(text: str, found: t.Dict[str, t.List[str]]) -> None:
    """Add what the configuration `text` says to `found`."""
    text = COMMENT.sub(lambda match: match.group(1) or "", text)
    scopes: t.List[str] = []
    words: t.List[str] = []
    value: t.Optional[str] = None
    clearing = False
    for quoted, sign, clear, word in TOKEN.findall(text):
        if clear:
            clearing = True
        elif word:
            words.append(word)
        elif sign == "{":
            scopes.append("::".join(scopes[-1:] + words))
            words, value = [], None
        elif sign in ("}", ";"):
            key = "::".join(scopes[-1:] + words).replace("::::", "::")
            if clearing and words:
                for name in [name for name in found if name == key or name.startswith(key + "::")]:
                    del found[name]
            elif value is not None:
                if key.endswith("::") or not words:
                    found.setdefault(key[:-2] if key.endswith("::") else key, []).append(value)
                else:
                    found[key] = [value]
            words, value, clearing = [], None, False
            if sign == "}" and scopes:
                scopes.pop()
        else:
            value = quoted


def _on(values: t.Optional[t.List[str]]) -> bool:
    """A period of apt: a number of days, with a unit, or `always`; 0 and nothing are off."""
    text = (values or [""])[-1].strip().lower()
    return text == "always" or bool(re.match(r"0*[1-9]\d*[smhd]?\Z", text))


def _allowed(source: str, origins: t.Sequence[str]) -> bool:
    label = LABELS.get(source)
    # Of a source that cannot be told any origin counts: a warning too many is better than a driver replaced overnight.
    return bool(origins) if label is None else any(label.search(origin) for origin in origins)


def _matches(expression: str, name: str) -> bool:
    try:
        return re.match(expression, name) is not None
    except re.error:
        return False
