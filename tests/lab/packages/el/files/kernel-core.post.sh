# The newest kernel becomes the one that the boot loader starts.
depmod @KVER@ || :
machine=$(sed -n 's/^saved_entry=\([0-9a-f]*\)-.*/\1/p' /boot/grub2/grubenv)
old=$(ls /boot/loader/entries/*.conf | head -n 1)
sed "s|[^ (]*el9_7.x86_64|@KVER@|; s|vmlinuz-.*|vmlinuz-@KVER@|; s|initramfs-.*|initramfs-@KVER@.img|" "$old" >"/boot/loader/entries/$machine-@KVER@.conf"
sed -i "s|^saved_entry=.*|saved_entry=$machine-@KVER@|" /boot/grub2/grubenv
