/* Attributes: one file each, read afresh at every call, so that a test can change what a running program sees.
 *
 * Text is the value, or "error N" (the NVML code to answer), or "hang S" (sleep S seconds, then answer a time-out), or "hang S VALUE". */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../pack.h"
#include "lab.h"

static char directory_path[PATH_SIZE];
static char packed_path[PATH_SIZE];

int state_is_packed(void) { return !directory_path[0]; }

void state_locate(void) {
    static const char node[] = "/var/lib/lab/nvml";
    const char *chosen = getenv("LAB_NVML_STATE");
    struct stat info;
    Dl_info self;
    directory_path[0] = packed_path[0] = 0;
    if (dladdr((void *)state_locate, &self) && self.dli_fname) {
        char *resolved = realpath(self.dli_fname, NULL), *slash = resolved ? strrchr(resolved, '/') : NULL;
        if (slash && slash - resolved < PATH_SIZE - 64)
            snprintf(packed_path, sizeof packed_path, "%.*s/libnvidia-labstate.so." LAB_VERSION, (int)(slash - resolved), resolved);
        free(resolved);
    }
    if (!chosen || !*chosen) chosen = stat(node, &info) == 0 && S_ISDIR(info.st_mode) ? node : "";
    snprintf(directory_path, sizeof directory_path, "%s", chosen);
}

/* The raw text of one attribute: 0, or -1 when there is none. */
static int read_raw(const char *directory, const char *name, char *text, size_t size) {
    char path[PATH_SIZE + 300];
    if (state_is_packed()) {
        size_t length = 0;
        char *entries = pack_read(packed_path, &length);
        const char *found;
        snprintf(path, sizeof path, "%s/%s", directory, name);
        found = entries ? pack_find(entries, length, path) : NULL;
        if (found) snprintf(text, size, "%s", found);
        free(entries);
        return found ? 0 : -1;
    }
    snprintf(path, sizeof path, "%s/%s/%s", directory_path, directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0) close(fd);
    if (got < 0) return -1;
    text[got] = 0;
    return 0;
}

static void hang(double seconds) { /* as a driver does: a signal that the program handles does not end it */
    struct timespec left = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

nvmlReturn_t state_text(const char *directory, const char *name, char *text, size_t size) {
    int code, consumed = 0;
    double seconds;
    if (read_raw(directory, name, text, size)) return NOT_SUPPORTED;
    for (size_t end = strlen(text); end && strchr(" \t\r\n", text[end - 1]);) text[--end] = 0;
    if (sscanf(text, "hang %lf %n", &seconds, &consumed) == 1) {
        hang(seconds);
        if (!consumed || !text[consumed]) return TIMEOUT;
        memmove(text, text + consumed, strlen(text + consumed) + 1);
    }
    if (sscanf(text, "error %d", &code) == 1) return code;
    return OK;
}

nvmlReturn_t state_number(const char *directory, const char *name, unsigned long long *value) {
    char text[VALUE_SIZE], *end;
    TRY(state_text(directory, name, text, sizeof text));
    *value = strtoull(text, &end, 0);
    return end == text || *end ? UNKNOWN_ERROR : OK;
}

nvmlReturn_t state_word(const char *directory, const char *name, const char *const *words, unsigned *value) {
    char text[VALUE_SIZE], *end;
    TRY(state_text(directory, name, text, sizeof text));
    for (unsigned i = 0; words[i]; i++)
        if (!strcasecmp(text, words[i])) {
            *value = i;
            return OK;
        }
    *value = (unsigned)strtoul(text, &end, 0);
    return end == text || *end ? UNKNOWN_ERROR : OK;
}

/* The value that a setting had when the module was loaded, under at_load/: the driver returns to it at the next load. */
static int remember(const char *directory, const char *name) {
    char text[VALUE_SIZE], path[PATH_SIZE + 300];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s/at_load", directory_path, directory);
    if (mkdir(path, 0755) && errno != EEXIST) return -1;
    snprintf(path, sizeof path, "%s/%s/at_load/%s", directory_path, directory, name);
    if (!stat(path, &info)) return 0;
    if (read_raw(directory, name, text, sizeof text)) return 0;
    FILE *file = fopen(path, "we");
    if (!file) return -1;
    fputs(text, file);
    return fclose(file);
}

static nvmlReturn_t write_error(void) { return errno == EACCES || errno == EPERM || errno == EROFS ? NO_PERMISSION : UNKNOWN_ERROR; }

static nvmlReturn_t pack_again(void) { /* containers follow */
    char version[64];
    size_t length = 0;
    if (access(packed_path, W_OK)) return OK;
    char *entries = pack_read(packed_path, &length);
    free(entries);
    if (!entries || loaded_version(version, sizeof version) != OK) return OK;
    return pack_write(packed_path, directory_path, version) ? UNKNOWN_ERROR : OK;
}

nvmlReturn_t state_write(const char *directory, const char *name, const char *text, enum lifetime lifetime) {
    char path[PATH_SIZE + 300], temporary[PATH_SIZE + 340];
    if (state_is_packed()) return NO_PERMISSION; /* a container has a read-only copy */
    if (lifetime == UNTIL_UNLOAD && remember(directory, name)) return write_error();
    snprintf(path, sizeof path, "%s/%s/%s", directory_path, directory, name);
    snprintf(temporary, sizeof temporary, "%s/%s/.%s.%d", directory_path, directory, name, (int)getpid());
    FILE *file = fopen(temporary, "we");
    if (!file) return write_error();
    fprintf(file, "%s\n", text);
    if (fclose(file) || rename(temporary, path)) {
        unlink(temporary);
        return UNKNOWN_ERROR;
    }
    return pack_again();
}

static void add_minor(const char *name, unsigned *minors, int limit, int *count) {
    unsigned minor;
    int consumed = 0;
    if (sscanf(name, "gpu%u%n", &minor, &consumed) != 1 || (name[consumed] && name[consumed] != '/')) return;
    for (int i = 0; i < *count; i++)
        if (minors[i] == minor) return;
    if (*count < limit) minors[(*count)++] = minor;
}

int state_minors(unsigned *minors, int limit) {
    int count = 0;
    if (state_is_packed()) {
        size_t size = 0;
        char *entries = pack_read(packed_path, &size);
        for (size_t at = 0; entries && at < size;) {
            const char *path = entries + at;
            add_minor(path, minors, limit, &count);
            at += strlen(path) + 1;
            at += strlen(entries + at) + 1;
        }
        free(entries);
        return count;
    }
    DIR *directory = opendir(directory_path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) add_minor(entry->d_name, minors, limit, &count);
    if (directory) closedir(directory);
    return count;
}

int state_exists(void) {
    struct stat info;
    size_t size = 0;
    if (!state_is_packed()) return stat(directory_path, &info) == 0;
    char *entries = pack_read(packed_path, &size);
    free(entries);
    return entries != NULL;
}
