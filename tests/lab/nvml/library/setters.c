/* Settings: they obey the constraints of the board and are written back. */
#include <stdio.h>

#include "lab.h"

static nvmlReturn_t write_number(nvmlDevice_t device, const char *attribute, unsigned long long value, enum lifetime lifetime) {
    char text[32];
    unsigned long long present;
    TRY(state_number(device->directory, attribute, &present)); /* also "error 3": cannot be set either */
    snprintf(text, sizeof text, "%llu", value);
    return state_write(device->directory, attribute, text, lifetime);
}

static nvmlReturn_t write_switch(nvmlDevice_t device, const char *attribute, unsigned value, enum lifetime lifetime) {
    unsigned present;
    if (value > 1) return INVALID_ARGUMENT;
    TRY(get_switch(device, attribute, &present));
    return state_write(device->directory, attribute, value ? "1" : "0", lifetime);
}

EXPORT nvmlReturn_t nvmlDeviceSetPersistenceMode(nvmlDevice_t device, unsigned mode) {
    ENTER(device, LIVE);
    return write_switch(device, "persistence_mode", mode, UNTIL_UNLOAD);
}

EXPORT nvmlReturn_t nvmlDeviceSetPowerManagementLimit(nvmlDevice_t device, unsigned limit) {
    unsigned low, high;
    ENTER(device, LIVE);
    TRY(get_unsigned(device, "power_min_limit_mw", &low));
    TRY(get_unsigned(device, "power_max_limit_mw", &high));
    if (limit < low || limit > high) return INVALID_ARGUMENT;
    return write_number(device, "power_limit_mw", limit, UNTIL_UNLOAD);
}

EXPORT nvmlReturn_t nvmlDeviceSetComputeMode(nvmlDevice_t device, unsigned mode) {
    unsigned present;
    ENTER(device, LIVE);
    if (mode > 3) return INVALID_ARGUMENT;
    if (mode == 1) return NOT_SUPPORTED; /* exclusive thread: gone since CUDA 8 */
    TRY(state_word(device->directory, "compute_mode", compute_mode_words, &present));
    return state_write(device->directory, "compute_mode", compute_mode_words[mode], UNTIL_UNLOAD);
}

/* Takes effect when the GPU is next initialised: pending only. */
EXPORT nvmlReturn_t nvmlDeviceSetEccMode(nvmlDevice_t device, unsigned mode) {
    ENTER(device, LIVE);
    return write_switch(device, "ecc_mode_pending", mode, PERSISTENT);
}

EXPORT nvmlReturn_t nvmlDeviceSetMigMode(nvmlDevice_t device, unsigned mode, nvmlReturn_t *activation) {
    ENTER(device, LIVE);
    NEED(activation);
    *activation = OK;
    return write_switch(device, "mig_mode_pending", mode, PERSISTENT);
}

EXPORT nvmlReturn_t nvmlDeviceSetAccountingMode(nvmlDevice_t device, unsigned mode) {
    ENTER(device, LIVE);
    return write_switch(device, "accounting_mode", mode, UNTIL_UNLOAD);
}

EXPORT nvmlReturn_t nvmlDeviceClearEccErrorCounts(nvmlDevice_t device, unsigned counter) {
    ENTER(device, LIVE);
    if (counter > 1) return INVALID_ARGUMENT;
    TRY(write_number(device, counter ? "ecc_aggregate_corrected" : "ecc_volatile_corrected", 0, PERSISTENT));
    return write_number(device, counter ? "ecc_aggregate_uncorrected" : "ecc_volatile_uncorrected", 0, PERSISTENT);
}

EXPORT nvmlReturn_t nvmlDeviceSetApplicationsClocks(nvmlDevice_t device, unsigned memory_mhz, unsigned graphics_mhz) {
    ENTER(device, LIVE);
    TRY(clocks_allowed(device, memory_mhz, graphics_mhz));
    TRY(write_number(device, "application_clock_memory_mhz", memory_mhz, UNTIL_UNLOAD));
    return write_number(device, "application_clock_graphics_mhz", graphics_mhz, UNTIL_UNLOAD);
}

EXPORT nvmlReturn_t nvmlDeviceResetApplicationsClocks(nvmlDevice_t device) {
    unsigned memory, graphics;
    ENTER(device, LIVE);
    TRY(get_unsigned(device, "default_application_clock_memory_mhz", &memory));
    TRY(get_unsigned(device, "default_application_clock_graphics_mhz", &graphics));
    TRY(write_number(device, "application_clock_memory_mhz", memory, UNTIL_UNLOAD));
    return write_number(device, "application_clock_graphics_mhz", graphics, UNTIL_UNLOAD);
}
