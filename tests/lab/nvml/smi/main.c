/* nvidia-smi for the lab: everything it says comes from libnvidia-ml.so.1, as with the real one. */
#define _GNU_SOURCE
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "smi.h"

struct request {
    const char *ids, *query, *apps, *clocks, *format, *option, *value;
    int list, report, xml, version, help, help_query, links;
};

static int usage(void) {
    puts("nvidia-smi of the simulated GPU server\n\n"
         "    -L | -q [-x] | --query-gpu=FIELDS --format=csv[,noheader][,nounits] | --query-compute-apps=FIELDS --format=…\n"
         "    nvlink -s | -i ID[,ID…] (index, UUID, serial or bus id) | -pm 0|1 | -pl WATTS | -c MODE | -e 0|1 | -ac MEMORY,GRAPHICS | -rac |\n"
         "    --query-supported-clocks=FIELDS --format=… | --help-query-gpu | --version");
    return OK;
}

/* "--name=value", "--name value" or "-n value" */
static int option(int argc, char **argv, int *at, const char *letter, const char *name, const char **value) {
    size_t length = strlen(name);
    if (!strncmp(argv[*at], name, length) && argv[*at][length] == '=') {
        *value = argv[*at] + length + 1;
        return 1;
    }
    if ((!strcmp(argv[*at], letter) || !strcmp(argv[*at], name)) && *at + 1 < argc) {
        *value = argv[++*at];
        return 1;
    }
    return 0;
}

static int parse(int argc, char **argv, struct request *request) {
    static const struct {
        const char *letter, *name;
    } settings[] = {{"-pm", "--persistence-mode"}, {"-pl", "--power-limit"}, {"-c", "--compute-mode"}, {"-e", "--ecc-config"}, {"-ac", "--applications-clocks"}};
    for (int i = 1; i < argc; i++) {
        int known = 0;
        for (size_t j = 0; j < sizeof settings / sizeof *settings && !known; j++)
            if (option(argc, argv, &i, settings[j].letter, settings[j].name, &request->value)) request->option = settings[j].letter, known = 1;
        if (known || option(argc, argv, &i, "-i", "--id", &request->ids) || option(argc, argv, &i, "", "--format", &request->format) ||
            option(argc, argv, &i, "", "--query-gpu", &request->query) || option(argc, argv, &i, "", "--query-compute-apps", &request->apps) ||
            option(argc, argv, &i, "", "--query-supported-clocks", &request->clocks))
            continue;
        if (!strcmp(argv[i], "-L") || !strcmp(argv[i], "--list-gpus")) request->list = 1;
        else if (!strcmp(argv[i], "-q") || !strcmp(argv[i], "--query")) request->report = 1;
        else if (!strcmp(argv[i], "-x") || !strcmp(argv[i], "--xml-format")) request->xml = 1;
        else if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) request->help = 1;
        else if (!strcmp(argv[i], "--help-query-gpu")) request->help_query = 1;
        else if (!strcmp(argv[i], "--version")) request->version = 1;
        else if (!strcmp(argv[i], "-rac") || !strcmp(argv[i], "--reset-applications-clocks")) request->option = "-rac", request->value = "";
        else if (i == 1 && !strcmp(argv[i], "nvlink")) request->links = 1;
        else if (request->links && (!strcmp(argv[i], "-s") || !strcmp(argv[i], "--status"))) request->links = 2;
        else {
            printf("Invalid combination of input arguments. Please run 'nvidia-smi -h' for help.\n");
            return EXIT_INVALID;
        }
    }
    return OK;
}

static int init_failed(int code) {
    char version[128], *last;
    switch (code) {
    case DRIVER_NOT_LOADED:
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. "
             "Make sure that the latest NVIDIA driver is installed and running.\n");
        break;
    case LIB_RM_VERSION_MISMATCH:
        snprintf(version, sizeof version, "%s", smi_version());
        if ((last = strrchr(version, '.')) && last != strchr(version, '.')) *last = 0; /* the real one leaves the last part out */
        printf("Failed to initialize NVML: %s\nNVML library version: %s\n", error_text(code), version);
        break;
    default: printf("Failed to initialize NVML: %s\n", error_text(code));
    }
    return code > 0 && code < 255 ? code : EXIT_UNKNOWN;
}

static int find(const char *id, nvmlDevice_t *device) {
    char *end;
    unsigned long index = strtoul(id, &end, 10);
    if (end != id && !*end && strlen(id) < 4) {
        int (*by_index)(unsigned, nvmlDevice_t *) = (int (*)(unsigned, nvmlDevice_t *))symbol("nvmlDeviceGetHandleByIndex_v2");
        return by_index ? by_index((unsigned)index, device) : FUNCTION_NOT_FOUND;
    }
    const char *name = strchr(id, ':') ? "nvmlDeviceGetHandleByPciBusId_v2" : !strncmp(id, "GPU-", 4) ? "nvmlDeviceGetHandleByUUID" : "nvmlDeviceGetHandleBySerial";
    int (*by_text)(const char *, nvmlDevice_t *) = (int (*)(const char *, nvmlDevice_t *))symbol(name);
    return by_text ? by_text(id, device) : FUNCTION_NOT_FOUND;
}

static int handle_failed(unsigned index, int code) {
    char bus[64] = "";
    int (*address)(unsigned, char *, unsigned) = (int (*)(unsigned, char *, unsigned))symbol("labBusAddress");
    if (address) address(index, bus, sizeof bus);
    for (char *letter = bus; *letter; letter++) *letter = (char)toupper(*letter);
    printf("Unable to determine the device handle for GPU%s%s: %s%s\n", branch() < 535 ? " " : "", bus, error_text(code),
           code == GPU_IS_LOST ? ".  Reboot the system to recover this GPU" : "");
    return code > 0 && code < 255 ? code : EXIT_UNKNOWN;
}

static int select_gpus(const char *ids, struct selection *selection) {
    char copy[1024], *rest = NULL, index[16];
    int (*count)(unsigned *) = (int (*)(unsigned *))symbol("nvmlDeviceGetCount_v2");
    int code = count ? count(&selection->attached) : FUNCTION_NOT_FOUND;
    if (code) {
        printf("Unable to determine the number of GPUs: %s\n", error_text(code));
        return code < 255 ? code : EXIT_UNKNOWN;
    }
    if (!selection->attached) {
        puts("No devices were found");
        return EXIT_NOT_FOUND;
    }
    if (!ids) {
        for (unsigned i = 0; i < selection->attached && i < MAX_SELECTED; i++) {
            snprintf(index, sizeof index, "%u", i);
            if ((code = find(index, &selection->devices[selection->count]))) return handle_failed(i, code);
            selection->count++;
        }
        return OK;
    }
    snprintf(copy, sizeof copy, "%s", ids);
    for (char *id = strtok_r(copy, ",", &rest); id && selection->count < MAX_SELECTED; id = strtok_r(NULL, ",", &rest)) {
        if (find(id, &selection->devices[selection->count])) {
            puts("No devices were found");
            return EXIT_NOT_FOUND;
        }
        selection->count++;
    }
    return OK;
}

static int versions(void) {
    char text[128], cuda[64];
    printf("NVIDIA-SMI version  : %s\n", smi_version());
    system_text("nvmlSystemGetNVMLVersion", text, sizeof text);
    printf("NVML version        : %s\n", strchr(text, '.') ? strchr(text, '.') + 1 : text);
    system_text("nvmlSystemGetDriverVersion", text, sizeof text);
    cuda_text(cuda, sizeof cuda);
    printf("DRIVER version      : %s\nCUDA Version        : %s\n", text, cuda);
    return OK;
}

int main(int argc, char **argv) {
    struct request request = {0};
    struct selection selection = {0};
    int code = parse(argc, argv, &request);
    if (code) return code;
    if (request.help) return usage();
    if (request.help_query) {
        field_names();
        return OK;
    }
    if (library_open()) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display Driver is properly installed and "
             "present in your system.\nPlease also try adding directory that contains libnvidia-ml.so to your system PATH.");
        return LIBRARY_NOT_FOUND;
    }
    if ((code = call_init())) return init_failed(code);
    if (request.version) return versions();
    if ((code = select_gpus(request.ids, &selection))) return code;
    if (request.option) return set_option(&selection, request.option, request.value);
    if (request.query) return query_gpu(&selection, request.query, request.format);
    if (request.apps) return query_apps(&selection, request.apps, request.format);
    if (request.clocks) return query_clocks(&selection, request.clocks, request.format);
    if (request.links == 2) return show_links(&selection);
    if (request.list) return show_list(&selection);
    if (request.report || request.xml) return show_report(&selection, request.xml);
    return show_table(&selection);
}
