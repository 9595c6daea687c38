/* The layout of -q and -q -x. */
#ifndef LAB_SMI_LAYOUT_H
#define LAB_SMI_LAYOUT_H

enum where {
    BEFORE_550 = 1,
    SINCE_550 = 2,
    ECC_CACHES = 4,  /* up to Volta: counters for each cache */
    ECC_TURING = 8,
    ECC_AMPERE = 16, /* from Ampere on */
    ONLY_XML = 32,
    ONLY_TEXT = 64,
    T_LIMIT = 128,   /* from Ada on: thresholds as distances to the limit */
    CELSIUS = 256    /* before: thresholds as temperatures */
};

struct row {
    int depth;
    const char *tag;   /* of -q -x */
    const char *label; /* of -q */
    /* a field; "=text" for a constant; "?field" a group that is shown as a value when the field cannot be read; NULL a group;
     * "@name" something written by its own function */
    const char *value;
    int where;
};

extern const struct row layout[];
extern const unsigned layout_rows;

#endif
