/* Start, end, and what every call passes first: initialised, no fault laid on the function, a handle that exists, a GPU that answers. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab.h"

struct nvml_device gpus[MAX_GPUS];
unsigned gpu_count;
static int users;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int by_bus_address(const void *left, const void *right) {
    return strcmp(((const struct nvml_device *)left)->bus_address, ((const struct nvml_device *)right)->bus_address);
}

static void enumerate(void) {
    unsigned minors[MAX_GPUS];
    int found = state_minors(minors, MAX_GPUS);
    gpu_count = 0;
    for (int i = 0; i < found; i++) {
        struct nvml_device *gpu = &gpus[gpu_count];
        if (!gpu_reachable(minors[i])) continue;
        memset(gpu, 0, sizeof *gpu);
        gpu->minor = minors[i];
        snprintf(gpu->directory, sizeof gpu->directory, "gpu%u", minors[i]);
        char text[VALUE_SIZE];
        if (state_text(gpu->directory, "bus_address", text, sizeof text) != OK) continue; /* not a GPU without one */
        snprintf(gpu->bus_address, sizeof gpu->bus_address, "%.31s", text);
        gpu_count++;
    }
    qsort(gpus, gpu_count, sizeof *gpus, by_bus_address);
}

/* A fault for one function: calls/NAME, with or without the _vN of the symbol. */
static nvmlReturn_t fault(const char *function) {
    char name[128], text[VALUE_SIZE] = "", *suffix;
    nvmlReturn_t result = state_text("calls", function, text, sizeof text);
    snprintf(name, sizeof name, "%s", function);
    if (result == NOT_SUPPORTED && (suffix = strstr(name, "_v"))) {
        *suffix = 0;
        result = state_text("calls", name, text, sizeof text);
    }
    if (result == NOT_SUPPORTED) { /* no such file, or "error 3" in it */
        int code;
        return sscanf(text, "error %d", &code) == 1 ? code : OK;
    }
    return result == TIMEOUT && !strncmp(text, "hang", 4) ? OK : result; /* the call is slow, but ends well */
}

static nvmlReturn_t start(const char *function) {
    char version[VALUE_SIZE];
    state_locate();
    TRY(driver_reachable());
    if (!state_exists()) return DRIVER_NOT_LOADED;
    TRY(fault(function));
    TRY(loaded_version(version, sizeof version));
    if (strcmp(version, LAB_VERSION)) return LIB_RM_VERSION_MISMATCH;
    enumerate();
    return OK;
}

static nvmlReturn_t initialise(const char *function) {
    nvmlReturn_t result = OK;
    pthread_mutex_lock(&lock);
    if (!users) result = start(function);
    if (result == OK) users++;
    pthread_mutex_unlock(&lock);
    return result;
}

EXPORT nvmlReturn_t nvmlInit_v2(void) { return initialise(__func__); }
EXPORT nvmlReturn_t nvmlInit(void) { return initialise(__func__); }
EXPORT nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    return initialise("nvmlInit_v2");
}

EXPORT nvmlReturn_t nvmlShutdown(void) {
    nvmlReturn_t result = UNINITIALIZED;
    pthread_mutex_lock(&lock);
    if (users) {
        users--;
        result = OK;
    }
    pthread_mutex_unlock(&lock);
    return result;
}

nvmlReturn_t enter_system(const char *function) {
    if (!users) return UNINITIALIZED;
    return fault(function);
}

nvmlReturn_t enter_device(const char *function, nvmlDevice_t device, enum source source) {
    unsigned lost = 0;
    TRY(enter_system(function));
    if (device < gpus || device >= gpus + gpu_count) return INVALID_ARGUMENT;
    if (source == LIVE && state_word(device->directory, "lost", switch_words, &lost) == OK && lost) return GPU_IS_LOST;
    return OK;
}

EXPORT const char *nvmlErrorString(nvmlReturn_t code) {
    static const struct {
        nvmlReturn_t code;
        const char *text;
    } texts[] = {
        {0, "Success"}, {1, "Uninitialized"}, {2, "Invalid Argument"}, {3, "Not Supported"}, {4, "Insufficient Permissions"}, {5, "Already Initialized"},
        {6, "Not Found"}, {7, "Insufficient Size"}, {8, "Insufficient External Power"}, {9, "Driver Not Loaded"}, {10, "Timeout"},
        {11, "Interrupt Request Issue"}, {12, "NVML Shared Library Not Found"}, {13, "Function Not Found"}, {14, "Corrupted infoROM"}, {15, "GPU is lost"},
        {16, "GPU requires reset"}, {17, "GPU access blocked by the operating system"}, {18, "Driver/library version mismatch"}, {19, "In use by another client"},
        {20, "Insufficient Memory"}, {21, "No data"}, {23, "Insufficient Resources"}, {25, "Argument version mismatch"}, {26, "Deprecated"}, {27, "Not Ready"},
        {28, "GPU Not Found"}, {29, "Invalid State"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].code == code) return texts[i].text;
    return "Unknown Error";
}
