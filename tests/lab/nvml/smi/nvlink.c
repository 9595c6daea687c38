/* nvidia-smi nvlink --status: the links of each GPU and their speed. */
#include <stdio.h>

#include "smi.h"

#define MAX_LINKS 36

/* GB/s in each direction by NVLink generation (attribute nvlink_version), as the real one prints them */
static const char *speed_of(unsigned version) {
    static const char *const speeds[] = {"20.0", "20.0", "25.781", "25.0", "26.562", "53.125"};
    return version < sizeof speeds / sizeof *speeds ? speeds[version] : "53.125";
}

int show_links(const struct selection *selection) {
    int (*state)(nvmlDevice_t, unsigned, unsigned *) = (int (*)(nvmlDevice_t, unsigned, unsigned *))symbol("nvmlDeviceGetNvLinkState");
    int (*version_of)(nvmlDevice_t, unsigned, unsigned *) = (int (*)(nvmlDevice_t, unsigned, unsigned *))symbol("nvmlDeviceGetNvLinkVersion");
    for (unsigned i = 0; i < selection->count; i++) {
        struct selection one = {{selection->devices[i]}, 1, selection->attached};
        unsigned active, version;
        show_list(&one);
        for (unsigned link = 0; state && link < MAX_LINKS && !state(one.devices[0], link, &active); link++) {
            if (!version_of || version_of(one.devices[0], link, &version)) version = 0;
            if (active) printf("\t Link %u: %s GB/s\n", link, speed_of(version));
            else printf("\t Link %u: <inactive>\n", link);
        }
    }
    return OK;
}
