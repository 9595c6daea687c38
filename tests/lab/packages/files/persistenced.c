/*
 * Double of nvidia-persistenced: holds the device nodes and sets the persistence mode of every GPU through NVML.
 *
 * Options as the real daemon: --user NAME, --no-persistence-mode, --verbose. Forks to the background once it is ready; SIGTERM ends it and
 * takes persistence mode back, because the real mode lives as long as the daemon holds the devices.
 * Nodes are held with O_PATH: that shows in /proc/PID/fd like an open device (lsof, fuser) but asks nothing of a kernel driver.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <glob.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#define RUN_DIRECTORY "/run/nvidia-persistenced"
#define MODPROBE "/usr/bin/nvidia-modprobe"
#define MAX_GPUS 64

typedef void *device_t;
static int (*nvml_init)(void), (*nvml_shutdown)(void), (*nvml_count)(unsigned *), (*nvml_handle)(unsigned, device_t *), (*nvml_set)(device_t, int);

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    if (!found) {
        syslog(LOG_ERR, "%s", dlerror());
        exit(1);
    }
    return found;
}

static void open_nvml(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) {
        syslog(LOG_ERR, "Failed to load the NVIDIA management library: %s", dlerror());
        exit(1);
    }
    nvml_init = symbol(library, "nvmlInit_v2");
    nvml_shutdown = symbol(library, "nvmlShutdown");
    nvml_count = symbol(library, "nvmlDeviceGetCount_v2");
    nvml_handle = symbol(library, "nvmlDeviceGetHandleByIndex_v2");
    nvml_set = symbol(library, "nvmlDeviceSetPersistenceMode");
}

/* Returns how many GPUs took the mode; -1 when NVML does not answer. One bad GPU does not keep the others from it. */
static int set_persistence(int mode)
{
    unsigned count = 0, done = 0;
    int code = nvml_init();
    if (code || (code = nvml_count(&count))) {
        syslog(LOG_ERR, "Failed to query NVIDIA devices (NVML error %d). Is the NVIDIA kernel driver loaded?", code);
        return -1;
    }
    for (unsigned index = 0; index < count; index++) {
        device_t device;
        if (!(code = nvml_handle(index, &device)) && !(code = nvml_set(device, mode)))
            done++;
        else
            syslog(LOG_ERR, "device %u: failed to set persistence mode %d (NVML error %d)", index, mode, code);
    }
    nvml_shutdown();
    return (int)done;
}

static int hold_devices(void)
{
    glob_t nodes;
    int held = 0;
    if (glob("/dev/nvidia[0-9]*", 0, NULL, &nodes) == 0)
        for (size_t i = 0; i < nodes.gl_pathc; i++)
            held += open(nodes.gl_pathv[i], O_PATH | O_CLOEXEC) >= 0;
    if (held)
        open("/dev/nvidiactl", O_PATH | O_CLOEXEC);
    return held;
}

static void open_socket(const struct passwd *user)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = RUN_DIRECTORY "/socket"};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    mkdir(RUN_DIRECTORY, 0755);
    unlink(address.sun_path);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) {
        syslog(LOG_ERR, "%s: %s", address.sun_path, strerror(errno));
        exit(1);
    }
    chmod(address.sun_path, 0666);
    if (user && (chown(RUN_DIRECTORY, user->pw_uid, user->pw_gid) || chown(address.sun_path, user->pw_uid, user->pw_gid)))
        syslog(LOG_WARNING, "%s: %s", RUN_DIRECTORY, strerror(errno));
}

/* The parent writes the PID file before it ends: systemd reads the file as soon as the parent is gone. */
static void go_to_background(void)
{
    pid_t child = fork();
    if (child < 0) {
        syslog(LOG_ERR, "fork: %s", strerror(errno));
        exit(1);
    }
    if (child > 0) {
        FILE *file = fopen(RUN_DIRECTORY "/nvidia-persistenced.pid", "w");
        if (!file || fprintf(file, "%d\n", child) < 0 || fclose(file)) {
            syslog(LOG_ERR, "%s: %s", RUN_DIRECTORY "/nvidia-persistenced.pid", strerror(errno));
            kill(child, SIGKILL);
            exit(1);
        }
        exit(0);
    }
    setsid();
    if (chdir("/") || !freopen("/dev/null", "r", stdin) || !freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
        syslog(LOG_WARNING, "%s", strerror(errno));
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"user", required_argument, NULL, 'u'},  {"no-persistence-mode", no_argument, NULL, 'n'},
                                            {"persistence-mode", no_argument, NULL, 'p'}, {"uvm-persistence-mode", no_argument, NULL, 'm'},
                                            {"verbose", no_argument, NULL, 'V'},     {NULL, 0, NULL, 0}};
    const struct passwd *user = NULL;
    int persistence = 1, verbose = 0, option, received;
    sigset_t endings;

    openlog("nvidia-persistenced", LOG_PID | LOG_PERROR, LOG_DAEMON);
    while ((option = getopt_long(argc, argv, "u:V", options, NULL)) != -1)
        switch (option) {
        case 'u':
            if (!(user = getpwnam(optarg))) {
                syslog(LOG_ERR, "Failed to find user %s", optarg);
                return 1;
            }
            break;
        case 'n': persistence = 0; break;
        case 'p': persistence = 1; break;
        case 'm': break;
        case 'V': verbose = 1; break;
        default: return 1;
        }

    sigemptyset(&endings);
    sigaddset(&endings, SIGTERM);
    sigaddset(&endings, SIGINT);
    sigprocmask(SIG_BLOCK, &endings, NULL);

    /* Where nvidia-modprobe is installed, the driver's programs load the module with it. */
    if (access("/dev/nvidiactl", F_OK) && access(MODPROBE, X_OK) == 0 && system(MODPROBE))
        syslog(LOG_WARNING, "%s failed", MODPROBE);
    open_nvml();
    if (!hold_devices()) {
        syslog(LOG_ERR, "Failed to query NVIDIA devices. Please ensure that the NVIDIA device files (/dev/nvidia*) exist, and that user 0 has read and write permissions for those files.");
        return 1;
    }
    if (persistence && set_persistence(1) < 0)
        return 1;
    open_socket(user);
    go_to_background();
    /* The saved user id stays root, so that the mode can be taken back at the end. */
    if (user && (setegid(user->pw_gid) || seteuid(user->pw_uid)))
        syslog(LOG_WARNING, "Failed to become user %s: %s", user->pw_name, strerror(errno));
    if (verbose)
        syslog(LOG_NOTICE, "Started (%d), persistence mode %s", getpid(), persistence ? "enabled" : "left as it is");

    sigwait(&endings, &received);
    if (user && (seteuid(0) || setegid(0)))
        syslog(LOG_WARNING, "Failed to become root again: %s", strerror(errno));
    if (persistence)
        set_persistence(0);
    unlink(RUN_DIRECTORY "/socket");
    unlink(RUN_DIRECTORY "/nvidia-persistenced.pid");
    if (verbose)
        syslog(LOG_NOTICE, "Shutdown (%d)", getpid());
    return 0;
}
