# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which kernel the boot loader starts next. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import fnmatch
import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import names, read_bytes, read_text

GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
LOADERS = ("/boot", "/efi", "/boot/efi")
# Boot Loader Interface (systemd): what `bootctl set-default` wrote.
LOADER_DEFAULT = "/sys/firmware/efi/efivars/LoaderEntryDefault-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

Entry = t.Dict[str, t.Any]
QUOTED = r"""(?:'([^']*)'|"([^"]*)"|(\S+))"""
HEAD = re.compile(r"(menuentry|submenu)\s+" + QUOTED)
IDENTITY = re.compile(r"(?:\$\{?menuentry_id_option\}?|--id)[ =]+" + QUOTED)
LINUX = re.compile(r"(?:linux|linux16|linuxefi|module2?)\s+(\S*(?:vmlinu|Image|linux|kernel)\S*)")
DEFAULT = re.compile(r"""^\s*set default=["']?(.*?)["']?\s*$""", re.MULTILINE)
IMAGE = re.compile(r"(?:vmlinuz|vmlinux|Image|linux|kernel)-(.+)\Z")


def read(root: str = "") -> t.Tuple[t.Optional[str], str, str]:
    """`(kernel release, source, reason)` of the entry that boots next: GRUB's menu, Boot Loader Specification entries, or None and why."""
    reasons = []
    for path in GRUB:
        text, why = read_text(root + path)
        if text is None:
            reasons.append(why)
            continue
        environment = variables(read_text(os.path.dirname(root + path) + "/grubenv")[0] or "")
        entries = bls(root + "/boot") if re.search(r"^\s*blscfg\b", text, re.MULTILINE) else []
        image = chosen(menu(text) + entries, wanted(text, environment))
        return _release(image, path, root)
    for folder in LOADERS:
        entries = bls(root + folder)
        if entries:
            text, _why = read_text("%s%s/loader/loader.conf" % (root, folder))
            data, _why = read_bytes(root + LOADER_DEFAULT)
            pattern = data[4:].decode("utf-16-le", "replace").rstrip("\0") if data else next((one[1] for one in pairs(text or "") if one[0] == "default"), "")
            fitting = [one for one in entries if fnmatch.fnmatchcase(one["id"], pattern) or fnmatch.fnmatchcase(one["id"] + ".conf", pattern)]
            return _release((fitting or [{"linux": None}] if pattern else entries)[0]["linux"], folder + "/loader/entries", root)
    return None, "", "; ".join(why.replace(root, "", 1) if root else why for why in reasons[:1]) + ", and no loader entries"


def wanted(text: str, environment: t.Dict[str, str]) -> str:
    """The name, title or number of the entry that the GRUB configuration `text` boots, with the variables of grubenv."""
    if environment.get("next_entry"):
        return environment["next_entry"]
    values = [value for value in DEFAULT.findall(text) if "next_entry" not in value]
    value = values[-1] if values else "0"
    if "$" in value:
        value = environment.get(value.strip("${}"), "")
    return value or "0"


def menu(text: str) -> t.List[Entry]:
    """GRUB's menu: `{id, title, linux}` for an entry, `{id, title, below}` for a submenu."""
    top: t.List[Entry] = []
    levels: t.List[t.Optional[Entry]] = []
    for line in map(str.strip, text.splitlines()):
        head = HEAD.match(line)
        if head:
            names_found = IDENTITY.search(line)
            entry: Entry = {"title": _text(head, 2), "id": _text(names_found, 1) if names_found else None, "linux": None}
            if head.group(1) == "submenu":
                entry["below"] = []
            owner = next((level for level in reversed(levels) if level is not None and "below" in level), None)
            (top if owner is None else owner["below"]).append(entry)
            if line.endswith("{"):
                levels.append(entry)
        elif line.endswith("{"):
            levels.append(None)
        elif line == "}":
            if levels:
                levels.pop()
        else:
            image = LINUX.match(line)
            entries = [level for level in levels if level is not None]
            if image and entries and "below" not in entries[-1] and entries[-1]["linux"] is None:
                entries[-1]["linux"] = image.group(1)
    return top


def chosen(entries: t.List[Entry], name: str) -> t.Optional[str]:
    """The kernel image of the entry called `name`: numbers, titles or ids, joined by `>` through submenus; None when there is no such entry."""
    found: t.Optional[Entry] = None
    # A title may hold a `>` itself; then it is the whole name.
    whole = [one for one in entries if name in (one["title"], one["id"])]
    for part in [name] if whole else name.split(">"):
        if part.isdigit() and len(part) < 6:
            found = entries[int(part)] if int(part) < len(entries) else None
        else:
            found = next((one for one in entries if part in (one["title"], one["id"])), None)
        if found is None:
            return None
        entries = found.get("below", [])
    while found is not None and "below" in found:
        found = found["below"][0] if found["below"] else None
    return found["linux"] if found else None


def bls(folder: str) -> t.List[Entry]:
    """The entries of the Boot Loader Specification below `folder`, newest first."""
    entries = []
    base = folder + "/loader/entries"
    for name in names(base):
        if name.endswith(".conf"):
            text, _why = read_text("%s/%s" % (base, name))
            fields = dict(pairs(text or ""))
            entries.append({"id": name[: -len(".conf")], "title": fields.get("title"), "linux": fields.get("linux"), "version": fields.get("version", "")})
    return sorted(entries, key=lambda one: _natural(one["version"] or one["id"]), reverse=True)


def pairs(text: str) -> t.List[t.Tuple[str, str]]:
    """`(key, value)` of each line `key value`."""
    lines = (line.strip().split(None, 1) for line in text.splitlines())
    return [(line[0], line[1].strip()) for line in lines if len(line) == 2 and not line[0].startswith("#")]


def variables(text: str) -> t.Dict[str, str]:
    """`name=value` lines of GRUB's environment block."""
    return {name: value for name, equals, value in (line.partition("=") for line in text.splitlines()) if equals and not name.startswith("#")}


def _text(match: t.Any, first: int) -> str:
    return next((match.group(number) for number in range(first, first + 3) if match.group(number) is not None), "")


def _natural(text: str) -> t.List[t.Tuple[int, t.Any]]:
    # rpm's order: numbers count as numbers and come after words; a `~` sorts before everything.
    return [(2, int(part)) if part.isdigit() else (0, "") if part == "~" else (1, part) for part in re.findall(r"[0-9]{1,30}|[a-zA-Z]+|~", text)]


def _release(image: t.Optional[str], source: str, root: str) -> t.Tuple[t.Optional[str], str, str]:
    if image is None:
        return None, "", "%s: the default entry names no kernel" % source
    folder, _slash, name = image.rpartition("/")
    match = IMAGE.match(name)
    if not match:
        # A link to the newest kernel (/boot/vmlinuz), or kernel-install's /MACHINE/RELEASE/linux.
        try:
            match = IMAGE.match(os.path.basename(os.readlink(root + image)))
        except (OSError, ValueError):
            match = re.match(r"([0-9].*)\Z", os.path.basename(folder))
    return (match.group(1), source, "") if match else (None, "", "%s: %s names no kernel release" % (source, image))
