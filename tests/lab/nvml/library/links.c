/* How GPUs hang together: NVLink, fabric, topology. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lab.h"

#define MAX_LINKS 18 /* NVML_NVLINK_MAX_LINKS of drivers 525 to 595 */

/* Attribute "nvlinks": one word a link, 1 active, 0 inactive; none or empty on a board without NVLink */
static nvmlReturn_t link_state(nvmlDevice_t device, unsigned link, unsigned *active, unsigned *count) {
    char text[VALUE_SIZE], *rest = NULL;
    *count = 0;
    TRY(state_text(device->directory, "nvlinks", text, sizeof text));
    if (link >= MAX_LINKS) return INVALID_ARGUMENT;
    nvmlReturn_t result = NOT_SUPPORTED;
    for (char *word = strtok_r(text, " ,\n", &rest); word; word = strtok_r(NULL, " ,\n", &rest))
        if ((*count)++ == link) {
            *active = (unsigned)strtoul(word, NULL, 0);
            result = OK;
        }
    return result;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, unsigned *active) {
    unsigned count;
    ENTER(device, LIVE);
    NEED(active);
    return link_state(device, link, active, &count);
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkVersion(nvmlDevice_t device, unsigned link, unsigned *version) {
    unsigned active, count;
    ENTER(device, LIVE);
    TRY(link_state(device, link, &active, &count));
    return get_unsigned(device, "nvlink_version", version);
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkCapability(nvmlDevice_t device, unsigned link, unsigned capability, unsigned *result) {
    unsigned active, count;
    ENTER(device, LIVE);
    NEED(result);
    if (capability > 5) return INVALID_ARGUMENT;
    TRY(link_state(device, link, &active, &count));
    *result = capability != 4; /* all but an SLI bridge */
    return OK;
}

/* Attribute "nvlink_remotes": one word a link, the bus address of what is at its other end; an inactive link leads nowhere */
static nvmlReturn_t remote_end(nvmlDevice_t device, unsigned link, char *address, size_t size) {
    char text[VALUE_SIZE], *rest = NULL;
    unsigned active, count, at = 0;
    TRY(link_state(device, link, &active, &count));
    if (!active) return NOT_SUPPORTED;
    TRY(state_text(device->directory, "nvlink_remotes", text, sizeof text));
    for (char *word = strtok_r(text, " ,\n", &rest); word; word = strtok_r(NULL, " ,\n", &rest))
        if (at++ == link) return snprintf(address, size, "%s", word) < (int)size ? OK : UNKNOWN_ERROR;
    return NOT_SUPPORTED;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, pci_info_t *info) {
    char address[32];
    unsigned function;
    ENTER(device, LIVE);
    NEED(info);
    TRY(remote_end(device, link, address, sizeof address));
    memset(info, 0, sizeof *info);
    if (sscanf(address, "%x:%x:%x.%x", &info->domain, &info->bus, &info->device, &function) != 4) return UNKNOWN_ERROR;
    snprintf(info->bus_id_legacy, sizeof info->bus_id_legacy, "%04X:%02X:%02X.%X", info->domain & 0xffff, info->bus & 0xff, info->device & 0xff, function & 7);
    snprintf(info->bus_id, sizeof info->bus_id, "%08X:%02X:%02X.%X", info->domain, info->bus & 0xff, info->device & 0xff, function & 7);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned link, unsigned *type) {
    enum { REMOTE_GPU = 0, REMOTE_SWITCH = 2 };
    char address[32];
    ENTER(device, LIVE);
    NEED(type);
    TRY(remote_end(device, link, address, sizeof address));
    *type = REMOTE_SWITCH;
    for (unsigned i = 0; i < gpu_count; i++)
        if (!strcasecmp(gpus[i].bus_address, address)) *type = REMOTE_GPU;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, fabric_info_t *fabric) {
    unsigned state;
    ENTER(device, LIVE);
    NEED(fabric);
    TRY(get_unsigned(device, "fabric_state", &state)); /* 1 not started, 2 in progress, 3 completed */
    memset(fabric, 0, sizeof *fabric);
    fabric->state = (unsigned char)state;
    return OK;
}

static unsigned common_ancestor(nvmlDevice_t a, nvmlDevice_t b) {
    char first[VALUE_SIZE], second[VALUE_SIZE];
    unsigned node_a, node_b;
    if (a == b) return 0; /* the same board */
    if (state_text(a->directory, "upstream", first, sizeof first) == OK && state_text(b->directory, "upstream", second, sizeof second) == OK &&
        !strcmp(first, second))
        return 10; /* one switch between */
    if (get_unsigned(a, "numa_node", &node_a) != OK || get_unsigned(b, "numa_node", &node_b) != OK || node_a == node_b) return 40; /* one NUMA node */
    return 50;
}

EXPORT nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t a, nvmlDevice_t b, unsigned *level) {
    ENTER(a, CACHED);
    ENTER(b, CACHED);
    NEED(level);
    *level = common_ancestor(a, b);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetTopologyNearestGpus(nvmlDevice_t device, unsigned level, unsigned *count, nvmlDevice_t *devices) {
    unsigned found = 0, room;
    ENTER(device, CACHED);
    NEED(count);
    room = *count;
    for (unsigned i = 0; i < gpu_count; i++)
        if (&gpus[i] != device && common_ancestor(device, &gpus[i]) == level) {
            if (devices && found < room) devices[found] = &gpus[i];
            found++;
        }
    *count = found;
    return devices && found > room ? INSUFFICIENT_SIZE : OK;
}

EXPORT nvmlReturn_t nvmlDeviceOnSameBoard(nvmlDevice_t a, nvmlDevice_t b, int *same) {
    ENTER(a, CACHED);
    ENTER(b, CACHED);
    NEED(same);
    *same = a == b;
    return OK;
}

/* Field values: the ids that are an attribute of their own */
static nvmlReturn_t field(nvmlDevice_t device, field_value_t *value) {
    static const struct {
        unsigned id;
        const char *attribute;
    } attributes[] = {
        {1, "ecc_mode"}, {2, "ecc_mode_pending"}, {3, "ecc_volatile_corrected"}, {4, "ecc_volatile_uncorrected"}, {5, "ecc_aggregate_corrected"},
        {6, "ecc_aggregate_uncorrected"}, {29, "retired_pages_single_bit"}, {30, "retired_pages_double_bit"}, {31, "retired_pages_pending"},
        {82, "temperature_memory_c"}, {83, "energy_mj"}, {94, "pcie_replay_counter"}, {142, "remapped_rows_correctable"},
        {143, "remapped_rows_uncorrectable"}, {144, "remapped_rows_pending"}, {145, "remapped_rows_failure"}, {185, "power_usage_mw"},
        {186, "power_usage_mw"}, {187, "power_min_limit_mw"}, {188, "power_max_limit_mw"}, {189, "power_default_limit_mw"}, {190, "power_limit_mw"},
        {192, "power_limit_mw"},
    };
    unsigned ignored = 0, number;
    memset(&value->value, 0, sizeof value->value);
    value->type = VALUE_UNSIGNED;
    if (value->field == 91) { /* number of links */
        link_state(device, 0, &ignored, &value->value.ui);
        return OK;
    }
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++)
        if (attributes[i].id == value->field) {
            nvmlReturn_t result = get_switch(device, attributes[i].attribute, &number);
            if (result == OK) value->value.ull = number;
            return result;
        }
    return NOT_SUPPORTED;
}

EXPORT nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, field_value_t *values) {
    ENTER(device, LIVE);
    NEED(values);
    if (count < 1) return INVALID_ARGUMENT;
    for (int i = 0; i < count; i++) values[i].result = field(device, &values[i]);
    return OK;
}
