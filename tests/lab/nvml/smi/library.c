/* The NVML library, found at run time as by the real program. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "smi.h"

static void *library;

int library_open(void) {
    library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    return library ? 0 : -1;
}

void *symbol(const char *name) { return dlsym(library, name); }

const char *error_text(int code) {
    const char *(*function)(int) = (const char *(*)(int))symbol("nvmlErrorString");
    return function ? function(code) : "Unknown Error";
}

int call_init(void) {
    int (*function)(void) = (int (*)(void))symbol("nvmlInit_v2");
    return function ? function() : FUNCTION_NOT_FOUND;
}

int call_process_name(unsigned pid, char *name, unsigned size) {
    int (*function)(unsigned, char *, unsigned) = (int (*)(unsigned, char *, unsigned))symbol("nvmlSystemGetProcessName");
    return function ? function(pid, name, size) : FUNCTION_NOT_FOUND;
}

const char *smi_version(void) { return LAB_VERSION; }

int branch(void) { return atoi(LAB_VERSION); }

void system_text(const char *name, char *text, size_t size) {
    int (*function)(char *, unsigned) = (int (*)(char *, unsigned))symbol(name);
    int code = function ? function(text, (unsigned)size) : FUNCTION_NOT_FOUND;
    if (code) snprintf(text, size, "%s", error_text(code));
}

void cuda_text(char *text, size_t size) {
    int (*function)(int *) = (int (*)(int *))symbol("nvmlSystemGetCudaDriverVersion");
    int version = 0, code = function ? function(&version) : FUNCTION_NOT_FOUND;
    if (code) snprintf(text, size, "%s", error_text(code));
    else snprintf(text, size, "%d.%d", version / 1000, version % 1000 / 10);
}

void timestamp_text(char *text, size_t size, const char *format) {
    time_t now = time(NULL);
    struct tm local;
    strftime(text, size, format, localtime_r(&now, &local));
}
