/* The part of NVML's binary interface that the double speaks: codes, constants and structures as programs built against NVIDIA's library
 * expect them. Names and layouts follow the NVML API reference; the library and the nvidia-smi double both include this file. */
#ifndef LAB_NVML_ABI_H
#define LAB_NVML_ABI_H

typedef int nvmlReturn_t;
typedef struct nvml_device *nvmlDevice_t;

enum {
    OK = 0,
    UNINITIALIZED = 1,
    INVALID_ARGUMENT = 2,
    NOT_SUPPORTED = 3,
    NO_PERMISSION = 4,
    NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7,
    DRIVER_NOT_LOADED = 9,
    TIMEOUT = 10,
    LIBRARY_NOT_FOUND = 12,
    FUNCTION_NOT_FOUND = 13,
    CORRUPTED_INFOROM = 14,
    GPU_IS_LOST = 15,
    LIB_RM_VERSION_MISMATCH = 18,
    ARGUMENT_VERSION_MISMATCH = 25,
    UNKNOWN_ERROR = 999
};

enum { CLOCK_GRAPHICS, CLOCK_SM, CLOCK_MEMORY, CLOCK_VIDEO, CLOCK_TYPES };
enum { VALUE_DOUBLE, VALUE_UNSIGNED, VALUE_UNSIGNED_LONG, VALUE_UNSIGNED_LONG_LONG };

#define NOT_AVAILABLE_MEMORY (~0ULL) /* NVML_VALUE_NOT_AVAILABLE in used memory */
#define NO_INSTANCE 0xFFFFFFFFU      /* no MIG instance */
#define STRUCT_VERSION(type, number) ((unsigned)(sizeof(type) | ((unsigned)(number) << 24)))

typedef struct {
    char bus_id_legacy[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
} pci_info_t; /* nvmlPciInfo_t of _v3; _v2 ends in 4 reserved words instead of bus_id, _v1 after pci_device_id */

typedef struct {
    unsigned version, domain, bus, device, pci_device_id, pci_subsystem_id, base_class, sub_class;
    char bus_id[32];
} pci_info_ext_t;

typedef struct {
    unsigned long long total, free, used;
} memory_t;

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory_v2_t;

typedef struct {
    unsigned gpu, memory;
} utilization_t;

typedef struct {
    unsigned pid;
    unsigned long long used_memory;
} process_v1_t;

typedef struct {
    unsigned pid;
    unsigned long long used_memory;
    unsigned gpu_instance, compute_instance;
} process_t; /* of _v2 and _v3 */

typedef struct {
    unsigned pid;
    unsigned long long timestamp;
    unsigned sm, memory, encoder, decoder;
} process_sample_t;

typedef union {
    double d;
    unsigned ui;
    unsigned long ul;
    unsigned long long ull;
} value_t;

typedef struct {
    unsigned field, scope;
    long long timestamp, latency_us;
    int type;
    nvmlReturn_t result;
    value_t value;
} field_value_t;

typedef struct {
    unsigned version;
    int sensor;
    int temperature;
} temperature_v1_t;

typedef struct {
    unsigned max, high, partial, low, none;
} row_histogram_t;

typedef struct {
    unsigned long long l1_cache, l2_cache, device_memory, register_file;
} ecc_counts_t;

typedef struct {
    unsigned char cluster_uuid[16];
    nvmlReturn_t status;
    unsigned clique;
    unsigned char state;
} fabric_info_t;

#endif
