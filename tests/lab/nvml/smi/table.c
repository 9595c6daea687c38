/* The table that the bare command prints, and -L. */
#include <stdio.h>
#include <string.h>

#include "smi.h"

/* Columns are two characters wider from 550 on. */
static int wide(void) { return branch() >= 550; }

static void line(const char *ends, char fill) { /* e.g. "+++" for a rule that crosses the columns */
    int widths[] = {41, wide() ? 24 : 22, 22};
    putchar(ends[0]);
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < widths[i]; j++) putchar(fill);
        putchar(i < 2 ? ends[1] : ends[2]);
    }
    putchar('\n');
}

static int text_of(const struct selection *all, nvmlDevice_t device, const char *key, char *text, size_t size) {
    return field_text(field_find(key), all, device, CSV_BARE, text, size);
}

static void cell(int code, const char *text, char *out, size_t size, const char *suffix) {
    if (code == NOT_SUPPORTED || code == FUNCTION_NOT_FOUND) snprintf(out, size, "N/A");
    else if (code) snprintf(out, size, "ERR!");
    else snprintf(out, size, "%s%s", text, suffix);
}

static void value(const struct selection *all, nvmlDevice_t device, const char *key, const char *suffix, char *out, size_t size) {
    char text[256];
    int code = text_of(all, device, key, text, sizeof text);
    cell(code, text, out, size, suffix);
}

static void watts(const struct selection *all, nvmlDevice_t device, const char *key, char *out, size_t size) {
    unsigned long long milliwatts;
    char text[32];
    int code = field_value(key, all, device, &milliwatts);
    snprintf(text, sizeof text, "%llu", milliwatts / 1000);
    cell(code, text, out, size, "W");
}

static void on_off(const struct selection *all, nvmlDevice_t device, const char *key, char *out, size_t size) {
    unsigned long long enabled = 0;
    int code = field_value(key, all, device, &enabled);
    cell(code, enabled ? "On" : "Off", out, size, "");
}

static int gpu_rows(const struct selection *all, nvmlDevice_t device) {
    char index[16], name[128], persistence[16], bus[64], display[16], ecc[32], fan[16], temperature[16], state[16], draw[32], limit[32], power[80];
    char memory[80], utilization[32], mode[32], mig[32], text[256];
    unsigned long long enabled = 0, used = 0, total = 0, compute = 0;
    int code, result = OK;
    value(all, device, "index", "", index, sizeof index);
    value(all, device, "name", "", name, sizeof name);
    value(all, device, "pci.bus_id", "", bus, sizeof bus);
    on_off(all, device, "persistence_mode", persistence, sizeof persistence);
    on_off(all, device, "display_active", display, sizeof display);
    if (field_value("ecc.mode.current", all, device, &enabled) == OK && !enabled) snprintf(ecc, sizeof ecc, "Off");
    else value(all, device, "ecc.errors.uncorrected.volatile.total", "", ecc, sizeof ecc);
    value(all, device, "fan.speed", "%", fan, sizeof fan);
    code = text_of(all, device, "temperature.gpu", text, sizeof text);
    if (code && code != NOT_SUPPORTED) result = code;
    cell(code, text, temperature, sizeof temperature, "C");
    value(all, device, "pstate", "", state, sizeof state);
    watts(all, device, "power.draw", draw, sizeof draw);
    watts(all, device, "enforced.power.limit", limit, sizeof limit);
    snprintf(power, sizeof power, wide() ? "%s / %5s" : "%s / %4s", draw, limit);
    code = field_value("memory.used", all, device, &used);
    if (code && code != NOT_SUPPORTED) result = code;
    field_value("memory.total", all, device, &total);
    if (code) snprintf(memory, sizeof memory, "%-*s", wide() ? 22 : 20, code == NOT_SUPPORTED ? "N/A" : error_text(code));
    else snprintf(memory, sizeof memory, wide() ? "%lluMiB / %6lluMiB" : "%lluMiB / %5lluMiB", used >> 20, total >> 20);
    value(all, device, "utilization.gpu", "%", utilization, sizeof utilization);
    code = field_value("compute_mode", all, device, &compute);
    static const char *const short_modes[] = {"Default", "E. Thread", "Prohibited", "E. Process"};
    cell(code, short_modes[compute & 3], mode, sizeof mode, "");
    value(all, device, "mig.mode.current", "", mig, sizeof mig);
    printf("| %3s  %-31.31s%-3s | %s%s %-3s | %20s |\n", index, name, persistence, wide() ? "  " : "", bus, display, ecc);
    printf("| %3s  %4s    %-3s %22s | %*s | %7s %12s |\n", fan, temperature, state, power, wide() ? 22 : 20, memory, utilization, mode);
    printf("|%41s|%*s| %20s |\n", "", wide() ? 24 : 22, "", mig);
    line("+++", '-');
    return result;
}

static int process_rows(const struct selection *all) {
    int rows = 0, name_width = wide() ? 42 : 40;
    for (unsigned i = 0; i < all->count; i++) {
        struct process found[128];
        char index[16], name[512], used[32];
        int count = list_processes(all->devices[i], found, 128);
        if (count < 0) {
            puts("Failed to query device index");
            return -1;
        }
        value(all, all->devices[i], "index", "", index, sizeof index);
        for (int j = 0; j < count; j++, rows++) {
            if (call_process_name(found[j].pid, name, sizeof name)) snprintf(name, sizeof name, "[Not Found]");
            if (found[j].used_memory == NOT_AVAILABLE_MEMORY) snprintf(used, sizeof used, "N/A");
            else snprintf(used, sizeof used, "%lluMiB", found[j].used_memory >> 20);
            printf("| %4s   N/A  N/A  %8u   %4s   %-*.*s %9s |\n", index, found[j].pid, found[j].type, name_width, name_width, name, used);
        }
    }
    return rows;
}

int show_table(const struct selection *selection) {
    char now[64], driver[128], cuda[64];
    int inner = wide() ? 89 : 87, result = OK, rows;
    timestamp_text(now, sizeof now, "%a %b %e %H:%M:%S %Y");
    system_text("nvmlSystemGetDriverVersion", driver, sizeof driver);
    cuda_text(cuda, sizeof cuda);
    printf("%-31s\n", now);
    line("+-+", '-');
    printf("| NVIDIA-SMI %-23sDriver Version: %-*sCUDA Version: %-9s|\n", smi_version(), wide() ? 15 : 13, driver, cuda);
    line("|++", '-');
    printf("| GPU  Name                 Persistence-M | Bus-Id        %sDisp.A | Volatile Uncorr. ECC |\n", wide() ? "  " : "");
    printf("| Fan  Temp   Perf          Pwr:Usage/Cap | %*s | GPU-Util  Compute M. |\n", wide() ? 22 : 20, "Memory-Usage");
    printf("|%41s|%*s|               MIG M. |\n", "", wide() ? 24 : 22, "");
    line("|+|", '=');
    for (unsigned i = 0; i < selection->count; i++) {
        int code = gpu_rows(selection, selection->devices[i]);
        if (code) result = code;
    }
    printf("%89s\n", "");
    line("+-+", '-');
    printf("| %-*s |\n", inner - 2, "Processes:");
    printf("|  GPU   GI   CI        PID   Type   Process name                            %sGPU Memory |\n", wide() ? "  " : "");
    printf("|        ID   ID                                                             %sUsage      |\n", wide() ? "  " : "");
    line("|=|", '=');
    rows = process_rows(selection);
    if (rows < 0) return result ? result : EXIT_UNKNOWN;
    if (!rows) printf("| %-*s |\n", inner - 2, " No running processes found");
    line("+-+", '-');
    for (unsigned i = 0; i < selection->count; i++) {
        char bus[64];
        int (*validate)(nvmlDevice_t) = (int (*)(nvmlDevice_t))symbol("nvmlDeviceValidateInforom");
        if (!validate || validate(selection->devices[i]) != CORRUPTED_INFOROM) continue;
        text_of(selection, selection->devices[i], "pci.bus_id", bus, sizeof bus);
        printf("WARNING: infoROM is corrupted at gpu %s\n", strlen(bus) > 12 ? bus + strlen(bus) - 12 : bus);
        result = CORRUPTED_INFOROM;
    }
    return result;
}

int show_list(const struct selection *selection) {
    for (unsigned i = 0; i < selection->count; i++) {
        char index[64], name[256], uuid[256];
        text_of(selection, selection->devices[i], "index", index, sizeof index);
        text_of(selection, selection->devices[i], "name", name, sizeof name);
        text_of(selection, selection->devices[i], "uuid", uuid, sizeof uuid);
        printf("GPU %s: %s (UUID: %s)\n", index, name, uuid);
    }
    return OK;
}
