"""What a node says it is: release files, and the package sources that such a machine would have."""
from __future__ import annotations

from dataclasses import dataclass, field

_UBUNTU = {
    "etc/os-release": (
        'PRETTY_NAME="Ubuntu 24.04.3 LTS"\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION="24.04.3 LTS (Noble Numbat)"\n'
        "VERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n"
        'HOME_URL="https://www.ubuntu.com/"\nSUPPORT_URL="https://help.ubuntu.com/"\n'
        "UBUNTU_CODENAME=noble\nLOGO=ubuntu-logo\n"
    ),
    "etc/lsb-release": 'DISTRIB_ID=Ubuntu\nDISTRIB_RELEASE=24.04\nDISTRIB_CODENAME=noble\nDISTRIB_DESCRIPTION="Ubuntu 24.04.3 LTS"\n',
    "etc/debian_version": "trixie/sid\n",
    "etc/issue": "Ubuntu 24.04.3 LTS \\n \\l\n\n",
    "etc/dpkg/origins/ubuntu": "Vendor: Ubuntu\nVendor-URL: https://www.ubuntu.com/\nBugs: https://bugs.launchpad.net/ubuntu/+filebug\nParent: Debian\n",
}
_UBUNTU_SOURCES = """\
Types: deb
URIs: http://mirror.lab/ubuntu
Suites: noble
Components: main restricted universe multiverse
Signed-By: /usr/share/keyrings/ubuntu-archive-keyring.asc
"""


@dataclass(frozen=True)
class Identity:
    """Files and links laid over a userland (a name of image.RECIPES); `keys` are files that the mirror serves and where they go."""

    userland: str
    files: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)


IDENTITIES = {
    "debian-12": Identity("bookworm"),
    "debian-13": Identity("trixie"),
    "ubuntu-24.04": Identity(
        "trixie",
        {**_UBUNTU, "etc/apt/sources.list.d/ubuntu.sources": _UBUNTU_SOURCES},
        {"usr/lib/os-release": "../../etc/os-release", "etc/dpkg/origins/default": "ubuntu"},
        {"keys/ubuntu.asc": "usr/share/keyrings/ubuntu-archive-keyring.asc"},
    ),
    "rocky-9": Identity(
        "el9",
        keys={"el9/keys/rocky.asc": "etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky-9", "el9/keys/epel.asc": "etc/pki/rpm-gpg/RPM-GPG-KEY-EPEL-9"},
    ),
}
