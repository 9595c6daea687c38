# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How containers get GPUs, from versions of engine and toolkit. Private to gpuops.fleet: the names may change in any release."""

from __future__ import annotations

import re
import typing as t

DOCKER, PODMAN = "docker", "podman"
AUTO, CDI, RUNTIME, LEGACY = "auto", "cdi", "runtime", "legacy"
Version = t.Tuple[int, ...]

# `docker run --gpus` came with Docker 19.03 (its release notes).
DEVICE_REQUESTS: Version = (19, 3)
# Docker reads CDI specifications from 25.0 on when the feature `cdi` is on; from 28.2 on it is on by default (moby#45192), and known before containers
# start: below, a container with a restart policy does not come back after a reboot (moby#49989).
DOCKER_CDI: Version = (25,)
DOCKER_CDI_BY_DEFAULT: Version = (28, 2)
# From 29.2 on a request of `--gpus` is tried by CDI before the prestart hook (moby#50228).
DOCKER_REQUEST_BY_CDI: Version = (29, 2)
# Toolkit 1.18 makes specifications just in time under runtime nvidia (toolkit#1227), and brings nvidia-cdi-refresh.service, which keeps the file true.
TOOLKIT_CDI: Version = (1, 18)
# Toolkit 1.19.1 writes specifications of version 0.7.0, which Docker reads from 26.1 on (its release notes).
TOOLKIT_CDI_0_7: Version = (1, 19, 1)
DOCKER_CDI_0_7: Version = (26, 1)
# Podman reads CDI specifications from 4.1 on (installation guide of the toolkit, "Support for Container Device Interface").
PODMAN_CDI: Version = (4, 1)

LOSES = "systemctl daemon-reload takes the GPUs away from running containers"
VARIABLE = "nvidia_container_toolkit_injection"


def choose(
    wish: str,
    engines: t.Sequence[str],
    toolkit: str,
    *,
    docker: t.Optional[str] = None,
    podman: t.Optional[str] = None,
    cdi_feature: t.Optional[bool] = None,
    rootless: bool = False,
) -> t.Dict[str, str]:
    """The injection that these versions can do.

    wish: auto, cdi, runtime or legacy. engines: docker, podman or both. toolkit, docker, podman: versions; None or "": nobody knows yet, because it is not
    installed. cdi_feature: `features.cdi` as Docker's daemon.json has it, None: it does not name it. rootless: users run a Docker without root, for which the
    toolkit is told to leave control groups alone.

    Returned: `injection` (cdi, runtime, legacy: how Docker's containers get GPUs; without Docker Podman's way, which always is CDI), `reason` (one line), and
    `problem`: why the versions cannot do what was asked for, with the remedy; "" when they can.
    """
    answer = {"injection": "", "reason": "", "problem": _engines(engines, rootless)}
    if not answer["problem"] and rootless and DOCKER in engines:
        answer["problem"] = _rootless(wish, toolkit)
    if not answer["problem"] and PODMAN in engines:
        answer["problem"] = _podman(wish, engines, toolkit, podman)
    if answer["problem"]:
        return answer
    if not engines:
        return dict(answer, injection=RUNTIME, reason="Docker without root: runtime nvidia, which leaves control groups alone")
    if DOCKER not in engines:
        return dict(answer, injection=CDI, reason="Podman %s, toolkit %s: Podman gives GPUs by CDI names" % (podman or "(not installed yet)", toolkit))
    if wish == AUTO:
        return dict(answer, **_best(docker, toolkit, cdi_feature))
    problem = {CDI: _no_cdi, RUNTIME: _no_runtime, LEGACY: _no_legacy}[wish](docker, toolkit, cdi_feature)
    return dict(answer, injection=wish, reason=_asked(wish, docker, toolkit), problem=problem)


def _best(docker: t.Optional[str], toolkit: str, cdi_feature: t.Optional[bool]) -> t.Dict[str, str]:
    versions = "Docker %s, toolkit %s: " % (docker or "(not installed yet)", toolkit)
    if _number(toolkit) < TOOLKIT_CDI:
        return {"injection": RUNTIME, "reason": versions + "with this toolkit, " + LOSES}
    if _number(docker) < DOCKER_CDI_BY_DEFAULT:
        return {"injection": RUNTIME, "reason": versions + "Docker before 28.2 starts containers before it knows CDI devices"}
    if cdi_feature is False:
        return {"injection": RUNTIME, "reason": versions + "features.cdi is false in Docker's daemon.json"}
    return {"injection": CDI, "reason": versions + "Docker knows CDI devices before it starts containers"}


def _asked(wish: str, docker: t.Optional[str], toolkit: str) -> str:
    if wish == RUNTIME and _number(toolkit) < TOOLKIT_CDI:
        return "asked for; with this toolkit, " + LOSES
    if wish == LEGACY and _number(docker) < DOCKER_REQUEST_BY_CDI:
        return "asked for; " + LOSES
    return "asked for"


def _engines(engines: t.Sequence[str], rootless: bool) -> str:
    return "" if engines or rootless else "no engine is named: set nvidia_container_toolkit_engines to docker, podman or both"


def _rootless(wish: str, toolkit: str) -> str:
    """no-cgroups holds for the prestart hook of the whole host: containers of Docker with root would have nodes that they may not open (toolkit's guide)."""
    if wish != LEGACY and _number(toolkit) >= TOOLKIT_CDI:
        return ""
    what = "injection legacy" if wish == LEGACY else "toolkit %s" % toolkit
    return (
        "Docker without root needs nvidia-container-cli.no-cgroups, and with it %s gives containers of the system's Docker GPUs that they may not open: "
        "use toolkit 1.18 or newer with injection auto, or take docker out of nvidia_container_toolkit_engines" % what
    )


def _podman(wish: str, engines: t.Sequence[str], toolkit: str, podman: t.Optional[str]) -> str:
    if wish in (RUNTIME, LEGACY) and DOCKER not in engines:
        return "injection %s is Docker's, and Podman gives GPUs by CDI names: set %s to auto or cdi" % (wish, VARIABLE)
    if _number(toolkit) < TOOLKIT_CDI:
        return "Podman needs a CDI specification, which toolkit %s does not keep true: set nvidia_container_toolkit_version to 1.18 or newer" % toolkit
    if podman and _number(podman) < PODMAN_CDI:
        return "Podman %s knows no CDI devices: install Podman 4.1 or newer" % podman
    return ""


def _no_cdi(docker: t.Optional[str], toolkit: str, cdi_feature: t.Optional[bool]) -> str:
    instead = "set %s to auto or runtime" % VARIABLE
    if _number(toolkit) < TOOLKIT_CDI:
        return "injection cdi needs toolkit 1.18 or newer, which keeps the specification true; %s is asked for: %s" % (toolkit, instead)
    if docker:
        needed, text = (DOCKER_CDI_0_7, "26.1") if _number(toolkit) >= TOOLKIT_CDI_0_7 else (DOCKER_CDI, "25.0")
        if _number(docker) < needed:
            return "injection cdi with toolkit %s needs Docker %s or newer, found %s: %s" % (toolkit, text, docker, instead)
    if cdi_feature is False:
        return "injection cdi needs Docker's feature cdi, and features.cdi is false in its daemon.json: take it out, or %s" % instead
    return ""


def _no_runtime(_docker: t.Optional[str], _toolkit: str, _cdi_feature: t.Optional[bool]) -> str:
    return ""


def _no_legacy(docker: t.Optional[str], _toolkit: str, _cdi_feature: t.Optional[bool]) -> str:
    if docker and _number(docker) < DEVICE_REQUESTS:
        return "injection legacy is docker run --gpus, which needs Docker 19.03 or newer, found %s: set %s to auto or runtime" % (docker, VARIABLE)
    return ""


def _number(version: t.Optional[str]) -> Version:
    """The numbers of a version; nothing known is older than everything."""
    return tuple(int(word) for word in re.findall(r"\d+", (version or "0").split("-")[0].split("+")[0]))
