/* Settings: -pm, -pl, -c, -e, -ac, -rac. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "smi.h"

static int call_set(const char *name, nvmlDevice_t device, unsigned value) {
    int (*function)(nvmlDevice_t, unsigned) = (int (*)(nvmlDevice_t, unsigned))symbol(name);
    return function ? function(device, value) : FUNCTION_NOT_FOUND;
}

static int stop(int code, const char *what, const char *bus) {
    printf("Unable to set %s for GPU %s: %s\nTerminating early due to previous errors.\n", what, bus, error_text(code));
    return code == UNKNOWN_ERROR ? EXIT_UNKNOWN : code;
}

static int parse_word(const char *text, const char *const *words, unsigned *value) {
    char *end;
    for (unsigned i = 0; words[i]; i++)
        if (!strcasecmp(text, words[i])) {
            *value = i;
            return OK;
        }
    *value = (unsigned)strtoul(text, &end, 10);
    for (unsigned i = 0; words[i]; i++)
        if (end != text && !*end && *value == i) return OK;
    return EXIT_INVALID;
}

static int set_power(const struct selection *all, nvmlDevice_t device, const char *bus, double watts) {
    unsigned long long low = 0, high = 0, before = 0, persistence = 1;
    int code = field_value("power.min_limit", all, device, &low);
    if (!code) code = field_value("power.max_limit", all, device, &high);
    if (!code) code = field_value("power.limit", all, device, &before);
    if (code == NOT_SUPPORTED) {
        printf("Changing power management limit is not supported for GPU: %s.\nTreating as warning and moving on.\n", bus);
        return OK;
    }
    if (code) return stop(code, "power limit", bus);
    if (watts * 1000 < (double)low || watts * 1000 > (double)high) {
        printf("Provided power limit %.2f W is not a valid power limit which should be between %.2f W and %.2f W for GPU %s\n"
               "Terminating early due to previous errors.\n", watts, (double)low / 1000, (double)high / 1000, bus);
        return EXIT_INVALID;
    }
    if ((code = call_set("nvmlDeviceSetPowerManagementLimit", device, (unsigned)(watts * 1000 + 0.5)))) return stop(code, "power limit", bus);
    if (!field_value("persistence_mode", all, device, &persistence) && !persistence)
        printf("Warning: persistence mode is disabled on device %s. See the Known Issues section of the nvidia-smi(1) man page for more information. "
               "Run with [--help | -h] switch to get more information on how to enable persistence mode.\n", bus);
    printf("Power limit for GPU %s was set to %.2f W from %.2f W.\n", bus, watts, (double)before / 1000);
    return OK;
}

static int set_switch(nvmlDevice_t device, const char *bus, const char *function, const char *what, unsigned value) {
    int code = call_set(function, device, value);
    if (code == NOT_SUPPORTED) {
        printf("Setting %s is not supported for GPU %s.\nTreating as warning and moving on.\n", what, bus);
        return OK;
    }
    if (code) return stop(code, what, bus);
    printf("%s %s for GPU %s.\n", value ? "Enabled" : "Disabled", what, bus);
    return OK;
}

static int set_compute(nvmlDevice_t device, const char *bus, unsigned mode) {
    static const char *const names[] = {"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS"};
    int code = call_set("nvmlDeviceSetComputeMode", device, mode);
    if (code) return stop(code, "compute mode", bus);
    printf("Set compute mode to %s for GPU %s.\n", names[mode], bus);
    return OK;
}

/* A refused pair is a warning to nvidia-smi: it ends with 0 and leaves the clocks as they are. */
static int set_clocks(nvmlDevice_t device, const char *bus, unsigned memory, unsigned graphics) {
    int (*function)(nvmlDevice_t, unsigned, unsigned) = (int (*)(nvmlDevice_t, unsigned, unsigned))symbol("nvmlDeviceSetApplicationsClocks");
    int code = function ? function(device, memory, graphics) : FUNCTION_NOT_FOUND;
    if (code == NOT_SUPPORTED) printf("Setting applications clocks is not supported for GPU %s.\nTreating as warning and moving on.\n", bus);
    else if (code == INVALID_ARGUMENT)
        printf("Specified clock combination \"(MEM %u, SM %u)\" is not supported for GPU %s. Run 'nvidia-smi -q -d SUPPORTED_CLOCKS' to see list of "
               "supported clock combinations\nTreating as warning and moving on.\n", memory, graphics, bus);
    else if (code) return stop(code, "applications clocks", bus);
    else printf("Applications clocks set to \"(MEM %u, SM %u)\" for GPU %s\n", memory, graphics, bus);
    return OK;
}

static int reset_clocks(nvmlDevice_t device, const char *bus) {
    int (*function)(nvmlDevice_t) = (int (*)(nvmlDevice_t))symbol("nvmlDeviceResetApplicationsClocks");
    int code = function ? function(device) : FUNCTION_NOT_FOUND;
    if (code == NOT_SUPPORTED) printf("Resetting applications clocks is not supported for GPU %s.\nTreating as warning and moving on.\n", bus);
    else if (code) return stop(code, "applications clocks", bus);
    return OK;
}

int set_option(const struct selection *selection, const char *option, const char *text) {
    static const char *const switches[] = {"0", "1", NULL}, *const modes[] = {"DEFAULT", "EXCLUSIVE_THREAD", "PROHIBITED", "EXCLUSIVE_PROCESS", NULL};
    unsigned value = 0, graphics = 0;
    double watts = 0;
    char *end = NULL, bus[64];
    int code = OK, consumed = 0;
    if (!strcmp(option, "-ac")) {
        if (sscanf(text, "%u,%u%n", &value, &graphics, &consumed) != 2 || text[consumed]) code = EXIT_INVALID;
    } else if (!strcmp(option, "-rac")) {
    } else if (!strcmp(option, "-pl")) {
        watts = strtod(text, &end);
        if (end == text || *end) code = EXIT_INVALID;
    } else code = parse_word(text, !strcmp(option, "-c") ? modes : switches, &value);
    if (code) {
        printf("Invalid argument \"%s\" for option %s. Please run 'nvidia-smi -h' for help.\n", text, option);
        return code;
    }
    for (unsigned i = 0; i < selection->count && !code; i++) {
        nvmlDevice_t device = selection->devices[i];
        field_text(field_find("pci.bus_id"), selection, device, CSV_BARE, bus, sizeof bus);
        if (!strcmp(option, "-pl")) code = set_power(selection, device, bus, watts);
        else if (!strcmp(option, "-pm")) code = set_switch(device, bus, "nvmlDeviceSetPersistenceMode", "persistence mode", value);
        else if (!strcmp(option, "-ac")) code = set_clocks(device, bus, value, graphics);
        else if (!strcmp(option, "-rac")) code = reset_clocks(device, bus);
        else if (!strcmp(option, "-e")) code = set_switch(device, bus, "nvmlDeviceSetEccMode", "ECC support", value);
        else code = set_compute(device, bus, value);
    }
    if (code) return code;
    puts("All done.");
    if (!strcmp(option, "-e")) puts("Reboot required.");
    return OK;
}
