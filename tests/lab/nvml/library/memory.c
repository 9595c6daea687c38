/* Memory and its health: sizes, BAR1, ECC counters, retired pages, remapped rows. */
#include <stdio.h>
#include <string.h>

#include "lab.h"

static nvmlReturn_t mebibytes(nvmlDevice_t device, const char *attribute, unsigned long long *bytes) {
    unsigned long long mib;
    TRY(state_number(device->directory, attribute, &mib));
    *bytes = mib << 20;
    return OK;
}

static nvmlReturn_t sizes(nvmlDevice_t device, memory_v2_t *memory) {
    unsigned ecc = 1;
    const char *total = "memory_total_mib";
    /* GDDR boards give up memory for ECC; with ECC off they have more */
    if (get_switch(device, "ecc_mode", &ecc) == OK && !ecc && mebibytes(device, "memory_total_ecc_off_mib", &memory->total) == OK)
        total = "memory_total_ecc_off_mib";
    TRY(mebibytes(device, total, &memory->total));
    TRY(mebibytes(device, "memory_used_mib", &memory->used));
    TRY(mebibytes(device, "memory_reserved_mib", &memory->reserved));
    if (memory->used + memory->reserved > memory->total) return UNKNOWN_ERROR;
    memory->free = memory->total - memory->used - memory->reserved;
    return OK;
}

/* The first version counts reserved memory as used. */
EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, memory_t *memory) {
    memory_v2_t all;
    ENTER(device, LIVE);
    NEED(memory);
    TRY(sizes(device, &all));
    memory->total = all.total;
    memory->free = all.free;
    memory->used = all.used + all.reserved;
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, memory_v2_t *memory) {
    ENTER(device, LIVE);
    NEED(memory);
    if (memory->version != STRUCT_VERSION(memory_v2_t, 2)) return ARGUMENT_VERSION_MISMATCH;
    return sizes(device, memory);
}

EXPORT nvmlReturn_t nvmlDeviceGetBAR1MemoryInfo(nvmlDevice_t device, memory_t *bar1) { /* total, free, used */
    ENTER(device, CACHED);
    NEED(bar1);
    TRY(mebibytes(device, "bar1_total_mib", &bar1->total));
    TRY(mebibytes(device, "bar1_used_mib", &bar1->used));
    bar1->free = bar1->total - bar1->used;
    return OK;
}

static nvmlReturn_t ecc_total(nvmlDevice_t device, unsigned error, unsigned counter, unsigned long long *count) {
    char attribute[64];
    unsigned enabled;
    if (error > 1 || counter > 1) return INVALID_ARGUMENT;
    NEED(count);
    TRY(get_switch(device, "ecc_mode", &enabled));
    if (!enabled) return NOT_SUPPORTED;
    snprintf(attribute, sizeof attribute, "ecc_%s_%s", counter ? "aggregate" : "volatile", error ? "uncorrected" : "corrected");
    return state_number(device->directory, attribute, count);
}

EXPORT nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, unsigned error, unsigned counter, unsigned long long *count) {
    ENTER(device, LIVE);
    return ecc_total(device, error, counter, count);
}

/* All errors are those of the device memory, as long as no attribute names another place (ecc_volatile_corrected_sram …). */
static nvmlReturn_t ecc_at(nvmlDevice_t device, unsigned error, unsigned counter, unsigned location, unsigned long long *count) {
    static const char *const places[] = {"l1_cache", "l2_cache", "device_memory", "register_file", "texture_memory", "texture_shared", "cbu", "sram"};
    char attribute[96];
    if (location >= sizeof places / sizeof *places) return INVALID_ARGUMENT;
    TRY(ecc_total(device, error, counter, count));
    snprintf(attribute, sizeof attribute, "ecc_%s_%s_%s", counter ? "aggregate" : "volatile", error ? "uncorrected" : "corrected", places[location]);
    nvmlReturn_t result = state_number(device->directory, attribute, count);
    if (result != NOT_SUPPORTED) return result;
    if (location != 2) *count = 0;
    else return ecc_total(device, error, counter, count);
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetMemoryErrorCounter(nvmlDevice_t device, unsigned error, unsigned counter, unsigned location, unsigned long long *count) {
    ENTER(device, LIVE);
    return ecc_at(device, error, counter, location, count);
}

EXPORT nvmlReturn_t nvmlDeviceGetDetailedEccErrors(nvmlDevice_t device, unsigned error, unsigned counter, ecc_counts_t *counts) {
    ENTER(device, LIVE);
    NEED(counts);
    TRY(ecc_at(device, error, counter, 0, &counts->l1_cache));
    TRY(ecc_at(device, error, counter, 1, &counts->l2_cache));
    TRY(ecc_at(device, error, counter, 2, &counts->device_memory));
    return ecc_at(device, error, counter, 3, &counts->register_file);
}

/* The attribute is the number of pages; their addresses are one page after the other. */
static nvmlReturn_t retired(nvmlDevice_t device, unsigned cause, unsigned *count, unsigned long long *addresses, unsigned long long *timestamps) {
    unsigned pages;
    if (cause > 1) return INVALID_ARGUMENT;
    NEED(count);
    TRY(get_unsigned(device, cause ? "retired_pages_double_bit" : "retired_pages_single_bit", &pages));
    unsigned room = *count;
    *count = pages;
    if (pages && (room < pages || !addresses)) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < pages; i++) {
        addresses[i] = 0x100000ULL + (cause ? 0x1000000ULL : 0) + i * 0x1000ULL;
        if (timestamps) timestamps[i] = 0;
    }
    return OK;
}

EXPORT nvmlReturn_t nvmlDeviceGetRetiredPages(nvmlDevice_t device, unsigned cause, unsigned *count, unsigned long long *addresses) {
    ENTER(device, CACHED);
    return retired(device, cause, count, addresses, NULL);
}

EXPORT nvmlReturn_t nvmlDeviceGetRetiredPages_v2(nvmlDevice_t device, unsigned cause, unsigned *count, unsigned long long *addresses,
                                                 unsigned long long *timestamps) {
    ENTER(device, CACHED);
    return retired(device, cause, count, addresses, timestamps);
}

EXPORT nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *correctable, unsigned *uncorrectable, unsigned *pending, unsigned *failure) {
    ENTER(device, LIVE);
    TRY(get_unsigned(device, "remapped_rows_correctable", correctable));
    TRY(get_unsigned(device, "remapped_rows_uncorrectable", uncorrectable));
    TRY(get_switch(device, "remapped_rows_pending", pending));
    return get_switch(device, "remapped_rows_failure", failure);
}

EXPORT nvmlReturn_t nvmlDeviceGetRowRemapperHistogram(nvmlDevice_t device, row_histogram_t *histogram) { /* banks by rows left for remapping */
    char text[VALUE_SIZE];
    ENTER(device, LIVE);
    NEED(histogram);
    TRY(state_text(device->directory, "remapped_rows_histogram", text, sizeof text));
    return sscanf(text, "%u %u %u %u %u", &histogram->max, &histogram->high, &histogram->partial, &histogram->low, &histogram->none) == 5 ? OK : UNKNOWN_ERROR;
}
