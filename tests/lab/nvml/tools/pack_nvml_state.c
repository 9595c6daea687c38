/* pack-nvml-state: brings the packed state beside the driver libraries up to date.
 *
 *     pack-nvml-state [--state DIR] [--driver-version V] [FILE…]       pack DIR into each file (default: every installed one)
 *     pack-nvml-state --load …      as a module load: pending modes become current, settings that do not outlive a driver return, then pack
 *     pack-nvml-state --unload …    as a module unload: the files hold no state any more
 *
 * The driver version is that of /proc/driver/nvidia/version unless it is given. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../pack.h"

static int copy_value(const char *directory, const char *from, const char *to) {
    char source[600], target[600], text[4096];
    snprintf(source, sizeof source, "%s/%s", directory, from);
    snprintf(target, sizeof target, "%s/%s", directory, to);
    FILE *file = fopen(source, "re");
    if (!file) return errno == ENOENT ? 0 : -1;
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    if (size >= 5 && !memcmp(text, "error", 5)) return 0;
    if (!(file = fopen(target, "we"))) return -1;
    fwrite(text, 1, size, file);
    return fclose(file);
}

static int load_gpu(const char *directory) {
    char at_load[600], name[600];
    if (copy_value(directory, "ecc_mode_pending", "ecc_mode") || copy_value(directory, "mig_mode_pending", "mig_mode")) return -1;
    snprintf(at_load, sizeof at_load, "%s/at_load", directory);
    DIR *saved = opendir(at_load);
    for (struct dirent *entry; saved && (entry = readdir(saved));) {
        if (entry->d_name[0] == '.') continue;
        snprintf(name, sizeof name, "at_load/%s", entry->d_name);
        if (copy_value(directory, name, entry->d_name)) return -1;
        snprintf(name, sizeof name, "%.300s/%.255s", at_load, entry->d_name);
        unlink(name);
    }
    if (saved) closedir(saved);
    return 0;
}

static int load(const char *state) {
    char pattern[600];
    glob_t gpus;
    int result = 0;
    snprintf(pattern, sizeof pattern, "%s/gpu[0-9]*", state);
    if (glob(pattern, 0, NULL, &gpus)) return 0; /* no GPU */
    for (size_t i = 0; i < gpus.gl_pathc && !result; i++) result = load_gpu(gpus.gl_pathv[i]);
    globfree(&gpus);
    return result;
}

int main(int argc, char **argv) {
    const char *state = "/var/lib/lab/nvml", *version = NULL, *patterns[64];
    char found[64];
    int count = 0, loading = 0, unloading = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--state") && i + 1 < argc) state = argv[++i];
        else if (!strcmp(argv[i], "--driver-version") && i + 1 < argc) version = argv[++i];
        else if (!strcmp(argv[i], "--load")) loading = 1;
        else if (!strcmp(argv[i], "--unload")) unloading = 1;
        else if (argv[i][0] == '-' || count == 64) {
            fprintf(stderr, "pack-nvml-state: bad argument %s\n", argv[i]);
            return 2;
        } else patterns[count++] = argv[i];
    }
    if (!count) patterns[count++] = "/usr/lib/*/libnvidia-labstate.so.*";
    if (loading && load(state)) {
        perror(state);
        return 1;
    }
    if (!version && !unloading) {
        if (!proc_version("/proc/driver/nvidia/version", found, sizeof found)) version = found;
        else unloading = 1; /* no module is loaded: containers must not see a GPU */
    }
    for (int i = 0; i < count; i++) {
        glob_t files;
        if (glob(patterns[i], 0, NULL, &files)) {
            if (strchr(patterns[i], '*')) continue; /* no driver installed yet */
            fprintf(stderr, "pack-nvml-state: %s: no such file\n", patterns[i]);
            return 1;
        }
        for (size_t j = 0; j < files.gl_pathc; j++)
            if (pack_write(files.gl_pathv[j], unloading ? NULL : state, version)) {
                perror(files.gl_pathv[j]);
                return 1;
            }
        globfree(&files);
    }
    return 0;
}
