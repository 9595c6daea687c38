"""IOMMU groups, as the kernel forms them at boot (Documentation/driver-api/vfio.rst)."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def groups(ports: dict[str, list[str]], access_control: bool) -> Iterator[list[str]]:
    """Yield the members of each group. `ports`: root port → the devices below it.

    With ACS each device is on its own; without it devices below one port can reach each other, and go with the port.
    """
    for port, devices in sorted(ports.items()):
        if access_control:
            yield from ([one] for one in (port, *devices))
        else:
            yield [port, *devices]


def write_groups(ports: dict[str, list[str]], access_control: bool, tree: Path) -> None:
    """Write `tree`/iommu_groups (what becomes /sys/kernel/iommu_groups) and the link of each device below `tree`/devices to its group."""
    folders = {port: tree / f"devices/pci{port[:7]}/{port}" for port in ports}
    folders.update({name: folders[port] / name for port, devices in ports.items() for name in devices})
    for number, members in enumerate(groups(ports, access_control)):
        folder = tree / f"iommu_groups/{number}"
        (folder / "devices").mkdir(parents=True)
        (folder / "type").write_text("DMA\n")
        (folder / "reserved_regions").write_text("0x00000000fee00000 0x00000000feefffff msi\n")
        for name in members:
            below = folders[name].relative_to(tree)
            (folders[name] / "iommu_group").symlink_to(f"{'../' * len(below.parts)}kernel/iommu_groups/{number}")
            (folder / "devices" / name).symlink_to(f"../../../../{below}")
