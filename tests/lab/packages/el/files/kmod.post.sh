# A failed build does not fail the package: the transaction's result says nothing about the module.
dkms add -m nvidia -v @VERSION@ -q --rpm_safe_upgrade || :
dkms build -m nvidia -v @VERSION@ -q || :
dkms install -m nvidia -v @VERSION@ -q --force || :
