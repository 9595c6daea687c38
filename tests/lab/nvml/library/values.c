/* The shapes that most NVML functions have. */
#include <stdio.h>
#include <string.h>

#include "lab.h"

const char *const switch_words[] = {"disabled", "enabled", NULL};
const char *const compute_mode_words[] = {"default", "exclusive_thread", "prohibited", "exclusive_process", NULL};

nvmlReturn_t put_text(const char *text, char *buffer, unsigned size) {
    NEED(buffer);
    if (strlen(text) + 1 > size) return INSUFFICIENT_SIZE;
    strcpy(buffer, text);
    return OK;
}

nvmlReturn_t get_unsigned(nvmlDevice_t device, const char *attribute, unsigned *value) {
    unsigned long long number = 0;
    NEED(value);
    TRY(state_number(device->directory, attribute, &number));
    *value = (unsigned)number;
    return OK;
}

nvmlReturn_t get_switch(nvmlDevice_t device, const char *attribute, unsigned *value) {
    NEED(value);
    return state_word(device->directory, attribute, switch_words, value);
}

nvmlReturn_t get_text(nvmlDevice_t device, const char *attribute, char *buffer, unsigned size) {
    char text[VALUE_SIZE];
    TRY(state_text(device->directory, attribute, text, sizeof text));
    return put_text(text, buffer, size);
}
