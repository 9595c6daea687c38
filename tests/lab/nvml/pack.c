/* The packed state. The file is a shared library without content (so that ldconfig has nothing to complain about) with the state appended:
 *
 *     "\nLAB-NVML-STATE 1 " length(10 digits) " " checksum(8 hex digits) "\n"  entries
 *
 * Entries are path NUL text NUL. A reader that meets a half-written file sees a wrong checksum and tries again. */
#define _GNU_SOURCE
#include "pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[] = "\nLAB-NVML-STATE 1 ";
#define HEADER_SIZE (sizeof magic - 1 + 10 + 1 + 8 + 1)

struct text {
    char *data;
    size_t size;
};

static uint32_t checksum(const char *data, size_t size) { /* FNV-1a */
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)data[i]) * 16777619u;
    return hash;
}

static int append(struct text *out, const char *data, size_t size) {
    char *grown = realloc(out->data, out->size + size + 1);
    if (!grown) return -1;
    memcpy(grown + out->size, data, size);
    out->data = grown;
    out->size += size;
    out->data[out->size] = 0;
    return 0;
}

static int read_file(int parent, const char *name, struct text *out) {
    char block[4096];
    ssize_t got;
    int fd = openat(parent, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    while ((got = read(fd, block, sizeof block)) > 0)
        if (append(out, block, (size_t)got)) got = -1;
    close(fd);
    return got < 0 ? -1 : 0;
}

static int collect(int parent, const char *name, const char *skip, struct text *out) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int result = 0;
    if (!directory) return errno == ENOENT || errno == ENOTDIR ? 0 : -1;
    while (!result && (entry = readdir(directory))) {
        struct text content = {0};
        char path[520];
        if (entry->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%.255s/%.255s", name, entry->d_name);
        if (skip && !strcmp(path, skip)) continue;
        if (read_file(fd, entry->d_name, &content)) {
            free(content.data);
            continue; /* a directory, or a file that went away */
        }
        result = append(out, path, strlen(path) + 1) || append(out, content.data ? content.data : "", strlen(content.data ? content.data : "") + 1);
        free(content.data);
    }
    closedir(directory);
    return result;
}

static int gather(const char *directory, const char *driver_version, struct text *out) {
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *top = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    int result = 0;
    if (!top) return -1;
    while (!result && (entry = readdir(top)))
        if (entry->d_name[0] != '.') result = collect(fd, entry->d_name, driver_version ? "system/driver_version" : NULL, out);
    closedir(top);
    if (!result && driver_version)
        result = append(out, "system/driver_version", sizeof "system/driver_version") || append(out, driver_version, strlen(driver_version) + 1);
    return result;
}

static ssize_t payload_offset(const struct text *file) {
    char *found = file->data ? memmem(file->data, file->size, magic, sizeof magic - 1) : NULL;
    return found ? found - file->data : -1;
}

int pack_write(const char *file, const char *directory, const char *driver_version) {
    struct text old = {0}, entries = {0}, whole = {0};
    char header[HEADER_SIZE + 32];
    ssize_t offset;
    int fd = -1, result = -1;
    if (directory && gather(directory, driver_version, &entries)) goto out;
    if (read_file(AT_FDCWD, file, &old)) goto out;
    offset = payload_offset(&old);
    if (offset < 0) offset = (ssize_t)old.size;
    if (directory) {
        snprintf(header, sizeof header, "%s%010zu %08x\n", magic, entries.size, checksum(entries.data ? entries.data : "", entries.size));
        if (append(&whole, header, HEADER_SIZE) || (entries.size && append(&whole, entries.data, entries.size))) goto out;
    }
    fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0) goto out;
    if (whole.size && pwrite(fd, whole.data, whole.size, offset) != (ssize_t)whole.size) goto out;
    result = ftruncate(fd, offset + (ssize_t)whole.size);
out:
    if (fd >= 0) close(fd);
    free(old.data);
    free(entries.data);
    free(whole.data);
    return result;
}

char *pack_read(const char *file, size_t *size) {
    for (int attempt = 0; attempt < 200; attempt++) {
        struct text whole = {0};
        ssize_t offset;
        size_t length = 0;
        unsigned sum = 0;
        if (read_file(AT_FDCWD, file, &whole) || (offset = payload_offset(&whole)) < 0) {
            free(whole.data);
            return NULL;
        }
        char *body = whole.data + offset + HEADER_SIZE;
        if (whole.size >= (size_t)offset + HEADER_SIZE && sscanf(whole.data + offset + sizeof magic - 1, "%10zu %8x", &length, &sum) == 2 &&
            whole.size >= (size_t)offset + HEADER_SIZE + length && checksum(body, length) == sum) {
            memmove(whole.data, body, length);
            *size = length;
            return whole.data;
        }
        free(whole.data);
        usleep(5000);
    }
    return NULL;
}

const char *pack_find(const char *entries, size_t size, const char *name) {
    for (size_t at = 0; at < size;) {
        const char *path = entries + at, *text = path + strlen(path) + 1;
        if (!strcmp(path, name)) return text;
        at += strlen(path) + 1 + strlen(text) + 1;
    }
    return NULL;
}

int proc_version(const char *file, char *text, size_t size) {
    struct text content = {0};
    int result = -1;
    if (!read_file(AT_FDCWD, file, &content) && content.data) {
        /* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  …" or "… Open Kernel Module for x86_64  580.95.05  …" */
        char *at = strstr(content.data, "Kernel Module"), *word, *rest = NULL;
        for (word = at ? strtok_r(at, " \t\n", &rest) : NULL; word; word = strtok_r(NULL, " \t\n", &rest))
            if (word[0] >= '0' && word[0] <= '9' && strchr(word, '.')) {
                snprintf(text, size, "%s", word);
                result = 0;
                break;
            }
    }
    free(content.data);
    return result;
}
