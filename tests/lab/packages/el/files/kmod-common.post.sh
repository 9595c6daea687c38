# The kernel's arguments keep nouveau away before the root file system is there.
[ $1 -ne 1 ] || grubby --update-kernel=ALL --args="rd.driver.blacklist=nouveau,nova_core modprobe.blacklist=nouveau,nova_core" || :
