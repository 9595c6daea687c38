/*
 * Double of nv-fabricmanager: holds the NVSwitches as long as it runs, and works with the driver of its own version alone.
 *
 * Options as the real daemon: -c FILE, -v. Forks to the background once it is ready; SIGTERM ends it. Nodes are held with O_PATH, as
 * nvidia-persistenced does it here: that shows in /proc/PID/fd like an open device but asks nothing of a kernel driver.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#define RUN_DIRECTORY "/run/nvidia-fabricmanager"

static void stop(const char *why)
{
    syslog(LOG_ERR, "%s", why);
    exit(1);
}

static void check_driver(void)
{
    char version[64] = "", why[256];
    FILE *file = fopen("/sys/module/nvidia/version", "re");
    if (!file || fscanf(file, "%63s", version) != 1)
        stop("failed to initialize: the NVIDIA driver is not loaded");
    fclose(file);
    if (strcmp(version, LAB_VERSION)) {
        snprintf(why, sizeof why, "fabric manager NVIDIA GPU driver interface version " LAB_VERSION " don't match with driver version %s. Please update "
                 "with matching NVIDIA driver package.", version);
        stop(why);
    }
}

static int hold_switches(void)
{
    glob_t nodes;
    int held = 0;
    if (glob("/dev/nvidia-nvswitch[0-9]*", 0, NULL, &nodes) == 0)
        for (size_t i = 0; i < nodes.gl_pathc; i++)
            held += open(nodes.gl_pathv[i], O_PATH | O_CLOEXEC) >= 0;
    return held;
}

int main(int argc, char **argv)
{
    const char *configuration = "/usr/share/nvidia/nvswitch/fabricmanager.cfg";
    sigset_t endings;
    int option, received;

    while ((option = getopt(argc, argv, "c:v")) != -1)
        switch (option) {
        case 'c': configuration = optarg; break;
        case 'v': puts("Fabric Manager version is : " LAB_VERSION); return 0;
        default: return 1;
        }
    openlog("nv-fabricmanager", LOG_PID | LOG_PERROR, LOG_DAEMON);
    if (access(configuration, R_OK))
        stop("failed to open the fabric manager config file");
    check_driver();
    if (!hold_switches())
        stop("NV_WARN_NOTHING_TO_DO: no NVSwitch devices");

    sigemptyset(&endings);
    sigaddset(&endings, SIGTERM);
    sigprocmask(SIG_BLOCK, &endings, NULL);
    mkdir(RUN_DIRECTORY, 0755);
    pid_t child = fork();
    if (child < 0)
        stop("fork failed");
    if (child > 0) {
        FILE *file = fopen(RUN_DIRECTORY "/nv-fabricmanager.pid", "we");
        if (!file || fprintf(file, "%d\n", child) < 0 || fclose(file))
            stop("failed to write " RUN_DIRECTORY "/nv-fabricmanager.pid");
        return 0;
    }
    setsid();
    syslog(LOG_NOTICE, "Successfully configured all the available NVSwitches to route GPU NVLink traffic.");
    sigwait(&endings, &received);
    unlink(RUN_DIRECTORY "/nv-fabricmanager.pid");
    return 0;
}
