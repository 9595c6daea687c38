[ $1 -ne 0 ] || systemctl --quiet disable --now nvidia-persistenced.service || :
