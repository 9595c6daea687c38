"""What Enterprise Linux itself and EPEL have of what a driver needs: kernels with their development files, and DKMS."""

from __future__ import annotations

from tests.lab.node.image import EL_KERNEL
from tests.lab.packages.el.driver import HERE, RECIPES
from tests.lab.packages.el.rpm import Rpm

# Kernels do not replace each other.
_KEPT = "installonlypkg(kernel)"


def kernel(release: str) -> list[Rpm]:
    """The packages of one kernel, a release such as 5.14.0-611.5.1.el9_7. The one that the node runs lies in its image already."""
    version, _, rest = release.partition("-")
    full, sources = f"{release}.x86_64", f"/usr/src/kernels/{release}.x86_64"
    core = Rpm("kernel-core", version, rest, relations={"provides": [f"kernel-uname-r = {full}", _KEPT]})
    if full != EL_KERNEL:
        core.files.update({f"/lib/modules/{full}/{name}": "" for name in ("modules.order", "modules.builtin")})
        core.files[f"/boot/vmlinuz-{full}"] = ""
        core.scripts["post"] = (HERE / "files/kernel-core.post.sh").read_text().replace("@KVER@", full)
    devel = Rpm("kernel-devel", version, rest, relations={"provides": [f"kernel-devel-uname-r = {full}", _KEPT]})
    devel.files = {
        f"{sources}/include/generated/utsrelease.h": f'#define UTS_RELEASE "{full}"\n',
        f"{sources}/include/config/auto.conf": "CONFIG_MODULES=y\n",
        f"{sources}/include/config/kernel.release": f"{full}\n",
        f"{sources}/.config": "CONFIG_CC_IS_GCC=y\nCONFIG_MODULES=y\n",
        f"{sources}/Makefile": "# The module doubles are built by their own Makefile.\n",
    }
    devel.links = {f"/lib/modules/{full}/build": sources}
    matched = Rpm("kernel-devel-matched", version, rest, relations={"requires": [f"kernel-devel = {release}", f"kernel-core = {release}"]})
    headers = Rpm("kernel-headers", version, rest)
    headers.files = {"/usr/include/linux/lab-version.h": f'#define LAB_KERNEL "{full}"\n'}
    return [core, devel, matched, headers]


def dkms() -> Rpm:
    """DKMS of EPEL; the program is Debian's, which the image keeps aside until this package is installed."""
    package = Rpm("dkms", RECIPES["dkms_version"], "1.el9", relations={"requires": ["gcc", "make", "kmod"]})
    package.links = {"/usr/sbin/dkms": "/usr/lib/lab/programs/dkms"}
    return package
