/* What the source files of the library share. */
#ifndef LAB_NVML_H
#define LAB_NVML_H

#include <stddef.h>

#include "../abi.h"

#define EXPORT __attribute__((visibility("default")))
#define VALUE_SIZE 4096
#define PATH_SIZE 512
#define MAX_GPUS 64

#ifndef LAB_VERSION
#error "LAB_VERSION: the version of the driver that this library belongs to"
#endif

struct nvml_device {
    unsigned minor;
    char directory[16];   /* gpuN, inside the state */
    char bus_address[32]; /* 0000:3b:00.0 */
};

/* CACHED answers stay when a GPU has fallen off the bus, because the driver keeps them; LIVE ones need the hardware. */
enum source { CACHED, LIVE };

/* state.c: attributes. A missing one is NOT_SUPPORTED. */
void state_locate(void);
int state_is_packed(void);
int state_exists(void);
nvmlReturn_t state_text(const char *directory, const char *name, char *text, size_t size);
nvmlReturn_t state_number(const char *directory, const char *name, unsigned long long *value);
nvmlReturn_t state_word(const char *directory, const char *name, const char *const *words, unsigned *value);
enum lifetime { PERSISTENT, UNTIL_UNLOAD }; /* does a setting outlive the kernel module? */
nvmlReturn_t state_write(const char *directory, const char *name, const char *text, enum lifetime lifetime);
int state_minors(unsigned *minors, int limit);

/* device_nodes.c: what the process can reach, and which driver is loaded */
nvmlReturn_t driver_reachable(void);
int gpu_reachable(unsigned minor);
nvmlReturn_t loaded_version(char *text, size_t size);

/* init.c */
nvmlReturn_t enter_system(const char *function);
nvmlReturn_t enter_device(const char *function, nvmlDevice_t device, enum source source);
extern struct nvml_device gpus[MAX_GPUS];
extern unsigned gpu_count;

/* values.c: the shapes that most functions have */
nvmlReturn_t put_text(const char *text, char *buffer, unsigned size);
nvmlReturn_t get_unsigned(nvmlDevice_t device, const char *attribute, unsigned *value);
nvmlReturn_t get_switch(nvmlDevice_t device, const char *attribute, unsigned *value);
nvmlReturn_t get_text(nvmlDevice_t device, const char *attribute, char *buffer, unsigned size);
extern const char *const switch_words[];
extern const char *const compute_mode_words[];

/* clocks.c: whether the board can run at this pair; INVALID_ARGUMENT when not */
nvmlReturn_t clocks_allowed(nvmlDevice_t device, unsigned memory, unsigned graphics);

#define ENTER_SYSTEM                                     \
    do {                                                 \
        nvmlReturn_t entered_ = enter_system(__func__);  \
        if (entered_ != OK) return entered_;             \
    } while (0)
#define ENTER(device, source)                                            \
    do {                                                                 \
        nvmlReturn_t entered_ = enter_device(__func__, device, source);  \
        if (entered_ != OK) return entered_;                             \
    } while (0)
#define NEED(pointer)                               \
    do {                                            \
        if (!(pointer)) return INVALID_ARGUMENT;    \
    } while (0)
#define TRY(call)                          \
    do {                                   \
        nvmlReturn_t tried_ = (call);      \
        if (tried_ != OK) return tried_;   \
    } while (0)

#endif
