# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Specifications of CDI devices for NVIDIA GPUs. Private to gpuops.fleet: the names may change in any release.

nvidia-ctk writes YAML of a plain kind (mappings and lists in block style), or JSON. The YAML is read line by line, because a target need not have a
library for it.
"""

from __future__ import annotations

import json
import os
import re
import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.files import read_text

# In the order in which Docker reads them; /run is what /var/run points to.
FOLDERS = ("/etc/cdi", "/var/run/cdi")
Nodes = t.Dict[str, t.List[int]]
KIND = "nvidia.com/gpu"
KIND_LINE = re.compile(r"^kind:\s*[\"']?nvidia\.com/gpu[\"']?\s*$", re.M)
NAME = re.compile(r"^\s*(?:-\s+)?name:\s*[\"']?([^\"'\s]+)", re.M)
PATH = re.compile(r"^\s*(?:-\s+)?path:\s*[\"']?(/dev/nvidia[^\"'\s]*)")
NUMBER = re.compile(r"^\s*(major|minor):\s*(\d+)")
VERSION = re.compile(r"/libnvidia-ml\.so\.(\d+\.\d+(?:\.\d+)?)\b")
# A node has at most this many keys after its path.
KEYS_OF_A_NODE = 7


def read(root: str = "") -> t.List[t.Dict[str, t.Any]]:
    """One entry a specification of nvidia.com/gpu: `path`, `devices` (names), `nodes` (path to [major, minor]), `driver_versions`."""
    found = []
    for folder in FOLDERS:
        try:
            names = sorted(os.listdir(root + folder))
        except OSError:
            continue
        for name in names:
            if name.endswith((".yaml", ".yml", ".json")):
                text, _why = read_text("%s%s/%s" % (root, folder, name))
                entry = parse("%s/%s" % (folder, name), text or "")
                if entry is not None:
                    found.append(entry)
    return found


def parse(path: str, text: str) -> t.Optional[t.Dict[str, t.Any]]:
    """The entry of one file; None when it is no specification of NVIDIA GPUs."""
    found = _from_json(text) if text.startswith("{") else _from_lines(text)
    if found is None:
        return None
    devices, nodes = found
    return {"path": path, "devices": sorted(set(devices)), "nodes": nodes, "driver_versions": sorted(set(VERSION.findall(text)))}


def _from_json(text: str) -> t.Optional[t.Tuple[t.List[str], Nodes]]:
    try:
        spec = json.loads(text)
        if spec.get("kind") != KIND:
            return None
        devices = spec.get("devices") or []
        edits = [device.get("containerEdits") or {} for device in devices] + [spec.get("containerEdits") or {}]
        nodes = {node["path"]: [node["major"], node.get("minor", 0)] for edit in edits for node in edit.get("deviceNodes") or [] if "major" in node}
        return [str(device["name"]) for device in devices], nodes
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _from_lines(text: str) -> t.Optional[t.Tuple[t.List[str], Nodes]]:
    if not KIND_LINE.search(text):
        return None
    nodes: Nodes = {}
    lines = text.splitlines()
    for index, line in enumerate(lines):
        match = PATH.match(line)
        if not match:
            continue
        # What follows until the next entry of the list belongs to this node; a minor of 0 is left out.
        numbers = {"minor": 0}
        for below in lines[index + 1 : index + KEYS_OF_A_NODE]:
            number = NUMBER.match(below)
            if number:
                numbers[number.group(1)] = int(number.group(2))
            elif re.match(r"\s*-", below):
                break
        if "major" in numbers:
            nodes[match.group(1)] = [numbers["major"], numbers["minor"]]
    # The edits for all devices come after the devices, or before them; neither has names.
    return NAME.findall(text), nodes
