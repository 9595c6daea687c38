/* How one value of one GPU is read and written. */
#ifndef LAB_SMI_FIELDS_H
#define LAB_SMI_FIELDS_H

#include <stddef.h>

enum kind { TEXT, NUMBER, LONG, ARGUMENT, FIRST, SECOND, ECC, ECC_AT, MEMORY, BAR1, UTILIZATION, PCI, REASON, FIELD, RETIRED, ROWS, INFOROM, CAPABILITY, COUNT,
            DRIVER, CUDA, TIME, GSP };
enum format { PLAIN, SWITCH, YES_NO, ACTIVE, WATTS, PSTATE, BRAND, ARCHITECTURE, COMPUTE, MASK, BOARD, OPERATION, VIRTUAL, FABRIC, HEX2, HEX4, HEX8, MEBIBYTES };

struct field {
    const char *key;
    enum kind kind;
    const char *function;
    int a, b, c;
    enum format format;
    const char *csv_unit, *xml_unit;
};

struct alias {
    const char *alias, *key;
};

extern const struct field field_table[];
extern const size_t field_count;
extern const struct alias field_aliases[];
extern const size_t alias_count;

#define D "nvmlDevice"
#define SIZE(array) (sizeof(array) / sizeof *(array))

#endif
