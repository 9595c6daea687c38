dkms remove -m nvidia -v @VERSION@ -q --all --rpm_safe_upgrade || :
