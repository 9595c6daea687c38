/* What the process can reach. As with the real driver, the device nodes decide: a container sees the GPUs whose nodes it was given and that
 * its device cgroup lets it open. There is no driver behind the nodes here, so an open that gets as far as ENXIO was allowed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../pack.h"
#include "lab.h"

/* NULL: a unit test on a plain host, where nodes are not consulted */
static const char *node_directory(void) {
    const char *chosen = getenv("LAB_NVML_DEV");
    if (chosen && *chosen) return chosen;
    return getenv("LAB_NVML_STATE") ? NULL : "/dev";
}

static int try_open(const char *name) { /* 0 or errno */
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", node_directory(), name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return errno == ENXIO || errno == ENODEV ? 0 : errno;
    close(fd);
    return 0;
}

nvmlReturn_t driver_reachable(void) {
    if (!node_directory()) return OK;
    switch (try_open("nvidiactl")) {
    case 0: return OK;
    case ENOENT: return DRIVER_NOT_LOADED;
    case EACCES: return NO_PERMISSION;
    default: return UNKNOWN_ERROR; /* EPERM: the device cgroup; programs print "Unknown Error" */
    }
}

int gpu_reachable(unsigned minor) {
    char name[32];
    if (!node_directory()) return 1;
    snprintf(name, sizeof name, "nvidia%u", minor);
    return try_open(name) == 0;
}

/* The version of the loaded kernel module. Containers here have a /proc of their own, so they take it from the packed state. */
nvmlReturn_t loaded_version(char *text, size_t size) {
    int plain_host = getenv("LAB_NVML_STATE") != NULL;
    if (plain_host || state_is_packed()) {
        nvmlReturn_t result = state_text("system", "driver_version", text, size);
        if (plain_host && result == NOT_SUPPORTED) {
            snprintf(text, size, "%s", LAB_VERSION);
            return OK;
        }
        return result == NOT_SUPPORTED ? DRIVER_NOT_LOADED : result;
    }
    return proc_version("/proc/driver/nvidia/version", text, size) ? DRIVER_NOT_LOADED : OK;
}
