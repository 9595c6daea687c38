"""The kernel that boots next, from menus as grub-mkconfig and kernel-install write them."""

from __future__ import annotations

import pytest
from ansible_collections.gpuops.fleet.plugins.module_utils._evidence import boot_entry
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.gpu_machine import write

# What grub-mkconfig writes on Ubuntu 24.04 with two kernels, shortened.
UBUNTU = """
if [ -s $prefix/grubenv ]; then
  set have_grubenv=true
  load_env
fi
if [ "${initrdfail}" = 2 ]; then
   set initrdfail=
fi
if [ "${next_entry}" ] ; then
   set default="${next_entry}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="%s"
fi
function gfxmode {
	set gfxpayload="${1}"
}
menuentry 'Ubuntu' --class ubuntu --class gnu-linux --class os $menuentry_id_option 'gnulinux-simple-2cf0' {
	recordfail
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	linux	/boot/vmlinuz-6.8.0-90-generic root=UUID=2cf0 ro  quiet splash $vt_handoff
	initrd	/boot/initrd.img-6.8.0-90-generic
}
submenu 'Advanced options for Ubuntu' $menuentry_id_option 'gnulinux-advanced-2cf0' {
	menuentry 'Ubuntu, with Linux 6.8.0-90-generic' --class ubuntu $menuentry_id_option 'gnulinux-6.8.0-90-generic-advanced-2cf0' {
		linux	/boot/vmlinuz-6.8.0-90-generic root=UUID=2cf0 ro  quiet splash $vt_handoff
	}
	menuentry 'Ubuntu, with Linux 6.8.0-87-generic' --class ubuntu $menuentry_id_option 'gnulinux-6.8.0-87-generic-advanced-2cf0' {
		if [ x$grub_platform = xxen ]; then
			insmod xzio
		fi
		linux	/boot/vmlinuz-6.8.0-87-generic root=UUID=2cf0 ro  quiet splash $vt_handoff
	}
}
menuentry 'UEFI Firmware Settings' $menuentry_id_option 'uefi-firmware' {
	fwsetup
}
"""
ENV = "# GRUB Environment Block\n%s\n######"


@pytest.mark.parametrize(
    "default, environment, release",
    [
        ("0", "", "6.8.0-90-generic"),
        ("1>1", "", "6.8.0-87-generic"),
        ("1>2", "", None),
        ("1", "", "6.8.0-90-generic"),  # a submenu: its first entry
        ("Ubuntu", "", "6.8.0-90-generic"),
        ("Advanced options for Ubuntu>Ubuntu, with Linux 6.8.0-87-generic", "", "6.8.0-87-generic"),
        ("gnulinux-advanced-2cf0>gnulinux-6.8.0-87-generic-advanced-2cf0", "", "6.8.0-87-generic"),
        ("${saved_entry}", "saved_entry=gnulinux-advanced-2cf0>gnulinux-6.8.0-87-generic-advanced-2cf0", "6.8.0-87-generic"),
        ("${saved_entry}", "", "6.8.0-90-generic"),
        ("0", "next_entry=1>1", "6.8.0-87-generic"),
        ("no such entry", "", None),
        ("2", "", None),  # firmware setup has no kernel
    ],
)
def test_grub(tmp_path, default, environment, release):
    write(tmp_path, "/boot/grub/grub.cfg", UBUNTU % default)
    write(tmp_path, "/boot/grub/grubenv", ENV % environment)
    found, source, reason = boot_entry.read(str(tmp_path))
    assert found == release and bool(reason) == (release is None) and str(tmp_path) not in reason
    assert source == ("/boot/grub/grub.cfg" if release else "")


RHEL = """
set default="${saved_entry}"
insmod blscfg
blscfg
"""
ID = "0a1b-%s"


def bls(root, release, base="/boot", linux="/vmlinuz-%s", extra=""):
    write(root, "%s/loader/entries/0a1b-%s.conf" % (base, release), "title Linux (%s)\nversion %s\nlinux %s\n%s" % (release, release, linux % release, extra))


@pytest.mark.parametrize(
    "saved, release",
    [
        ("0a1b-5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.12.1.el9_6.x86_64"),
        ("", "5.14.0-570.100.1.el9_6.x86_64"),  # the newest: 100 is more than 12
        ("1", "5.14.0-570.12.1.el9_6.x86_64"),
        ("0a1b-gone", None),
    ],
)
def test_grub_with_loader_entries(tmp_path, saved, release):
    write(tmp_path, "/boot/grub2/grub.cfg", RHEL)
    write(tmp_path, "/boot/grub2/grubenv", ENV % ("saved_entry=" + saved))
    for one in ("5.14.0-570.12.1.el9_6.x86_64", "5.14.0-570.100.1.el9_6.x86_64"):
        bls(tmp_path, one)
    assert boot_entry.read(str(tmp_path))[0] == release


@pytest.mark.parametrize(
    "default, efi, release",
    [
        ("default 0a1b-6.1.*", None, "6.1.0-40-amd64"),
        ("# none", None, "6.12.5-amd64"),
        ("default x", "0a1b-6.1.0-40-amd64.conf", "6.1.0-40-amd64"),
        ("default x*", None, None),
    ],
)
@pytest.mark.parametrize("base", ["/boot", "/boot/efi", "/efi"])
def test_systemd_boot(tmp_path, default, efi, release, base):
    write(tmp_path, base + "/loader/loader.conf", "timeout 3\n%s\n" % default)
    for one in ("6.1.0-40-amd64", "6.12.5-amd64"):
        bls(tmp_path, one, base, linux="/0a1b/%s/linux")
    if efi:
        write(tmp_path, boot_entry.LOADER_DEFAULT, b"\x07\0\0\0" + (efi + "\0").encode("utf-16-le"))
    assert boot_entry.read(str(tmp_path))[0] == release


def test_a_link_to_the_newest_kernel(tmp_path):
    write(tmp_path, "/boot/grub/grub.cfg", "menuentry 'Linux' {\nlinux /boot/vmlinuz root=/dev/vda1\n}\n")
    (tmp_path / "boot/vmlinuz").symlink_to("vmlinuz-6.18.44")
    assert boot_entry.read(str(tmp_path))[0] == "6.18.44"
    (tmp_path / "boot/vmlinuz").unlink()
    assert boot_entry.read(str(tmp_path)) == (None, "", "/boot/grub/grub.cfg: /boot/vmlinuz names no kernel release")


def test_no_boot_loader(tmp_path):
    assert boot_entry.read(str(tmp_path)) == (None, "", "/boot/grub/grub.cfg: no such file or directory, and no loader entries")


MENU = """menuentry 'a' {|submenu "b" $menuentry_id_option 'c' {|}|{|linux /vmlinuz-1|set default="1>0"|set default=${x}|menuentry|1>|>>"""
WORDS = st.sampled_from(MENU.split("|"))


@given(st.lists(st.one_of(WORDS, st.text(max_size=40)), max_size=30), st.text(max_size=40))
def test_any_menu_is_survived(lines, environment):
    text = "\n".join(lines)
    name = boot_entry.wanted(text, boot_entry.variables(environment))
    image = boot_entry.chosen(boot_entry.menu(text), name)
    assert image is None or "linu" in image or "Image" in image or "kernel" in image or "vmlinu" in image


@given(st.text(max_size=60), st.text(max_size=60))
def test_versions_of_any_kind_can_be_compared(one, other):
    assert isinstance(sorted([one, other], key=boot_entry._natural), list)
