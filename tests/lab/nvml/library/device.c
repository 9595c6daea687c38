/* Answers that are one attribute. */
#include <stdio.h>
#include <string.h>

#include "lab.h"

#define UNSIGNED(function, attribute, source)                                   \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *value) {        \
        ENTER(device, source);                                                  \
        return get_unsigned(device, attribute, value);                          \
    }
#define SWITCH(function, attribute, source)                                     \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *value) {        \
        ENTER(device, source);                                                  \
        return get_switch(device, attribute, value);                            \
    }
#define NUMBER(function, attribute, source)                                             \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned long long *value) {      \
        ENTER(device, source);                                                          \
        NEED(value);                                                                    \
        return state_number(device->directory, attribute, value);                       \
    }
#define TEXT(function, attribute, source)                                                   \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, char *buffer, unsigned size) {        \
        ENTER(device, source);                                                              \
        return get_text(device, attribute, buffer, size);                                   \
    }
#define SAMPLED(function, attribute)                                                                \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *value, unsigned *period_us) {       \
        ENTER(device, CACHED);                                                                      \
        NEED(period_us);                                                                            \
        *period_us = 167000;                                                                        \
        return get_unsigned(device, attribute, value);                                              \
    }
#define PAIR(function, current_attribute, pending_attribute)                                        \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *current, unsigned *pending) {       \
        ENTER(device, CACHED);                                                                      \
        TRY(get_switch(device, current_attribute, current));                                        \
        return get_switch(device, pending_attribute, pending);                                      \
    }

TEXT(nvmlDeviceGetName, "name", CACHED)
TEXT(nvmlDeviceGetUUID, "uuid", CACHED)
TEXT(nvmlDeviceGetSerial, "serial", CACHED)
TEXT(nvmlDeviceGetBoardPartNumber, "board_part_number", CACHED)
TEXT(nvmlDeviceGetVbiosVersion, "vbios_version", CACHED)
TEXT(nvmlDeviceGetInforomImageVersion, "inforom_image_version", CACHED)

SWITCH(nvmlDeviceGetPersistenceMode, "persistence_mode", CACHED)
SWITCH(nvmlDeviceGetDisplayMode, "display_mode", CACHED)
SWITCH(nvmlDeviceGetDisplayActive, "display_active", CACHED)
SWITCH(nvmlDeviceGetAccountingMode, "accounting_mode", CACHED)
SWITCH(nvmlDeviceGetPowerManagementMode, "power_management_mode", CACHED)
SWITCH(nvmlDeviceGetRetiredPagesPendingStatus, "retired_pages_pending", CACHED)
SWITCH(nvmlDeviceGetMultiGpuBoard, "multi_gpu_board", CACHED)
SWITCH(nvmlDeviceGetDefaultEccMode, "ecc_mode_default", CACHED)
PAIR(nvmlDeviceGetEccMode, "ecc_mode", "ecc_mode_pending")
PAIR(nvmlDeviceGetMigMode, "mig_mode", "mig_mode_pending")
PAIR(nvmlDeviceGetGspFirmwareMode, "gsp_firmware_mode", "gsp_firmware_mode")

UNSIGNED(nvmlDeviceGetModuleId, "module_id", CACHED)
UNSIGNED(nvmlDeviceGetMaxPcieLinkGeneration, "pcie_generation_max", CACHED)
UNSIGNED(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie_generation_gpu_max", CACHED)
UNSIGNED(nvmlDeviceGetMaxPcieLinkWidth, "pcie_width_max", CACHED)
UNSIGNED(nvmlDeviceGetCurrPcieLinkGeneration, "pcie_generation", CACHED)
UNSIGNED(nvmlDeviceGetCurrPcieLinkWidth, "pcie_width", CACHED)
UNSIGNED(nvmlDeviceGetPcieReplayCounter, "pcie_replay_counter", CACHED)
UNSIGNED(nvmlDeviceGetFanSpeed, "fan_speed_percent", CACHED)
UNSIGNED(nvmlDeviceGetNumFans, "fan_count", CACHED)
UNSIGNED(nvmlDeviceGetPerformanceState, "performance_state", CACHED)
UNSIGNED(nvmlDeviceGetPowerState, "performance_state", CACHED)
UNSIGNED(nvmlDeviceGetPowerManagementDefaultLimit, "power_default_limit_mw", CACHED)
UNSIGNED(nvmlDeviceGetPowerManagementLimit, "power_limit_mw", CACHED)
UNSIGNED(nvmlDeviceGetPowerUsage, "power_usage_mw", LIVE)
UNSIGNED(nvmlDeviceGetNumGpuCores, "cuda_cores", CACHED)
UNSIGNED(nvmlDeviceGetMemoryBusWidth, "memory_bus_width", CACHED)
UNSIGNED(nvmlDeviceGetVirtualizationMode, "virtualization_mode", CACHED)
UNSIGNED(nvmlDeviceGetAccountingBufferSize, "accounting_buffer_size", CACHED)
UNSIGNED(nvmlDeviceGetNumaNodeId, "numa_node", CACHED)
NUMBER(nvmlDeviceGetTotalEnergyConsumption, "energy_mj", LIVE)
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, "event_reasons", CACHED)
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, "event_reasons", CACHED)
NUMBER(nvmlDeviceGetSupportedClocksEventReasons, "event_reasons_supported", CACHED)
NUMBER(nvmlDeviceGetSupportedClocksThrottleReasons, "event_reasons_supported", CACHED)
SAMPLED(nvmlDeviceGetEncoderUtilization, "utilization_encoder")
SAMPLED(nvmlDeviceGetDecoderUtilization, "utilization_decoder")
SAMPLED(nvmlDeviceGetJpgUtilization, "utilization_jpeg")
SAMPLED(nvmlDeviceGetOfaUtilization, "utilization_ofa")

EXPORT nvmlReturn_t nvmlDeviceGetComputeMode(nvmlDevice_t device, unsigned *mode) {
    ENTER(device, CACHED);
    NEED(mode);
    return state_word(device->directory, "compute_mode", compute_mode_words, mode);
}

EXPORT nvmlReturn_t nvmlDeviceGetBrand(nvmlDevice_t device, unsigned *brand) {
    static const char *const words[] = {"unknown", "quadro", "tesla", "nvs", "grid", "geforce", "titan", "nvidia vapps", "nvidia vpc", "nvidia vcs",
                                        "nvidia vws", "nvidia cloud gaming", "quadro rtx", "nvidia rtx", "nvidia", "geforce rtx", "titan rtx", NULL};
    ENTER(device, CACHED);
    NEED(brand);
    return state_word(device->directory, "brand", words, brand);
}

EXPORT nvmlReturn_t nvmlDeviceGetArchitecture(nvmlDevice_t device, unsigned *architecture) {
    static const char *const words[] = {"", "", "kepler", "maxwell", "pascal", "volta", "turing", "ampere", "ada", "hopper", "blackwell", NULL};
    ENTER(device, CACHED);
    NEED(architecture);
    return state_word(device->directory, "architecture", words, architecture);
}

EXPORT nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    char text[VALUE_SIZE];
    ENTER(device, CACHED);
    NEED(major);
    NEED(minor);
    TRY(state_text(device->directory, "compute_capability", text, sizeof text));
    return sscanf(text, "%d.%d", major, minor) == 2 ? OK : UNKNOWN_ERROR;
}

EXPORT nvmlReturn_t nvmlDeviceGetInforomVersion(nvmlDevice_t device, int object, char *version, unsigned size) {
    static const char *const attributes[] = {"inforom_oem_version", "inforom_ecc_version", "inforom_power_version"};
    ENTER(device, CACHED);
    if (object < 0 || object > 2) return INVALID_ARGUMENT;
    return get_text(device, attributes[object], version, size);
}

EXPORT nvmlReturn_t nvmlDeviceValidateInforom(nvmlDevice_t device) {
    unsigned valid;
    ENTER(device, LIVE);
    return get_switch(device, "inforom_valid", &valid); /* "error 14": corrupted */
}

EXPORT nvmlReturn_t nvmlDeviceGetGspFirmwareVersion(nvmlDevice_t device, char *version) {
    unsigned enabled;
    ENTER(device, CACHED);
    TRY(get_switch(device, "gsp_firmware_mode", &enabled));
    return enabled ? put_text(LAB_VERSION, version, 64) : NOT_SUPPORTED;
}

/* Limits: what was asked for, and what holds (software may have asked for more than another limiter allows) */
EXPORT nvmlReturn_t nvmlDeviceGetEnforcedPowerLimit(nvmlDevice_t device, unsigned *limit) {
    ENTER(device, CACHED);
    nvmlReturn_t result = get_unsigned(device, "power_enforced_limit_mw", limit);
    return result == NOT_SUPPORTED ? get_unsigned(device, "power_limit_mw", limit) : result;
}

EXPORT nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(nvmlDevice_t device, unsigned *low, unsigned *high) {
    ENTER(device, CACHED);
    TRY(get_unsigned(device, "power_min_limit_mw", low));
    return get_unsigned(device, "power_max_limit_mw", high);
}

EXPORT nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, utilization_t *rates) {
    ENTER(device, LIVE);
    NEED(rates);
    TRY(get_unsigned(device, "utilization_gpu", &rates->gpu));
    return get_unsigned(device, "utilization_memory", &rates->memory);
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuOperationMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    ENTER(device, CACHED);
    TRY(get_unsigned(device, "operation_mode", current));
    return get_unsigned(device, "operation_mode", pending);
}

EXPORT nvmlReturn_t nvmlDeviceGetPcieThroughput(nvmlDevice_t device, int counter, unsigned *kilobytes) {
    ENTER(device, CACHED);
    if (counter != 0 && counter != 1) return INVALID_ARGUMENT;
    return get_unsigned(device, counter ? "pcie_rx_kbps" : "pcie_tx_kbps", kilobytes);
}

/* MIG devices are not simulated: a GPU with MIG switched on has none. */
EXPORT nvmlReturn_t nvmlDeviceIsMigDeviceHandle(nvmlDevice_t device, unsigned *is_mig) {
    ENTER(device, CACHED);
    NEED(is_mig);
    *is_mig = 0;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(nvmlDevice_t device, unsigned *count) {
    unsigned mode;
    ENTER(device, CACHED);
    NEED(count);
    *count = get_switch(device, "mig_mode", &mode) == OK ? 7 : 0;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *mig) {
    unsigned mode;
    ENTER(device, CACHED);
    NEED(mig);
    TRY(get_switch(device, "mig_mode", &mode));
    return index < 7 ? NOT_FOUND : INVALID_ARGUMENT;
}

/* Driver models are a matter of Windows. */
#define NOT_ON_LINUX(function)                                                                      \
    EXPORT nvmlReturn_t function(nvmlDevice_t device, unsigned *current, unsigned *pending) {       \
        ENTER(device, CACHED);                                                                      \
        (void)current;                                                                              \
        (void)pending;                                                                              \
        return NOT_SUPPORTED;                                                                       \
    }
NOT_ON_LINUX(nvmlDeviceGetDriverModel)
NOT_ON_LINUX(nvmlDeviceGetDriverModel_v2)
