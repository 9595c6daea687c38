/* A driver library that is only there to be found, mounted and linked. */
__attribute__((visibility("default"))) const char lab_driver_version[] = LAB_VERSION;
