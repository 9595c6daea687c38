/* Clocks and temperatures: one attribute for each kind. */
#include <stdio.h>

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
