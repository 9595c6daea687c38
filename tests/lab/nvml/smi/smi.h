/* What the source files of the nvidia-smi double share. */
#ifndef LAB_SMI_H
#define LAB_SMI_H

#include <stddef.h>

#include "../abi.h"

#define MAX_SELECTED 64

struct selection {
    nvmlDevice_t devices[MAX_SELECTED];
    unsigned count;
    unsigned attached; /* all GPUs of the process, selected or not */
};

/* library.c: the NVML library, found at run time */
int library_open(void);
void *symbol(const char *name);
const char *error_text(int code);
int call_init(void);
int call_process_name(unsigned pid, char *name, unsigned size);
int branch(void); /* 535, 580 …: layouts differ */
const char *smi_version(void);
void system_text(const char *function, char *text, size_t size);
void cuda_text(char *text, size_t size);
void timestamp_text(char *text, size_t size, const char *format);

/* fields.c: one value of one GPU */
enum style { CSV, CSV_BARE, XML };
struct field;
const struct field *field_find(const char *key);
const char *field_header(const struct field *field, int units, char *text, size_t size);
int field_text(const struct field *field, const struct selection *all, nvmlDevice_t device, enum style style, char *text, size_t size);
int field_value(const char *key, const struct selection *all, nvmlDevice_t device, unsigned long long *number);
void field_names(void);

/* what the options ask for; each returns the exit status */
int show_table(const struct selection *selection);
int show_list(const struct selection *selection);
int show_links(const struct selection *selection);
int show_report(const struct selection *selection, int xml);
int query_gpu(const struct selection *selection, const char *fields, const char *format);
int query_apps(const struct selection *selection, const char *fields, const char *format);
int query_clocks(const struct selection *selection, const char *fields, const char *format);
int set_option(const struct selection *selection, const char *option, const char *value);

/* processes.c */
struct process {
    unsigned pid;
    unsigned long long used_memory;
    const char *type;
};
int list_processes(nvmlDevice_t device, struct process *found, int limit); /* their number, or -code */

enum { EXIT_INVALID = 2, EXIT_PERMISSION = 4, EXIT_NOT_FOUND = 6, EXIT_UNKNOWN = 255 };

#endif
