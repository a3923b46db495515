/* Order books in the venue's own digits, changed by the run, and proven by a checksum after each change. */
#include "side.h"

#include <string.h>

typedef struct {
    char *text; /* `price:size` as the venue spells them */
    Py_ssize_t size;
} Word;

typedef struct {
    PyObject_HEAD
    Side sides[2];
    Py_ssize_t depth_max; /* levels that a side may have; 0: no bound */
    Heap proof;           /* the text that a checksum is of */
} TextLadder;

static inline Word *word_at(const Side *side, Py_ssize_t at) { return (Word *)(void *)value_at(side, at); }

static void free_text_ladder(PyObject *self) {
    TextLadder *ladder = (TextLadder *)self;
    for (int i = 0; i < 2; i++) {
        Side *side = &ladder->sides[i];
        for (Py_ssize_t j = 0; j < side->count; j++) PyMem_Free(word_at(side, j)->text);
    }
    PyMem_Free(ladder->proof.data);
    free_ladder(self, ladder->sides);
}

static int copy_word(const char *text, Py_ssize_t size, Word *word) {
    char *copy = PyMem_Malloc((size_t)size + 1);
    if (copy == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(copy, text, (size_t)size);
    PyMem_Free(word->text);
    word->text = copy;
    word->size = size;
    return 0;
}

/* Make one word of the texts of price and size. */
static int join_word(PyObject *level, Word *word) {
    const char *price, *size;
    Py_ssize_t price_size, size_size;
    if (!PyTuple_Check(level) || !PyArg_ParseTuple(level, "s#s#", &price, &price_size, &size, &size_size)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "a level is a tuple of two texts");
        return -1;
    }
    word->size = price_size + 1 + size_size;
    word->text = PyMem_Malloc((size_t)word->size);
    if (word->text == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(word->text, price, (size_t)price_size);
    word->text[price_size] = ':';
    memcpy(word->text + price_size + 1, size, (size_t)size_size);
    return 0;
}

static int fill_words(Side *side, int is_ask, PyObject *levels) {
    memset(side->values, 0, (size_t)(side->count * side->width));
    for (Py_ssize_t i = 0; i < side->count; i++) {
        PyObject *level = PyList_GetItem(levels, turn(is_ask, side->count, i));
        if (level == NULL || join_word(level, word_at(side, i))) return -1;
    }
    return 0;
}

static PyObject *new_text_ladder(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(named)) {
    Py_buffer prices[2];
    PyObject *levels[2];
    Py_ssize_t depth_max;
    if (!PyArg_ParseTuple(args, "y*Oy*On", &prices[0], &levels[0], &prices[1], &levels[1], &depth_max)) return NULL;
    PyObject *self = make_ladder(type);
    TextLadder *ladder = (TextLadder *)self;
    int failed = self == NULL;
    if (!failed) ladder->depth_max = depth_max;
    for (int i = 0; i < 2 && !failed; i++) {
        Side *side = &ladder->sides[i];
        side->width = sizeof(Word);
        if (!PyList_Check(levels[i]) || PyList_Size(levels[i]) != prices[i].len / (Py_ssize_t)sizeof(double)) {
            PyErr_SetString(PyExc_ValueError, "each price has a level");
            failed = 1;
        } else if (fill_keys(side, i, &prices[i]) || fill_words(side, i, levels[i])) {
            failed = 1;
        }
    }
    PyBuffer_Release(&prices[0]);
    PyBuffer_Release(&prices[1]);
    if (failed) Py_CLEAR(self);
    return self;
}

static void drop_word(Side *side, Py_ssize_t at) {
    PyMem_Free(word_at(side, at)->text);
    take_out(side, at);
}

static int set_word(Side *side, double key, int is_removed, const char *text, Py_ssize_t size) {
    Py_ssize_t at = find_level(side, key);
    if (is_at(side, at, key)) {
        if (!is_removed) return copy_word(text, size, word_at(side, at));
        drop_word(side, at);
        return 0;
    }
    if (is_removed) return 0;
    Word word = {NULL, 0};
    if (copy_word(text, size, &word)) return -1;
    if (put_in(side, at, key, &word)) {
        PyMem_Free(word.text);
        return -1;
    }
    return 0;
}

static int add_proof(Heap *proof, const Side *side, Py_ssize_t rank) {
    if (rank >= side->count) return 0;
    const Word *word = word_at(side, side->count - 1 - rank);
    return (proof->used && heap_append(proof, ":", 1)) || heap_append(proof, word->text, word->size) ? -1 : 0;
}

/* CRC32, signed, of the best levels in turns, a bid first. */
static int prove(TextLadder *ladder, Py_ssize_t depth, int64_t *sum) {
    ladder->proof.used = 0;
    for (Py_ssize_t rank = 0; rank < depth; rank++)
        for (int side = 0; side < 2; side++)
            if (add_proof(&ladder->proof, &ladder->sides[side], rank)) return -1;
    *sum = (int32_t)add_crc((const unsigned char *)ladder->proof.data, ladder->proof.used);
    return 0;
}

typedef struct {
    const int64_t *counts, *edges;
    const double *flat;
    const char *words;
} Changes;

/* Take one frame whose levels begin at a place of the run. */
static int take_frame(TextLadder *ladder, const Changes *changes, Py_ssize_t frame, Py_ssize_t level) {
    for (int i = 0; i < 2; i++) {
        Side *side = &ladder->sides[i];
        for (int64_t left = changes->counts[2 * frame + i]; left > 0; left--, level++) {
            double price = changes->flat[2 * level], size = changes->flat[2 * level + 1];
            int64_t begin = level ? changes->edges[level - 1] : 0;
            if (set_word(side, i ? -price : price, size == 0, changes->words + begin, (Py_ssize_t)(changes->edges[level] - begin))) return -1;
        }
        while (ladder->depth_max && side->count > ladder->depth_max) drop_word(side, 0);
    }
    return 0;
}

/* Return how many frames come before one after which the book is not as its checksum says, or crossed; -1: exception. */
static Py_ssize_t take_frames(TextLadder *ladder, const Changes *changes, const Py_buffer *frames, const int64_t *checks, Py_ssize_t run, Py_ssize_t depth) {
    const int64_t *wanted = frames->buf;
    Py_ssize_t total = frames->len / (Py_ssize_t)sizeof(int64_t), frame = 0, level = 0;
    for (Py_ssize_t i = 0; i < total; i++) {
        if (wanted[i] < frame || wanted[i] >= run) {
            PyErr_SetString(PyExc_ValueError, "frames are ascending places in the run");
            return -1;
        }
        for (; frame < wanted[i]; frame++) level += (Py_ssize_t)(changes->counts[2 * frame] + changes->counts[2 * frame + 1]);
        int64_t sum;
        if (take_frame(ladder, changes, frame, level) || prove(ladder, depth, &sum)) return -1;
        if (sum != checks[frame] || is_crossed(ladder->sides)) return i;
    }
    return total;
}

static int are_whole(const Py_buffer *counts, const Py_buffer *flat, const Py_buffer *words, const Py_buffer *edges, const Py_buffer *checks) {
    Py_ssize_t levels = add_counts(counts, flat), last = 0;
    if (levels < 0 || edges->len != levels * (Py_ssize_t)sizeof(int64_t) || counts->len != 2 * checks->len) return 0;
    for (Py_ssize_t i = 0; i < levels; i++) {
        int64_t edge = ((const int64_t *)edges->buf)[i];
        if (edge < last || edge > words->len) return 0;
        last = (Py_ssize_t)edge;
    }
    return 1;
}

static PyObject *apply_texts(PyObject *self, PyObject *args) {
    TextLadder *ladder = (TextLadder *)self;
    Py_buffer counts, flat, words, edges, checks, frames;
    Py_ssize_t depth;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*n", &counts, &flat, &words, &edges, &checks, &frames, &depth)) return NULL;
    PyObject *answer = NULL;
    if (!are_whole(&counts, &flat, &words, &edges, &checks)) {
        PyErr_SetString(PyExc_ValueError, "each level has a word, and each frame a checksum");
    } else {
        Changes changes = {counts.buf, edges.buf, flat.buf, words.buf};
        Py_ssize_t taken = take_frames(ladder, &changes, &frames, checks.buf, checks.len / (Py_ssize_t)sizeof(int64_t), depth);
        if (taken >= 0) answer = PyLong_FromSsize_t(taken);
    }
    Py_buffer *all[] = {&counts, &flat, &words, &edges, &checks, &frames};
    for (int i = 0; i < 6; i++) PyBuffer_Release(all[i]);
    return answer;
}

static PyObject *give_levels(const Side *side, int is_ask) {
    PyObject *levels = PyList_New(side->count);
    if (levels == NULL) return NULL;
    for (Py_ssize_t i = 0; i < side->count; i++) {
        const Word *word = word_at(side, turn(is_ask, side->count, i));
        const char *colon = memchr(word->text, ':', (size_t)word->size);
        Py_ssize_t size = colon == NULL ? word->size : colon - word->text;
        Py_ssize_t rest = colon == NULL ? 0 : word->size - size - 1;
        PyObject *level = Py_BuildValue("(s#s#)", word->text, size, word->text + word->size - rest, rest);
        if (level == NULL || PyList_SetItem(levels, i, level)) {
            Py_DECREF(levels);
            return NULL;
        }
    }
    return levels;
}

static PyObject *write_texts(PyObject *self, PyObject *Py_UNUSED(nothing)) {
    const Side *sides = ((TextLadder *)self)->sides;
    return Py_BuildValue("(NNNN)", give_prices(&sides[0], 0), give_levels(&sides[0], 0), give_prices(&sides[1], 1), give_levels(&sides[1], 1));
}

static PyMethodDef text_methods[] = {
    {"apply", apply_texts, METH_VARARGS, "Take frames; return how many come before one that breaks the book. That one is taken, too."},
    {"write", write_texts, METH_NOARGS, "Return prices and levels of bids, then of asks, prices ascending."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot text_slots[] = {
    {Py_tp_new, new_text_ladder},
    {Py_tp_dealloc, free_text_ladder},
    {Py_tp_methods, text_methods},
    {0, NULL},
};

PyType_Spec text_ladder_spec = {"truetape.compiled._core.TextLadder", sizeof(TextLadder), 0, Py_TPFLAGS_DEFAULT, text_slots};
