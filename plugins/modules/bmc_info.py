#!/usr/bin/python
# Copyright (c) 2026, the gpuops.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bmc_info
short_description: Read BIOS settings and power supplies from a server's BMC
description:
  - Asks the Redfish service of a server's BMC for the BIOS settings that matter to GPUs, with the values that wait for the next start,
    and for the power supplies.
  - BIOS attributes have another name on every vendor's servers. They are returned under one name each; where the attribute's own name tells nothing,
    the display name of the vendor's attribute registry does.
  - Only these settings are returned, never the others, among which are passwords.
  - Meant to run where the BMC can be reached, usually on the controller with C(delegate_to).
  - Nothing is changed; only C(GET) requests are sent, to O(base_url) alone, whatever the service links to.
version_added: 1.0.0
author: the gpuops.fleet contributors (@gpuops)
extends_documentation_fragment:
  - gpuops.fleet.attributes
  - gpuops.fleet.attributes.reads
options:
  base_url:
    description: Address of the BMC, with V(https).
    type: str
    required: true
  username:
    description: User of the BMC; the right to log in and to read is enough.
    type: str
    required: true
  password:
    description: The user's password.
    type: str
    required: true
  validate_certs:
    description:
      - Whether the BMC's certificate is verified.
      - BMCs come with a certificate that they signed themselves. Name it, or better the CA of one that you installed, in O(ca_path) instead of
        setting this to V(false).
    type: bool
    default: true
  ca_path:
    description: PEM file on the host that runs the module, with the certificates to trust. The system's own are used when omitted.
    type: path
  timeout_seconds:
    description: Longest time in seconds that one request may take. All together may take 12 times as long.
    type: float
    default: 15
  system:
    description: C(Id) of the system, where a BMC manages several servers.
    type: str
notes:
  - C(PowerSubsystem) and C(Chassis Power) are both read where a service has both.
  - Some vendors want a licence for the BIOS resource; RV(bios) is empty then, and RV(unavailable) says so.
seealso:
  - module: gpuops.fleet.power_check
  - module: gpuops.fleet.firmware_check
  - module: community.general.redfish_info
"""

EXAMPLES = r"""
- name: Ask the BMC from the controller
  gpuops.fleet.bmc_info:
    base_url: "https://{{ bmc_address }}"
    username: "{{ bmc_username }}"
    password: "{{ bmc_password }}"
    ca_path: /etc/ssl/bmc-ca.pem
  delegate_to: localhost
  register: bmc

- name: Compare its BIOS settings with what the hardware shows
  gpuops.fleet.firmware_check:
    facts: "{{ ansible_facts.gpu }}"
    bmc_settings: "{{ bmc.bios_attributes }}"

- name: Check the power supplies that it lists
  gpuops.fleet.power_check:
    facts: "{{ ansible_facts.gpu }}"
    bmc: "{{ bmc }}"
"""

RETURN = r"""
bios:
  description:
    - The settings that the service tells, by one name for all vendors - C(above_4g), C(mmio_window), C(sriov), C(aspm), C(resizable_bar), C(acs), C(iommu)
      and C(virtualization). One that is missing is not known, and by no means off.
  returned: success
  type: dict
  contains:
    above_4g:
      description: One setting; the others have the same keys.
      type: dict
      contains:
        attribute:
          description: The vendor's name of the attribute.
          type: str
          sample: MmioAbove4Gb
        value:
          description: The value of the present start.
          type: raw
          sample: Enabled
        enabled:
          description: The value of a switch as a truth value; V(null) for other values.
          type: bool
          sample: true
        pending:
          description: The value that the next start will set; V(null) when it is the same.
          type: raw
          sample: null
        slots:
          description: Values that single slots have, by the slot's number. Where they contradict the value for all, RV(bios.above_4g.enabled) is V(null).
          type: dict
          sample: {"2": "Disabled"}
        slots_pending:
          description: Values of single slots that the next start will set.
          type: dict
          sample: {}
bios_attributes:
  description: The same settings by the vendor's name, one entry a slot, as O(gpuops.fleet.firmware_check#module:bmc_settings) takes them.
  returned: success
  type: dict
  sample: {"MmioAbove4Gb": {"canonical": "above_4g", "value": "Disabled", "pending": "Enabled"}}
power:
  description: The most trusted entry of RV(power_sources), or V(null) when none tells a capacity.
  returned: success
  type: dict
  contains:
    source:
      description: V(redfish_power_subsystem) or V(redfish_power).
      type: str
      sample: redfish_power
    where:
      description: The resource that was read.
      type: str
      sample: /redfish/v1/Chassis/1/Power
    capacity_watts:
      description: What the service calls the capacity of the chassis.
      type: float
      sample: 1600.0
    consumed_watts:
      description: What the server takes now.
      type: float
      sample: 150.0
    supplies:
      description: The power supplies and empty bays.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the supply.
          type: str
          sample: power supply 1
        watts:
          description: What it gives at its present line voltage.
          type: float
          sample: 800.0
        rated_watts:
          description: What its label says.
          type: float
          sample: 800.0
        derated:
          description: Whether RV(power.supplies[].watts) is what the service tells for the line voltage.
          type: bool
          sample: false
        state:
          description: One of V(ok), V(failed), V(unplugged), V(absent), V(unknown).
          type: str
          sample: ok
        hot_plug:
          description: Whether it can be exchanged while the server runs.
          type: bool
          sample: true
        redundancy_group:
          description: Name of its redundancy group.
          type: str
          sample: PowerSupply Redundancy Group 1
        domain:
          description: Part of the server that it feeds, where a server has several.
          type: str
          sample: GPU
        line_volts:
          description: Line voltage; a nominal one where the service does not measure.
          type: float
          sample: 207.0
        model:
          description: Model.
          type: str
          sample: 865438-B21
        serial:
          description: Serial number.
          type: str
          sample: 5WBYE0F4DGX2JS
    redundancy:
      description: The redundancy groups.
      type: list
      elements: dict
      contains:
        name:
          description: Name of the group.
          type: str
          sample: PowerSupply Redundancy Group 1
        members:
          description: Supplies in the group, without empty bays.
          type: int
          sample: 2
        needed:
          description: Supplies with which the group is still redundant.
          type: int
          sample: 2
        mode:
          description: Kind of redundancy.
          type: str
          sample: Failover
        state:
          description: Health of the group.
          type: str
          sample: OK
    refused:
      description: Supplies of which the capacity was not believed; always empty for a BMC.
      type: list
      elements: dict
      sample: []
power_sources:
  description: All sources that tell a capacity, the most trusted first, each with the keys of RV(power).
  returned: success
  type: list
  elements: dict
  sample: []
system:
  description: Id, manufacturer, model and BIOS version of the system.
  returned: success
  type: dict
  sample: {"id": "1", "manufacturer": "HPE", "model": "ProLiant DL380a Gen11", "biosversion": "U58 v2.44 (01/17/2025)"}
service:
  description: Vendor and product of the service.
  returned: success
  type: dict
  sample: {"vendor": "HPE", "product": null}
unavailable:
  description: Why RV(bios) or RV(power) is empty.
  returned: success
  type: dict
  sample: {"power": "no chassis tells the capacity of power supplies"}
error:
  description: Set when the task failed.
  returned: failure
  type: dict
  contains:
    kind:
      description: Class of the error, V(policy) for an option that makes no sense, V(service) when the BMC does not answer as it should.
      type: str
      sample: service
    option:
      description: The option that the error is about.
      type: str
      sample: password
"""

import typing as t

from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.bmc import read
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence.redfish import Redfish
from ansible_collections.gpuops.fleet.plugins.module_utils._module import FleetModule

ARGUMENTS: t.Dict[str, t.Any] = {
    "base_url": {"type": "str", "required": True},
    "username": {"type": "str", "required": True},
    "password": {"type": "str", "required": True, "no_log": True},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
    "timeout_seconds": {"type": "float", "default": 15},
    "system": {"type": "str"},
}
TOTAL_FACTOR = 12


def gather(fleet: FleetModule) -> None:
    """Ask the BMC and end the task."""
    given = dict(fleet.params)
    system = given.pop("system")
    service = Redfish(total_seconds=TOTAL_FACTOR * given["timeout_seconds"], **given)
    try:
        found = read(service, system)
    finally:
        service.close()
    fleet.finish(**found)


def main() -> None:
    """Run the module."""
    FleetModule(ARGUMENTS).run(gather)


if __name__ == "__main__":
    main()
