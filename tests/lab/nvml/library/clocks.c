/* Clocks and temperatures: one attribute for each kind. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lab.h"

static nvmlReturn_t clock_of(nvmlDevice_t device, const char *format, unsigned type, unsigned *mhz) {
    static const char *const names[CLOCK_TYPES] = {"graphics", "sm", "memory", "video"};
    char attribute[64];
    if (type >= CLOCK_TYPES) return INVALID_ARGUMENT;
    snprintf(attribute, sizeof attribute, format, names[type]);
    return get_unsigned(device, attribute, mhz);
}

EXPORT nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, unsigned type, unsigned *mhz) {
    ENTER(device, LIVE);
    return clock_of(device, "clock_%s_mhz", type, mhz);
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxClockInfo(nvmlDevice_t device, unsigned type, unsigned *mhz) {
    ENTER(device, CACHED);
    return clock_of(device, "max_clock_%s_mhz", type, mhz);
}

EXPORT nvmlReturn_t nvmlDeviceGetApplicationsClock(nvmlDevice_t device, unsigned type, unsigned *mhz) {
    ENTER(device, CACHED);
    return clock_of(device, "application_clock_%s_mhz", type, mhz);
}

EXPORT nvmlReturn_t nvmlDeviceGetDefaultApplicationsClock(nvmlDevice_t device, unsigned type, unsigned *mhz) {
    ENTER(device, CACHED);
    return clock_of(device, "default_application_clock_%s_mhz", type, mhz);
}

EXPORT nvmlReturn_t nvmlDeviceGetClock(nvmlDevice_t device, unsigned type, unsigned id, unsigned *mhz) {
    static const char *const formats[] = {"clock_%s_mhz", "application_clock_%s_mhz", "default_application_clock_%s_mhz", "boost_clock_%s_mhz"};
    ENTER(device, LIVE);
    return id < 4 ? clock_of(device, formats[id], type, mhz) : INVALID_ARGUMENT;
}

#define MAX_CLOCKS 256

/* Attribute "supported_clocks": "MEMORY: GRAPHICS…" for each memory clock, separated by semicolons, highest first; GRAPHICS is a number or
 * HIGHEST-LOWEST/STEP. Reads the graphics clocks of `memory`, or the memory clocks when that is 0. */
static nvmlReturn_t supported(nvmlDevice_t device, unsigned memory, unsigned *found, unsigned *count) {
    char text[VALUE_SIZE], *groups = NULL, *words = NULL;
    *count = 0;
    TRY(state_text(device->directory, "supported_clocks", text, sizeof text));
    for (char *group = strtok_r(text, ";", &groups); group; group = strtok_r(NULL, ";", &groups)) {
        unsigned of = (unsigned)strtoul(group, &group, 10), high, low, step;
        if (*group != ':') return UNKNOWN_ERROR;
        if (!memory && *count < MAX_CLOCKS) found[(*count)++] = of;
        if (!memory || of != memory) continue;
        for (char *word = strtok_r(group + 1, " \n", &words); word; word = strtok_r(NULL, " \n", &words)) {
            int parts = sscanf(word, "%u-%u/%u", &high, &low, &step);
            if (parts != 1 && (parts != 3 || !step)) return UNKNOWN_ERROR;
            if (parts == 1) low = high, step = 1;
            for (; high >= low && *count < MAX_CLOCKS; high -= step) found[(*count)++] = high;
        }
        return OK;
    }
    return memory ? NOT_FOUND : OK;
}

static nvmlReturn_t hand_out(const unsigned *found, unsigned available, unsigned *count, unsigned *clocks) {
    unsigned room = *count;
    *count = available;
    if (room < available) return INSUFFICIENT_SIZE;
    NEED(clocks);
    memcpy(clocks, found, available * sizeof *clocks);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedMemoryClocks(nvmlDevice_t device, unsigned *count, unsigned *clocks) {
    unsigned found[MAX_CLOCKS], available;
    ENTER(device, CACHED);
    NEED(count);
    TRY(supported(device, 0, found, &available));
    return hand_out(found, available, count, clocks);
}

EXPORT nvmlReturn_t nvmlDeviceGetSupportedGraphicsClocks(nvmlDevice_t device, unsigned memory, unsigned *count, unsigned *clocks) {
    unsigned found[MAX_CLOCKS], available;
    ENTER(device, CACHED);
    NEED(count);
    TRY(supported(device, memory, found, &available));
    return hand_out(found, available, count, clocks);
}

nvmlReturn_t clocks_allowed(nvmlDevice_t device, unsigned memory, unsigned graphics) {
    unsigned found[MAX_CLOCKS], available;
    nvmlReturn_t result = supported(device, memory, found, &available);
    if (result == NOT_FOUND) return INVALID_ARGUMENT;
    if (result != OK) return result;
    for (unsigned i = 0; i < available; i++)
        if (found[i] == graphics) return OK;
    return INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, unsigned sensor, unsigned *celsius) {
    ENTER(device, LIVE);
    return sensor == 0 ? get_unsigned(device, "temperature_gpu_c", celsius) : INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureV(nvmlDevice_t device, temperature_v1_t *temperature) {
    unsigned celsius;
    ENTER(device, LIVE);
    NEED(temperature);
    if (temperature->version != STRUCT_VERSION(temperature_v1_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    if (temperature->sensor != 0) return INVALID_ARGUMENT;
    TRY(get_unsigned(device, "temperature_gpu_c", &celsius));
    temperature->temperature = (int)celsius;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, unsigned threshold, unsigned *celsius) {
    static const char *const attributes[] = {"temperature_shutdown_c", "temperature_slowdown_c", "temperature_memory_max_c", "temperature_gpu_max_c",
                                             "temperature_target_min_c", "temperature_target_c", "temperature_target_max_c"};
    ENTER(device, CACHED);
    return threshold < sizeof attributes / sizeof *attributes ? get_unsigned(device, attributes[threshold], celsius) : INVALID_ARGUMENT;
}
