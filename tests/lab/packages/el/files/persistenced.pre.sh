getent passwd nvidia-persistenced >/dev/null || useradd -r -d /var/run/nvidia-persistenced -s /sbin/nologin -c "NVIDIA persistent software state" nvidia-persistenced
