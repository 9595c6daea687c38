# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: gpu_injection
short_description: How containers get GPUs with given versions of engine and toolkit
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
description:
  - Chooses between CDI, the C(nvidia) runtime and the prestart hook of C(docker run --gpus), and tells the reason.
  - What the versions cannot do is told in RV(_value.problem), with the remedy.
options:
  _input:
    description: What is wanted, V(auto), V(cdi), V(runtime) or V(legacy).
    type: str
    required: true
  engines:
    description: The container engines, V(docker) and V(podman). Podman always gives GPUs by CDI names.
    type: list
    elements: str
    required: true
  toolkit:
    description: Version of the NVIDIA Container Toolkit.
    type: str
    required: true
  docker:
    description: Version of Docker; V(none) when it is not installed yet.
    type: str
  podman:
    description: Version of Podman; V(none) when it is not installed yet.
    type: str
  cdi_feature:
    description: C(features.cdi) of Docker's C(daemon.json); V(none) when the file does not name it.
    type: bool
  rootless:
    description: Whether users of the host run a Docker without root, for which the toolkit is told to leave control groups alone.
    type: bool
    default: false
seealso:
  - module: gpuops.fleet.gpu_container_check
"""

EXAMPLES = r"""
- name: Docker 26.1 starts containers before it knows CDI devices, so this is the runtime
  ansible.builtin.debug:
    msg: "{{ 'auto' | gpuops.fleet.gpu_injection(['docker'], '1.20.1', docker='26.1.5') }}"
"""

RETURN = r"""
_value:
  description: The choice.
  type: dict
  contains:
    injection:
      description: V(cdi), V(runtime) or V(legacy). Without Docker, V(cdi).
      type: str
    reason:
      description: Why, in one line.
      type: str
    problem:
      description: Why the versions cannot do what was asked for, with the remedy; empty when they can.
      type: str
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ansible_collections.gpuops.fleet.plugins.module_utils._verdicts import injection

WISHES = (injection.AUTO, injection.CDI, injection.RUNTIME, injection.LEGACY)


def gpu_injection(
    wish: t.Any, engines: t.Any, toolkit: t.Any, *, docker: t.Any = None, podman: t.Any = None, cdi_feature: t.Any = None, rootless: bool = False
) -> t.Dict[str, str]:
    """See DOCUMENTATION."""
    if wish not in WISHES:
        raise AnsibleFilterError("gpuops.fleet.gpu_injection: %s is none of %s" % (wish, ", ".join(WISHES)))
    if not isinstance(engines, (list, tuple)) or set(engines) - {injection.DOCKER, injection.PODMAN}:
        raise AnsibleFilterError("gpuops.fleet.gpu_injection: engines is a list of docker and podman, not %s" % (engines,))
    # Some releases of Ansible make an empty text of none.
    feature = cdi_feature if isinstance(cdi_feature, bool) else None
    return injection.choose(str(wish), list(engines), str(toolkit), docker=docker or None, podman=podman or None, cdi_feature=feature, rootless=bool(rootless))


class FilterModule:
    """The filter."""

    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        """Names and functions."""
        return {"gpu_injection": gpu_injection}
