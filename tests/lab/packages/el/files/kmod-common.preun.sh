[ $1 -ne 0 ] || grubby --update-kernel=ALL --remove-args="rd.driver.blacklist=nouveau,nova_core modprobe.blacklist=nouveau,nova_core" || :
