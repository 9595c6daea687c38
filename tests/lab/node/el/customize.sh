#!/bin/sh
# Makes a Debian userland pass for Rocky Linux 9. Usage: customize.sh ROOT KERNEL_RELEASE; runs after the customize.sh of all nodes.
set -eu
root=$1
kernel=$2
here=$(dirname "$0")

rm -f "$root/etc/os-release" "$root/usr/lib/os-release" "$root/etc/debian_version" "$root/etc/issue"
cp -a --no-preserve=ownership --remove-destination "$here/root/." "$root/"
ln -sf dnf-3 "$root/usr/bin/yum"
mkdir -p "$root/usr/lib64" "$root/usr/lib/lab"
chroot "$root" ldconfig

# The kernel is the boot loader's default entry.
machine=$(printf '%032d' 9)
mkdir -p "$root/boot/loader/entries" "$root/boot/grub2"
cat >"$root/boot/loader/entries/$machine-$kernel.conf" <<ENTRY
title Rocky Linux ($kernel) 9.7 (Blue Onyx)
version $kernel
linux /boot/vmlinuz-$kernel
initrd /boot/initramfs-$kernel.img
options root=/dev/mapper/system-root ro crashkernel=1G-4G:192M,4G-64G:256M,64G-:512M
ENTRY
printf '# GRUB Environment Block\nsaved_entry=%s\n' "$machine-$kernel" >"$root/boot/grub2/grubenv"

# What is installed, as rpm knows it.
cp "$here"/*.spec "$root/tmp/"
chroot "$root" rpmbuild -bb --quiet -D "_rpmdir /tmp/rpms" /tmp/base.spec
chroot "$root" rpmbuild -bb --quiet -D "_rpmdir /tmp/rpms" -D "kernel ${kernel%.x86_64}" /tmp/kernel-core.spec
chroot "$root" sh -c 'rpm -i --nosignature /tmp/rpms/*/*.rpm' 2>/dev/null
chroot "$root" rpm -q --quiet sim-el-base kernel-core
rm -rf "$root/tmp"/* "$root/root/rpmbuild"

# DKMS becomes visible with its package, from EPEL. The database of Debian's packages would be a second truth.
mkdir -p "$root/usr/lib/lab/programs"
mv "$root/usr/sbin/dkms" "$root/usr/lib/lab/programs/dkms"
mv "$root/var/lib/dpkg" "$root/usr/lib/lab/dpkg"
