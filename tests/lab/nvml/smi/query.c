/* --query-gpu, --query-compute-apps and --query-supported-clocks. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smi.h"

#define MAX_FIELDS 128

struct options {
    int header, units;
};

static int parse_format(const char *format, struct options *options) {
    char copy[128], *rest = NULL;
    int csv = 0;
    *options = (struct options){1, 1};
    snprintf(copy, sizeof copy, "%s", format ? format : "");
    for (char *word = strtok_r(copy, ", ", &rest); word; word = strtok_r(NULL, ", ", &rest))
        if (!strcmp(word, "csv")) csv = 1;
        else if (!strcmp(word, "noheader")) options->header = 0;
        else if (!strcmp(word, "nounits")) options->units = 0;
        else {
            printf("\"%s\" is not a valid format option\n", word);
            return EXIT_INVALID;
        }
    if (!csv) {
        puts("\"--format=\" switch is missing. Only CSV format is supported: --format=csv");
        return EXIT_INVALID;
    }
    return OK;
}

static int invalid_field(const char *name) {
    printf("Field \"%s\" is not a valid field to query.\n\n", name);
    return EXIT_INVALID;
}

int query_gpu(const struct selection *selection, const char *names, const char *format) {
    const struct field *fields[MAX_FIELDS];
    char *copy = strdup(names), *rest = NULL, text[512];
    struct options options;
    int count = 0, code = parse_format(format, &options);
    for (char *name = strtok_r(copy, ", ", &rest); !code && name && count < MAX_FIELDS; name = strtok_r(NULL, ", ", &rest))
        if (!(fields[count++] = field_find(name))) code = invalid_field(name);
    free(copy);
    if (code) return code;
    for (int i = 0; options.header && i < count; i++)
        printf("%s%s", field_header(fields[i], options.units, text, sizeof text), i + 1 < count ? ", " : "\n");
    for (unsigned gpu = 0; gpu < selection->count; gpu++)
        for (int i = 0; i < count; i++) {
            field_text(fields[i], selection, selection->devices[gpu], options.units ? CSV : CSV_BARE, text, sizeof text);
            printf("%s%s", text, i + 1 < count ? ", " : "\n");
        }
    return OK;
}

enum column { GPU_FIELD, PID, NAME, MEMORY };

static const struct app_field {
    const char *name, *header, *gpu_field;
    enum column column;
} app_fields[] = {
    {"timestamp", "timestamp", "timestamp", GPU_FIELD}, {"gpu_name", "gpu_name", "name", GPU_FIELD}, {"gpu_bus_id", "gpu_bus_id", "pci.bus_id", GPU_FIELD},
    {"gpu_serial", "gpu_serial", "serial", GPU_FIELD}, {"gpu_uuid", "gpu_uuid", "uuid", GPU_FIELD}, {"pid", "pid", NULL, PID},
    {"process_name", "process_name", NULL, NAME}, {"name", "process_name", NULL, NAME}, {"used_gpu_memory", "used_gpu_memory [MiB]", NULL, MEMORY},
    {"used_memory", "used_gpu_memory [MiB]", NULL, MEMORY},
};

static const struct app_field *app_field(const char *name) {
    for (size_t i = 0; i < sizeof app_fields / sizeof *app_fields; i++)
        if (!strcmp(name, app_fields[i].name)) return &app_fields[i];
    return NULL;
}

static void app_text(const struct app_field *field, const struct selection *all, nvmlDevice_t device, const struct process *process, int units, char *text,
                     size_t size) {
    switch (field->column) {
    case GPU_FIELD: field_text(field_find(field->gpu_field), all, device, CSV_BARE, text, size); break;
    case PID: snprintf(text, size, "%u", process->pid); break;
    case NAME:
        if (call_process_name(process->pid, text, (unsigned)size)) snprintf(text, size, "[Not Found]");
        break;
    case MEMORY:
        if (process->used_memory == NOT_AVAILABLE_MEMORY) snprintf(text, size, "[N/A]");
        else snprintf(text, size, "%llu%s", process->used_memory >> 20, units ? " MiB" : "");
    }
}

int query_apps(const struct selection *selection, const char *names, const char *format) {
    const struct app_field *fields[16];
    char *copy = strdup(names), *rest = NULL, text[512];
    struct options options;
    int count = 0, code = parse_format(format, &options);
    for (char *name = strtok_r(copy, ", ", &rest); !code && name && count < 16; name = strtok_r(NULL, ", ", &rest))
        if (!(fields[count++] = app_field(name))) code = invalid_field(name);
    free(copy);
    if (code) return code;
    for (int i = 0; options.header && i < count; i++)
        printf("%.*s%s", (int)(options.units ? strlen(fields[i]->header) : strcspn(fields[i]->header, " ")), fields[i]->header, i + 1 < count ? ", " : "\n");
    for (unsigned gpu = 0; gpu < selection->count; gpu++) {
        struct process found[128];
        int processes = list_processes(selection->devices[gpu], found, 128);
        for (int p = 0; p < processes; p++) {
            if (!strchr(found[p].type, 'C')) continue;
            for (int i = 0; i < count; i++) {
                app_text(fields[i], selection, selection->devices[gpu], &found[p], options.units, text, sizeof text);
                printf("%s%s", text, i + 1 < count ? ", " : "\n");
            }
        }
    }
    return OK;
}

#define MAX_CLOCKS 256

/* The column's header; gpu_field is the field that has its value, NULL for a clock. */
static const struct clock_field {
    const char *name, *header, *gpu_field;
    int graphics;
} clock_fields[] = {
    {"timestamp", "timestamp", "timestamp", 0}, {"gpu_name", "gpu_name", "name", 0}, {"gpu_bus_id", "gpu_bus_id", "pci.bus_id", 0},
    {"gpu_serial", "gpu_serial", "serial", 0}, {"gpu_uuid", "gpu_uuid", "uuid", 0}, {"memory", "memory [MHz]", NULL, 0}, {"mem", "memory [MHz]", NULL, 0},
    {"graphics", "graphics [MHz]", NULL, 1}, {"gr", "graphics [MHz]", NULL, 1},
};

static const struct clock_field *clock_field(const char *name) {
    for (size_t i = 0; i < sizeof clock_fields / sizeof *clock_fields; i++)
        if (!strcmp(name, clock_fields[i].name)) return &clock_fields[i];
    return NULL;
}

static void clock_rows(const struct selection *selection, nvmlDevice_t device, const struct clock_field **fields, int count, struct options options) {
    int (*memories)(nvmlDevice_t, unsigned *, unsigned *) = (int (*)(nvmlDevice_t, unsigned *, unsigned *))symbol("nvmlDeviceGetSupportedMemoryClocks");
    int (*graphics)(nvmlDevice_t, unsigned, unsigned *, unsigned *) =
        (int (*)(nvmlDevice_t, unsigned, unsigned *, unsigned *))symbol("nvmlDeviceGetSupportedGraphicsClocks");
    unsigned memory[MAX_CLOCKS], clock[MAX_CLOCKS], memory_count = MAX_CLOCKS, clock_count;
    char text[512];
    if (!memories || !graphics || memories(device, &memory_count, memory)) return;
    for (unsigned m = 0; m < memory_count; m++) {
        clock_count = MAX_CLOCKS;
        if (graphics(device, memory[m], &clock_count, clock)) continue;
        for (unsigned g = 0; g < clock_count; g++)
            for (int i = 0; i < count; i++) {
                if (fields[i]->gpu_field) field_text(field_find(fields[i]->gpu_field), selection, device, CSV_BARE, text, sizeof text);
                else snprintf(text, sizeof text, "%u%s", fields[i]->graphics ? clock[g] : memory[m], options.units ? " MHz" : "");
                printf("%s%s", text, i + 1 < count ? ", " : "\n");
            }
    }
}

int query_clocks(const struct selection *selection, const char *names, const char *format) {
    const struct clock_field *fields[16];
    char *copy = strdup(names), *rest = NULL;
    struct options options;
    int count = 0, code = parse_format(format, &options);
    for (char *name = strtok_r(copy, ", ", &rest); !code && name && count < 16; name = strtok_r(NULL, ", ", &rest))
        if (!(fields[count++] = clock_field(name))) code = invalid_field(name);
    free(copy);
    if (code) return code;
    for (int i = 0; options.header && i < count; i++)
        printf("%.*s%s", (int)(options.units ? strlen(fields[i]->header) : strcspn(fields[i]->header, " ")), fields[i]->header, i + 1 < count ? ", " : "\n");
    for (unsigned gpu = 0; gpu < selection->count; gpu++) clock_rows(selection, selection->devices[gpu], fields, count, options);
    return OK;
}
