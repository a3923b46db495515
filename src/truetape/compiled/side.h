/* One side of an order book: sorted levels, the best one last, where most changes are. */
#ifndef TRUETAPE_SIDE_H
#define TRUETAPE_SIDE_H

#include "core.h"

typedef struct {
    double *keys; /* ascending: prices of bids, negative prices of asks */
    char *values; /* of each level: its size, or its text */
    Py_ssize_t count, room, width;
} Side;

Py_ssize_t find_level(const Side *side, double key); /* the place of the first key that is not below it */
int put_in(Side *side, Py_ssize_t at, double key, const void *value); /* 0; -1: exception */
void take_out(Side *side, Py_ssize_t at);
int is_crossed(const Side *sides);

int fill_keys(Side *side, int is_ask, const Py_buffer *prices);
PyObject *give_prices(const Side *side, int is_ask);
Py_ssize_t add_counts(const Py_buffer *counts, const Py_buffer *flat);
PyObject *make_ladder(PyTypeObject *type);
void free_ladder(PyObject *self, Side *sides);

static inline char *value_at(const Side *side, Py_ssize_t at) { return side->values + at * side->width; }

static inline int is_at(const Side *side, Py_ssize_t at, double key) { return at < side->count && side->keys[at] == key; }

/* Prices come ascending: those of asks, negated, go in from the last to the first. */
static inline Py_ssize_t turn(int is_ask, Py_ssize_t count, Py_ssize_t i) { return is_ask ? count - 1 - i : i; }

#endif
