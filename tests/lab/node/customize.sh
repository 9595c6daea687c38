#!/bin/sh
# Last step of the node image's build. Usage: customize.sh ROOT KERNEL_RELEASE DOCKER_PACKAGE...
set -eu
root=$1
kernel=$2
shift 2

# Services start in a node as on any machine.
rm -f "$root/usr/sbin/policy-rc.d" "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
: >"$root/etc/machine-id"
[ -z "$(ls "$root/usr/local/share/ca-certificates")" ] || chroot "$root" update-ca-certificates

# A login console and a time service have nothing to work on in a container.
chroot "$root" systemctl --quiet mask getty.target console-getty.service systemd-timesyncd.service systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer

# The kernel is the host's. Its files are what packages and tools look for: a module folder, an image and an initial RAM disk.
mkdir -p "$root/lib/modules/$kernel/kernel" "$root/boot"
: >"$root/lib/modules/$kernel/modules.order"
: >"$root/lib/modules/$kernel/modules.builtin"
: >"$root/boot/vmlinuz-$kernel"
if [ -r /proc/config.gz ]; then zcat /proc/config.gz >"$root/boot/config-$kernel"; fi
chroot "$root" depmod "$kernel"
if [ -x "$root/usr/sbin/update-initramfs" ]; then chroot "$root" update-initramfs -c -k "$kernel"; fi

# Docker comes from the package cache, without a network.
chroot "$root" apt-get clean
DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends --download-only "$@" >/dev/null
