/* Counting and finding GPUs, and what identifies one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lab.h"

static nvmlReturn_t give(struct nvml_device *gpu, nvmlDevice_t *device) {
    char text[VALUE_SIZE];
    nvmlReturn_t result = state_text(gpu->directory, "handle", text, sizeof text); /* "error 15": a GPU whose handle cannot be had */
    if (result != OK && result != NOT_SUPPORTED) return result;
    *device = gpu;
    return OK;
}

static nvmlReturn_t count(unsigned *value) {
    NEED(value);
    *value = gpu_count;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *value) {
    ENTER_SYSTEM;
    return count(value);
}

EXPORT nvmlReturn_t nvmlDeviceGetCount(unsigned *value) {
    ENTER_SYSTEM;
    return count(value);
}

static nvmlReturn_t by_index(unsigned index, nvmlDevice_t *device) {
    NEED(device);
    return index < gpu_count ? give(&gpus[index], device) : INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_index(index, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByIndex(unsigned index, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_index(index, device);
}

static nvmlReturn_t by_attribute(const char *attribute, const char *wanted, nvmlDevice_t *device) {
    char text[VALUE_SIZE];
    NEED(wanted);
    NEED(device);
    for (unsigned i = 0; i < gpu_count; i++)
        if (state_text(gpus[i].directory, attribute, text, sizeof text) == OK && !strcmp(text, wanted)) return give(&gpus[i], device);
    return NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_attribute("uuid", uuid, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleBySerial(const char *serial, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_attribute("serial", serial, device);
}

static int parse_bus(const char *text, unsigned *domain, unsigned *bus, unsigned *slot, unsigned *function) {
    *domain = *function = 0;
    if (sscanf(text, "%x:%x:%x.%x", domain, bus, slot, function) == 4) return 0;
    *domain = *function = 0;
    return sscanf(text, "%x:%x.%x", bus, slot, function) == 3 || sscanf(text, "%x:%x:%x", domain, bus, slot) == 3 ? 0 : -1;
}

static nvmlReturn_t by_bus(const char *wanted, nvmlDevice_t *device) {
    unsigned a[4], b[4];
    NEED(wanted);
    NEED(device);
    if (parse_bus(wanted, &a[0], &a[1], &a[2], &a[3])) return INVALID_ARGUMENT;
    for (unsigned i = 0; i < gpu_count; i++)
        if (!parse_bus(gpus[i].bus_address, &b[0], &b[1], &b[2], &b[3]) && !memcmp(a, b, sizeof a)) return give(&gpus[i], device);
    return NOT_FOUND;
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_bus(bus_id, device);
}

EXPORT nvmlReturn_t nvmlDeviceGetHandleByPciBusId(const char *bus_id, nvmlDevice_t *device) {
    ENTER_SYSTEM;
    return by_bus(bus_id, device);
}

/* For nvidia-smi, which names a GPU whose handle it cannot get; the real one asks the driver past NVML's interface. */
EXPORT nvmlReturn_t labBusAddress(unsigned index, char *text, unsigned size) {
    return index < gpu_count ? put_text(gpus[index].bus_address, text, size) : INVALID_ARGUMENT;
}

EXPORT nvmlReturn_t nvmlDeviceGetIndex(nvmlDevice_t device, unsigned *index) {
    ENTER(device, CACHED);
    NEED(index);
    *index = (unsigned)(device - gpus);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t device, unsigned *minor) {
    ENTER(device, CACHED);
    NEED(minor);
    *minor = device->minor;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetBoardId(nvmlDevice_t device, unsigned *board) {
    unsigned domain, bus, slot, function;
    ENTER(device, CACHED);
    NEED(board);
    if (parse_bus(device->bus_address, &domain, &bus, &slot, &function)) return UNKNOWN_ERROR;
    *board = domain << 16 | bus << 8 | slot << 3;
    return OK;
}

static nvmlReturn_t pci_info(nvmlDevice_t device, pci_info_t *info) {
    unsigned function;
    memset(info, 0, sizeof *info);
    if (parse_bus(device->bus_address, &info->domain, &info->bus, &info->device, &function)) return UNKNOWN_ERROR;
    TRY(get_unsigned(device, "pci_device_id", &info->pci_device_id));
    TRY(get_unsigned(device, "pci_subsystem_id", &info->pci_subsystem_id));
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:%02X.%X", info->domain, info->bus & 0xff, info->device & 0x1f, function & 7);
    snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "%04X:%02X:%02X.%X", info->domain & 0xffff, info->bus & 0xff, info->device & 0x1f, function & 7);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, pci_info_t *info) {
    ENTER(device, CACHED);
    NEED(info);
    return pci_info(device, info);
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo_v2(nvmlDevice_t device, void *info) {
    pci_info_t full;
    ENTER(device, CACHED);
    NEED(info);
    TRY(pci_info(device, &full));
    memset((char *)info + offsetof(pci_info_t, bus_id), 0, 16);
    memcpy(info, &full, offsetof(pci_info_t, bus_id));
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfo(nvmlDevice_t device, void *info) {
    pci_info_t full;
    ENTER(device, CACHED);
    NEED(info);
    TRY(pci_info(device, &full));
    memcpy(info, &full, offsetof(pci_info_t, pci_subsystem_id));
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetPciInfoExt(nvmlDevice_t device, pci_info_ext_t *info) {
    pci_info_t full;
    unsigned class_code;
    ENTER(device, CACHED);
    NEED(info);
    if (info->version != STRUCT_VERSION(pci_info_ext_t, 1)) return ARGUMENT_VERSION_MISMATCH;
    TRY(pci_info(device, &full));
    TRY(get_unsigned(device, "pci_class", &class_code));
    info->domain = full.domain;
    info->bus = full.bus;
    info->device = full.device;
    info->pci_device_id = full.pci_device_id;
    info->pci_subsystem_id = full.pci_subsystem_id;
    info->base_class = class_code >> 16;
    info->sub_class = class_code >> 8 & 0xff;
    memcpy(info->bus_id, full.bus_id, sizeof info->bus_id);
    return OK;
}
