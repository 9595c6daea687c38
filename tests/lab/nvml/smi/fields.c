/* One value of one GPU: which NVML call answers it and how it is written. --query-gpu, -q and -q -x share the table. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fields.h"
#include "smi.h"

struct answer {
    int code;
    unsigned long long number;
    char text[256]; /* used when not empty */
};

const struct field *field_find(const char *key) {
    static const char old[] = "clocks_throttle_reasons.";
    char name[128];
    snprintf(name, sizeof name, "%s", key);
    if (!strncmp(key, old, sizeof old - 1)) snprintf(name, sizeof name, "clocks_event_reasons.%s", key + sizeof old - 1);
    for (size_t i = 0; i < alias_count; i++)
        if (!strcmp(name, field_aliases[i].alias)) snprintf(name, sizeof name, "%s", field_aliases[i].key);
    if (!strcmp(name, "compute_cap") && branch() < 495) return NULL;
    for (size_t i = 0; i < field_count; i++)
        if (!strcmp(name, field_table[i].key)) return &field_table[i];
    return NULL;
}

const char *field_header(const struct field *field, int units, char *text, size_t size) {
    static const char reasons[] = "clocks_event_reasons.";
    int renamed = branch() < 535 && !strncmp(field->key, reasons, sizeof reasons - 1);
    snprintf(text, size, "%s%s%s%s%s", renamed ? "clocks_throttle_reasons." : "", renamed ? field->key + sizeof reasons - 1 : field->key,
             units && field->csv_unit ? " [" : "", units && field->csv_unit ? field->csv_unit : "", units && field->csv_unit ? "]" : "");
    return text;
}

void field_names(void) {
    for (size_t i = 0; i < field_count; i++) printf("\"%s\"\n", field_table[i].key);
}

static void read_pci(nvmlDevice_t device, int member, struct answer *out) {
    pci_info_t pci;
    int (*function)(nvmlDevice_t, pci_info_t *) = (int (*)(nvmlDevice_t, pci_info_t *))symbol(D "GetPciInfo_v3");
    out->code = function ? function(device, &pci) : FUNCTION_NOT_FOUND;
    if (out->code) return;
    const unsigned numbers[] = {0, pci.domain, pci.bus, pci.device, pci.pci_device_id, pci.pci_subsystem_id};
    out->number = numbers[member];
    if (!member) snprintf(out->text, sizeof out->text, "%s", pci.bus_id);
}

static void read_memory(nvmlDevice_t device, int member, struct answer *out) {
    memory_v2_t memory = {.version = STRUCT_VERSION(memory_v2_t, 2)};
    int (*function)(nvmlDevice_t, memory_v2_t *) = (int (*)(nvmlDevice_t, memory_v2_t *))symbol(D "GetMemoryInfo_v2");
    out->code = function ? function(device, &memory) : FUNCTION_NOT_FOUND;
    const unsigned long long sizes[] = {memory.total, memory.reserved, memory.used, memory.free};
    out->number = sizes[member];
}

static void read_bar1(nvmlDevice_t device, int member, struct answer *out) {
    memory_t memory = {0};
    int (*function)(nvmlDevice_t, memory_t *) = (int (*)(nvmlDevice_t, memory_t *))symbol(D "GetBAR1MemoryInfo");
    out->code = function ? function(device, &memory) : FUNCTION_NOT_FOUND;
    out->number = member == 0 ? memory.total : member == 1 ? memory.used : memory.free;
}

static void read_field(nvmlDevice_t device, int id, struct answer *out) {
    field_value_t value = {.field = (unsigned)id};
    int (*function)(nvmlDevice_t, int, field_value_t *) = (int (*)(nvmlDevice_t, int, field_value_t *))symbol(D "GetFieldValues");
    out->code = function ? function(device, 1, &value) : FUNCTION_NOT_FOUND;
    if (!out->code) out->code = value.result;
    out->number = value.value.ull;
}

static void read_answer(const struct field *field, const struct selection *all, nvmlDevice_t device, struct answer *out) {
    void *function = symbol(field->function ? field->function : "nvmlInit_v2");
    unsigned first = 0, second = 0, rows[4] = {0};
    unsigned long long big = 0;
    int major = 0, minor = 0;
    utilization_t use = {0};
    out->code = function ? OK : FUNCTION_NOT_FOUND;
    out->number = 0;
    out->text[0] = 0;
    if (out->code && field->kind != TIME) return;
    switch (field->kind) {
    case TEXT: out->code = ((int (*)(nvmlDevice_t, char *, unsigned))function)(device, out->text, sizeof out->text); break;
    case INFOROM: out->code = ((int (*)(nvmlDevice_t, int, char *, unsigned))function)(device, field->a, out->text, sizeof out->text); break;
    case GSP: out->code = ((int (*)(nvmlDevice_t, char *))function)(device, out->text); break;
    case NUMBER: out->code = ((int (*)(nvmlDevice_t, unsigned *))function)(device, &first), out->number = first; break;
    case LONG: out->code = ((int (*)(nvmlDevice_t, unsigned long long *))function)(device, &big), out->number = big; break;
    case ARGUMENT: out->code = ((int (*)(nvmlDevice_t, int, unsigned *))function)(device, field->a, &first), out->number = first; break;
    case FIRST: out->code = ((int (*)(nvmlDevice_t, unsigned *, unsigned *))function)(device, &first, &second), out->number = first; break;
    case SECOND: out->code = ((int (*)(nvmlDevice_t, unsigned *, unsigned *))function)(device, &first, &second), out->number = second; break;
    case ECC:
        out->code = ((int (*)(nvmlDevice_t, unsigned, unsigned, unsigned long long *))symbol(D "GetTotalEccErrors"))(device, (unsigned)field->a,
                                                                                                                     (unsigned)field->b, &out->number);
        break;
    case ECC_AT:
        out->code = ((int (*)(nvmlDevice_t, unsigned, unsigned, unsigned, unsigned long long *))symbol(D "GetMemoryErrorCounter"))(
            device, (unsigned)field->a, (unsigned)field->b, (unsigned)field->c, &out->number);
        break;
    case MEMORY: read_memory(device, field->a, out); break;
    case BAR1: read_bar1(device, field->a, out); break;
    case UTILIZATION:
        out->code = ((int (*)(nvmlDevice_t, utilization_t *))symbol(D "GetUtilizationRates"))(device, &use);
        out->number = field->a ? use.memory : use.gpu;
        break;
    case PCI: read_pci(device, field->a, out); break;
    case REASON:
        out->code = ((int (*)(nvmlDevice_t, unsigned long long *))symbol(D "GetCurrentClocksThrottleReasons"))(device, &big);
        out->number = (big & (unsigned)field->a) != 0;
        break;
    case FIELD: read_field(device, field->a, out); break;
    case RETIRED:
        out->code = ((int (*)(nvmlDevice_t, unsigned, unsigned *, unsigned long long *))symbol(D "GetRetiredPages"))(device, (unsigned)field->a, &first, NULL);
        if (out->code == INSUFFICIENT_SIZE) out->code = OK;
        out->number = first;
        break;
    case ROWS:
        out->code = ((int (*)(nvmlDevice_t, unsigned *, unsigned *, unsigned *, unsigned *))symbol(D "GetRemappedRows"))(device, &rows[0], &rows[1], &rows[2],
                                                                                                                         &rows[3]);
        out->number = rows[field->a];
        break;
    case CAPABILITY:
        out->code = ((int (*)(nvmlDevice_t, int *, int *))function)(device, &major, &minor);
        snprintf(out->text, sizeof out->text, "%d.%d", major, minor);
        break;
    case COUNT: out->number = all->attached; break;
    case DRIVER: system_text("nvmlSystemGetDriverVersion", out->text, sizeof out->text); break;
    case CUDA: cuda_text(out->text, sizeof out->text); break;
    case TIME:
        out->code = OK;
        timestamp_text(out->text, sizeof out->text, field->function);
        break;
    }
}

static const char *word(unsigned long long number, const char *const *words, size_t count) { return number < count ? words[number] : "Unknown"; }

static void write_number(enum format format, enum style style, unsigned long long number, char *text, size_t size) {
    static const char *const brands[] = {"Unknown", "Quadro", "Tesla", "NVS", "Grid", "GeForce", "Titan", "NVIDIA vApps", "NVIDIA vPC", "NVIDIA vCS",
                                         "NVIDIA vWS", "NVIDIA Cloud Gaming", "Quadro RTX", "NVIDIA RTX", "NVIDIA", "GeForce RTX", "Titan RTX"};
    static const char *const architectures[] = {"Unknown", "Unknown", "Kepler", "Maxwell", "Pascal", "Volta", "Turing", "Ampere", "Ada Lovelace", "Hopper",
                                                "Blackwell"};
    static const char *const modes[] = {"Default", "Exclusive_Thread", "Prohibited", "Exclusive_Process"};
    static const char *const operations[] = {"All On", "Compute", "Low Double Precision"};
    static const char *const virtualizations[] = {"None", "Pass-Through", "VGPU", "Host VGPU", "Host VSGA"};
    const char *prefix = style == XML ? "" : "0x";
    switch (format) {
    case SWITCH: snprintf(text, size, "%s", number ? "Enabled" : "Disabled"); break;
    case YES_NO: snprintf(text, size, "%s", number ? "Yes" : "No"); break;
    case ACTIVE: snprintf(text, size, "%s", number ? "Active" : "Not Active"); break;
    case WATTS: snprintf(text, size, "%.2f", (double)number / 1000); break;
    case PSTATE: snprintf(text, size, "P%llu", number); break;
    case BRAND: snprintf(text, size, "%s", word(number, brands, SIZE(brands))); break;
    case ARCHITECTURE: snprintf(text, size, "%s", word(number, architectures, SIZE(architectures))); break;
    case COMPUTE: snprintf(text, size, "%s", word(number, modes, SIZE(modes))); break;
    case OPERATION: snprintf(text, size, "%s", word(number, operations, SIZE(operations))); break;
    case VIRTUAL: snprintf(text, size, "%s", word(number, virtualizations, SIZE(virtualizations))); break;
    case MASK: snprintf(text, size, "0x%016llx", number); break;
    case BOARD: snprintf(text, size, "0x%llx", number); break;
    case HEX2: snprintf(text, size, "%s%02llX", prefix, number); break;
    case HEX4: snprintf(text, size, "%s%04llX", prefix, number); break;
    case HEX8: snprintf(text, size, "%s%08llX", prefix, number); break;
    case MEBIBYTES: snprintf(text, size, "%llu", number >> 20); break;
    default: snprintf(text, size, "%llu", number);
    }
}

int field_text(const struct field *field, const struct selection *all, nvmlDevice_t device, enum style style, char *text, size_t size) {
    struct answer answer;
    char value[256];
    const char *unit = style == XML ? field->xml_unit : style == CSV ? field->csv_unit : NULL;
    read_answer(field, all, device, &answer);
    if (answer.code) {
        const char *reason = answer.code == NOT_SUPPORTED || answer.code == FUNCTION_NOT_FOUND ? "N/A" : error_text(answer.code);
        snprintf(text, size, style == XML ? "%s" : "[%s]", reason);
        return answer.code;
    }
    if (answer.text[0]) snprintf(value, sizeof value, "%s", answer.text);
    else write_number(field->format, style, answer.number, value, sizeof value);
    snprintf(text, size, "%s%s%s", value, unit && strcmp(unit, "x") ? " " : "", unit ? unit : "");
    return OK;
}

int field_value(const char *key, const struct selection *all, nvmlDevice_t device, unsigned long long *number) {
    struct answer answer;
    read_answer(field_find(key), all, device, &answer);
    *number = answer.number;
    return answer.code;
}
