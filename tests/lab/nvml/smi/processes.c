/* The processes on a GPU, of every kind. */
#include <string.h>

#include "smi.h"

static int append(nvmlDevice_t device, const char *function, const char *type, struct process *found, int count, int limit) {
    process_t infos[128];
    unsigned number = 128;
    int (*list)(nvmlDevice_t, unsigned *, process_t *) = (int (*)(nvmlDevice_t, unsigned *, process_t *))symbol(function);
    int code = list ? list(device, &number, infos) : FUNCTION_NOT_FOUND;
    if (code == NOT_SUPPORTED || code == FUNCTION_NOT_FOUND) return count;
    if (code) return -code;
    for (unsigned i = 0; i < number && count < limit; i++) {
        int known = -1;
        for (int j = 0; j < count; j++)
            if (found[j].pid == infos[i].pid) known = j;
        if (known >= 0) found[known].type = strcmp(type, "G") ? "M+C" : "C+G";
        else found[count++] = (struct process){infos[i].pid, infos[i].used_memory, type};
    }
    return count;
}

int list_processes(nvmlDevice_t device, struct process *found, int limit) {
    int count = append(device, "nvmlDeviceGetComputeRunningProcesses_v3", "C", found, 0, limit);
    if (count >= 0) count = append(device, "nvmlDeviceGetMPSComputeRunningProcesses_v3", "M+C", found, count, limit);
    if (count >= 0) count = append(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", "G", found, count, limit);
    return count;
}
