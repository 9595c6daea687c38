/* A state directory in one file, so that it can be mounted into containers beside the driver libraries. */
#ifndef LAB_PACK_H
#define LAB_PACK_H

#include <stddef.h>

/* Replaces the state in `file`, in place: bind mounts of the file see the new state. `directory` NULL: no state (module not loaded).
 * `driver_version` NULL: as in the directory. Returns 0, or -1 with errno. */
int pack_write(const char *file, const char *directory, const char *driver_version);

/* All entries of `file` as name NUL text NUL pairs, malloc'ed; NULL when it holds no state. Retries while a writer is at work. */
char *pack_read(const char *file, size_t *size);

/* The text of one entry, or NULL. */
const char *pack_find(const char *entries, size_t size, const char *name);

/* The version in a /proc/driver/nvidia/version file: 0, or -1 when there is none. */
int proc_version(const char *file, char *text, size_t size);

#endif
