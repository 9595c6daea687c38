/* The host: driver, CUDA and process names. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lab.h"

EXPORT nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned size) {
    char text[VALUE_SIZE];
    ENTER_SYSTEM;
    TRY(loaded_version(text, sizeof text));
    return put_text(text, version, size);
}

EXPORT nvmlReturn_t nvmlSystemGetNVMLVersion(char *version, unsigned size) {
    char text[VALUE_SIZE];
    ENTER_SYSTEM;
    snprintf(text, sizeof text, "%d.%s", atoi(LAB_VERSION) >= 580 ? 13 : atoi(LAB_VERSION) >= 525 ? 12 : 11, LAB_VERSION);
    return put_text(text, version, size);
}

static nvmlReturn_t cuda(int *version) {
    unsigned long long chosen;
    NEED(version);
    nvmlReturn_t result = state_number("system", "cuda_driver_version", &chosen);
    if (result != OK && result != NOT_SUPPORTED) return result;
    *version = result == OK ? (int)chosen : LAB_CUDA_VERSION;
    return OK;
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion(int *version) {
    ENTER_SYSTEM;
    return cuda(version);
}

EXPORT nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    ENTER_SYSTEM;
    return cuda(version);
}

/* The simulated processes first (attribute processes), then the real ones. */
static int simulated_name(unsigned pid, char *name, size_t size) {
    char text[VALUE_SIZE], *rest = NULL;
    for (unsigned i = 0; i < gpu_count; i++) {
        if (state_text(gpus[i].directory, "processes", text, sizeof text) != OK) continue;
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
            unsigned number;
            int at = 0;
            if (sscanf(line, "%u %*s %*s %n", &number, &at) == 1 && at && number == pid) {
                snprintf(name, size, "%s", line + at);
                return 0;
            }
        }
    }
    return -1;
}

EXPORT nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *name, unsigned size) {
    char link[64], target[VALUE_SIZE];
    ENTER_SYSTEM;
    NEED(name);
    if (!size) return INVALID_ARGUMENT;
    if (simulated_name(pid, target, sizeof target)) {
        snprintf(link, sizeof link, "/proc/%u/exe", pid);
        ssize_t length = readlink(link, target, sizeof target - 1);
        if (length < 0) return NOT_FOUND;
        target[length] = 0;
    }
    snprintf(name, size, "%s", target); /* a long name is cut, as by NVML */
    return OK;
}
