/*
 * What a node's kernel would answer to two system calls, preloaded into every program by /etc/ld.so.preload.
 *
 * uname(2): the release of the kernel that the node seems to have booted, the first line of /etc/lab-kernel-release.
 * statfs(2): the folder of the firmware's variables is an efivarfs; libefivar, and with it mokutil, ask that.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#define VARIABLES "/sys/firmware/efi/efivars"
#define EFIVARFS_MAGIC 0xde5e81e4

int uname(struct utsname *names)
{
    long result = syscall(SYS_uname, names);
    int file = result ? -1 : open("/etc/lab-kernel-release", O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        char line[sizeof names->release] = "";
        ssize_t length = read(file, line, sizeof line - 1);
        close(file);
        line[strcspn(line, "\n")] = 0;
        if (length > 0 && line[0])
            memcpy(names->release, line, sizeof line);
    }
    return (int)result;
}

int statfs(const char *path, struct statfs *answer)
{
    long result = syscall(SYS_statfs, path, answer);
    if (!result && strncmp(path, VARIABLES, strlen(VARIABLES)) == 0)
        answer->f_type = EFIVARFS_MAGIC;
    return (int)result;
}

int statfs64(const char *path, struct statfs64 *answer)
{
    return statfs(path, (struct statfs *)answer);
}
