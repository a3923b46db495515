/* Order books whose sizes are numbers, changed by the run. */
#include "side.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    Side sides[2];
    Heap undo; /* how to take back the changes of one frame */
} NumberLadder;

typedef struct {
    double key, size;
    int side;
} Undo;

static void free_number_ladder(PyObject *self) {
    NumberLadder *ladder = (NumberLadder *)self;
    PyMem_Free(ladder->undo.data);
    free_ladder(self, ladder->sides);
}

static PyObject *new_number_ladder(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named)) {
    Py_buffer prices[2], sizes[2];
    if (!PyArg_ParseTuple(args, "y*y*y*y*", &prices[0], &sizes[0], &prices[1], &sizes[1])) return NULL;
    PyObject *self = make_ladder(type);
    NumberLadder *ladder = (NumberLadder *)self;
    int failed = self == NULL;
    for (int i = 0; i < 2 && !failed; i++) {
        Side *side = &ladder->sides[i];
        side->width = sizeof(double);
        if (prices[i].len != sizes[i].len) {
            PyErr_SetString(PyExc_ValueError, "each price has a size");
            failed = 1;
        } else if (fill_keys(side, i, &prices[i])) {
            failed = 1;
        } else {
            const double *given = sizes[i].buf;
            for (Py_ssize_t j = 0; j < side->count; j++) memcpy(value_at(side, j), &given[turn(i, side->count, j)], sizeof(double));
        }
    }
    for (int i = 0; i < 2; i++) {
        PyBuffer_Release(&prices[i]);
        PyBuffer_Release(&sizes[i]);
    }
    if (failed) Py_CLEAR(self);
    return self;
}

/* Set a level, or remove it, and note in `undo` what it was: size 0 when it was not there. */
static int set_size(NumberLadder *ladder, int number, double key, double size) {
    Side *side = &ladder->sides[number];
    Py_ssize_t at = find_level(side, key);
    int is_there = is_at(side, at, key);
    if (!is_there && size == 0) return 0;
    Undo undo = {key, 0, number};
    if (is_there) memcpy(&undo.size, value_at(side, at), sizeof(double));
    if (heap_append(&ladder->undo, &undo, (Py_ssize_t)sizeof undo)) return -1;
    if (!is_there) return put_in(side, at, key, &size);
    if (size == 0)
        take_out(side, at);
    else
        memcpy(value_at(side, at), &size, sizeof size);
    return 0;
}

static int take_back(NumberLadder *ladder) {
    Undo undo;
    for (Py_ssize_t at = ladder->undo.used - (Py_ssize_t)sizeof undo; at >= 0; at -= (Py_ssize_t)sizeof undo) {
        memcpy(&undo, ladder->undo.data + at, sizeof undo);
        ladder->undo.used = at;
        if (set_size(ladder, undo.side, undo.key, undo.size)) return -1;
    }
    ladder->undo.used = 0;
    return 0;
}

static PyObject *apply_numbers(PyObject *self, PyObject *args) {
    NumberLadder *ladder = (NumberLadder *)self;
    Py_buffer counts, flat;
    if (!PyArg_ParseTuple(args, "y*y*", &counts, &flat)) return NULL;
    PyObject *answer = NULL;
    Py_ssize_t frames = counts.len / (Py_ssize_t)(2 * sizeof(int64_t)), frame = 0;
    const double *level = flat.buf;
    if (add_counts(&counts, &flat) < 0) {
        PyErr_SetString(PyExc_ValueError, "there are fewer levels than are counted");
        goto done;
    }
    for (; frame < frames; frame++) {
        ladder->undo.used = 0;
        for (int side = 0; side < 2; side++)
            for (int64_t left = ((const int64_t *)counts.buf)[2 * frame + side]; left > 0; left--, level += 2)
                if (set_size(ladder, side, side ? -level[0] : level[0], level[1])) goto done;
        if (is_crossed(ladder->sides)) {
            if (take_back(ladder)) goto done;
            break;
        }
    }
    answer = PyLong_FromSsize_t(frame);
done:
    PyBuffer_Release(&counts);
    PyBuffer_Release(&flat);
    return answer;
}

static PyObject *give_sizes(const Side *side, int is_ask) {
    PyObject *sizes = PyByteArray_FromStringAndSize(NULL, side->count * (Py_ssize_t)sizeof(double));
    if (sizes == NULL) return NULL;
    char *given = PyByteArray_AsString(sizes);
    for (Py_ssize_t i = 0; i < side->count; i++)
        memcpy(given + i * (Py_ssize_t)sizeof(double), value_at(side, turn(is_ask, side->count, i)), sizeof(double));
    return sizes;
}

static PyObject *write_numbers(PyObject *self, PyObject *Py_UNUSED(nothing)) {
    const Side *sides = ((NumberLadder *)self)->sides;
    return Py_BuildValue("(NNNN)", give_prices(&sides[0], 0), give_sizes(&sides[0], 0), give_prices(&sides[1], 1), give_sizes(&sides[1], 1));
}

static PyMethodDef number_methods[] = {
    {"apply", apply_numbers, METH_VARARGS, "Take changes of frames; return how many come before one that crosses the book."},
    {"write", write_numbers, METH_NOARGS, "Return prices and sizes of bids, then of asks, prices ascending."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot number_slots[] = {
    {Py_tp_new, new_number_ladder},
    {Py_tp_dealloc, free_number_ladder},
    {Py_tp_methods, number_methods},
    {0, NULL},
};

PyType_Spec number_ladder_spec = {"truetape.compiled._core.NumberLadder", sizeof(NumberLadder), 0, Py_TPFLAGS_DEFAULT, number_slots};
