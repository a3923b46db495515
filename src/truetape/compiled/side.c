/* One side of an order book. */
#include "side.h"

#include <string.h>

static int grow(Side *side, Py_ssize_t room) {
    if (room <= side->room) return 0;
    if (room < 2 * side->room) room = 2 * side->room;
    double *keys = PyMem_Realloc(side->keys, (size_t)room * sizeof(double));
    if (keys != NULL) side->keys = keys;
    char *values = keys == NULL ? NULL : PyMem_Realloc(side->values, (size_t)(room * side->width));
    if (values == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    side->values = values;
    side->room = room;
    return 0;
}

/* Return the place of a key: of the first one that is not below it. */
Py_ssize_t find_level(const Side *side, double key) {
    Py_ssize_t high = side->count, step = 1;
    while (high - step >= 0 && side->keys[high - step] >= key) {
        high -= step;
        step *= 2;
    }
    Py_ssize_t low = high - step < -1 ? -1 : high - step; /* below the key, or before all */
    while (high - low > 1) {
        Py_ssize_t middle = low + (high - low) / 2;
        if (side->keys[middle] >= key)
            high = middle;
        else
            low = middle;
    }
    return high;
}

void take_out(Side *side, Py_ssize_t at) {
    size_t after = (size_t)(side->count - at - 1);
    memmove(side->keys + at, side->keys + at + 1, after * sizeof(double));
    memmove(value_at(side, at), value_at(side, at + 1), after * (size_t)side->width);
    side->count--;
}

int put_in(Side *side, Py_ssize_t at, double key, const void *value) {
    if (grow(side, side->count + 1)) return -1;
    size_t after = (size_t)(side->count - at);
    memmove(side->keys + at + 1, side->keys + at, after * sizeof(double));
    memmove(value_at(side, at + 1), value_at(side, at), after * (size_t)side->width);
    side->keys[at] = key;
    memcpy(value_at(side, at), value, (size_t)side->width);
    side->count++;
    return 0;
}

int is_crossed(const Side *sides) {
    const Side *bids = &sides[0], *asks = &sides[1];
    return bids->count && asks->count && bids->keys[bids->count - 1] >= -asks->keys[asks->count - 1];
}

int fill_keys(Side *side, int is_ask, const Py_buffer *prices) {
    Py_ssize_t count = prices->len / (Py_ssize_t)sizeof(double);
    if (grow(side, count + 16)) return -1;
    const double *given = prices->buf;
    for (Py_ssize_t i = 0; i < count; i++) {
        double price = given[turn(is_ask, count, i)];
        side->keys[i] = is_ask ? -price : price;
    }
    side->count = count;
    return 0;
}

PyObject *give_prices(const Side *side, int is_ask) {
    PyObject *prices = PyByteArray_FromStringAndSize(NULL, side->count * (Py_ssize_t)sizeof(double));
    if (prices == NULL) return NULL;
    double *given = (double *)(void *)PyByteArray_AsString(prices);
    for (Py_ssize_t i = 0; i < side->count; i++) {
        double key = side->keys[turn(is_ask, side->count, i)];
        given[i] = is_ask ? -key : key;
    }
    return prices;
}

/* Return how many levels sides have in all, -1 where their counts do not fit what there is. */
Py_ssize_t add_counts(const Py_buffer *counts, const Py_buffer *flat) {
    Py_ssize_t sides = counts->len / (Py_ssize_t)sizeof(int64_t), levels = 0;
    Py_ssize_t most = flat->len / (Py_ssize_t)(2 * sizeof(double));
    for (Py_ssize_t i = 0; i < sides; i++) {
        int64_t count = ((const int64_t *)counts->buf)[i];
        if (count < 0 || count > most - levels) return -1;
        levels += (Py_ssize_t)count;
    }
    return sides % 2 ? -1 : levels;
}

/* Levels are filled in by `new`, for good: there is no ladder without. */
PyObject *make_ladder(PyTypeObject *type) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return allocate(type, 0);
}

/* Let go of both sides, and of the object itself. */
void free_ladder(PyObject *self, Side *sides) {
    for (int i = 0; i < 2; i++) {
        PyMem_Free(sides[i].keys);
        PyMem_Free(sides[i].values);
    }
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}
