/* What a message looks like: a tree made of the nested tuples of `events.scan`. */
#ifndef TRUETAPE_SHAPE_H
#define TRUETAPE_SHAPE_H

#include "core.h"

#define FIELDS_MAX 64 /* of one object: which were met is a word's bits */
#define DEPTH_MAX 32

typedef enum { OBJECT, WHOLE, REAL, FLAG, WORD, TIME, SIDE, CHANGES, ONLY } Type;

typedef struct {
    char *text;
    Py_ssize_t size;
} Text;

typedef struct Node {
    Type type;
    int is_required, is_nullable, column;
    int64_t low, high, fallback;                      /* WHOLE; FLAG and WORD have a fallback, too */
    double real_low, real_high, real_fallback;        /* REAL */
    Py_ssize_t fields;                                /* OBJECT: how many; SIDE: texts of one level */
    Text *keys;                                       /* OBJECT: names; WORD and CHANGES: words */
    struct Node **nodes;                              /* OBJECT, ONLY */
    Py_ssize_t words;                                 /* WORD, CHANGES */
    int side, is_spelled;                             /* SIDE */
} Node;

typedef struct {
    Node *root;
    int columns;
    char widths[FIELDS_MAX];
    int has_levels, is_spelled;
} Shape;

const Shape *open_shape(PyObject *capsule); /* NULL with an exception when it holds none */

#endif
