/* libcuda without a GPU behind it: every program learns that there is nothing to compute on. */
#define EXPORT __attribute__((visibility("default")))
enum { CUDA_ERROR_INVALID_VALUE = 1, CUDA_ERROR_NOT_INITIALIZED = 3, CUDA_ERROR_NO_DEVICE = 100 };

EXPORT int cuInit(unsigned flags) {
    (void)flags;
    return CUDA_ERROR_NO_DEVICE;
}

EXPORT int cuDriverGetVersion(int *version) {
    if (!version) return CUDA_ERROR_INVALID_VALUE;
    *version = LAB_CUDA_VERSION;
    return 0;
}

EXPORT int cuDeviceGetCount(int *count) {
    (void)count;
    return CUDA_ERROR_NOT_INITIALIZED;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
    (void)device;
    (void)ordinal;
    return CUDA_ERROR_NOT_INITIALIZED;
}

EXPORT int cuGetErrorString(int error, const char **text) {
    if (!text) return CUDA_ERROR_INVALID_VALUE;
    *text = error == CUDA_ERROR_NO_DEVICE ? "no CUDA-capable device is detected" : error == CUDA_ERROR_NOT_INITIALIZED ? "initialization error" : "unknown error";
    return 0;
}
