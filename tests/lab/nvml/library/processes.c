/* Processes on a GPU: attribute "processes", one line each, "PID TYPE USED_MIB NAME"; TYPE holds C (compute), G (graphics) or M (MPS). */
#include <stdio.h>
#include <string.h>

#include "lab.h"

#define MAX_PROCESSES 128

static nvmlReturn_t list(nvmlDevice_t device, char type, process_t *found, unsigned *count) {
    char text[VALUE_SIZE], *rest = NULL;
    *count = 0;
    nvmlReturn_t result = state_text(device->directory, "processes", text, sizeof text);
    if (result == NOT_SUPPORTED && !strncmp(text, "error", 5)) return result;
    if (result != OK) return result == NOT_SUPPORTED ? OK : result;
    for (char *line = strtok_r(text, "\n", &rest); line && *count < MAX_PROCESSES; line = strtok_r(NULL, "\n", &rest)) {
        char types[16], used[32];
        unsigned long long mib;
        process_t *process = &found[*count];
        if (sscanf(line, "%u %15s %31s", &process->pid, types, used) != 3) return UNKNOWN_ERROR;
        if (!strchr(types, type)) continue;
        process->used_memory = sscanf(used, "%llu", &mib) == 1 ? mib << 20 : NOT_AVAILABLE_MEMORY;
        process->gpu_instance = process->compute_instance = NO_INSTANCE;
        ++*count;
    }
    return OK;
}

static nvmlReturn_t answer(nvmlDevice_t device, char type, unsigned *count, void *infos, int first_version) {
    process_t found[MAX_PROCESSES];
    unsigned number;
    NEED(count);
    TRY(list(device, type, found, &number));
    unsigned room = *count;
    *count = number;
    if (number && (room < number || !infos)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < number; i++)
        if (first_version) ((process_v1_t *)infos)[i] = (process_v1_t){found[i].pid, found[i].used_memory};
        else ((process_t *)infos)[i] = found[i];
    return OK;
}

#define PROCESSES(function, type)                                                                           \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *count, process_v1_t *infos) {               \
        ENTER(device, LIVE);                                                                                \
        return answer(device, type, count, infos, 1);                                                       \
    }                                                                                                       \
    EXPORT nvmlReturn_t function##_v2(nvmlDevice_t device, unsigned *count, process_t *infos) {             \
        ENTER(device, LIVE);                                                                                \
        return answer(device, type, count, infos, 0);                                                       \
    }                                                                                                       \
    EXPORT nvmlReturn_t function##_v3(nvmlDevice_t device, unsigned *count, process_t *infos) {             \
        ENTER(device, LIVE);                                                                                \
        return answer(device, type, count, infos, 0);                                                       \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses, 'C')
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 'G')
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses, 'M')

/* Nothing computes here, so every process has used nothing of the GPU. */
EXPORT nvmlReturn_t nvmlDeviceGetProcessUtilization(nvmlDevice_t device, process_sample_t *samples, unsigned *count, unsigned long long since) {
    process_t found[MAX_PROCESSES];
    unsigned number;
    (void)since;
    ENTER(device, LIVE);
    NEED(count);
    TRY(list(device, 'C', found, &number));
    unsigned room = *count;
    *count = number;
    if (!number) return NOT_FOUND;
    if (room < number || !samples) return INSUFFICIENT_SIZE;
    memset(samples, 0, number * sizeof *samples);
    for (unsigned i = 0; i < number; i++) samples[i].pid = found[i].pid;
    return OK;
}
