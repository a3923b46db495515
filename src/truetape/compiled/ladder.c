/* Order books that are changed by the run: sorted levels, the best one last, where most changes are. */
#include "core.h"

#include <string.h>

typedef struct {
    double *keys; /* ascending: prices of bids, negative prices of asks */
    char *values; /* of each level: its size, or its text */
    Py_ssize_t count, room, width;
} Side;

typedef struct {
    char *text; /* `price:size` as the venue spells them */
    Py_ssize_t size;
} Word;

/* -- one side ------------------------------------------------------------------------------------------------ */

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
static Py_ssize_t find(const Side *side, double key) {
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

static inline char *value_at(const Side *side, Py_ssize_t at) { return side->values + at * side->width; }

static inline int is_at(const Side *side, Py_ssize_t at, double key) { return at < side->count && side->keys[at] == key; }

static void take_out(Side *side, Py_ssize_t at) {
    size_t after = (size_t)(side->count - at - 1);
    memmove(side->keys + at, side->keys + at + 1, after * sizeof(double));
    memmove(value_at(side, at), value_at(side, at + 1), after * (size_t)side->width);
    side->count--;
}

static int put_in(Side *side, Py_ssize_t at, double key, const void *value) {
    if (grow(side, side->count + 1)) return -1;
    size_t after = (size_t)(side->count - at);
    memmove(side->keys + at + 1, side->keys + at, after * sizeof(double));
    memmove(value_at(side, at + 1), value_at(side, at), after * (size_t)side->width);
    side->keys[at] = key;
    memcpy(value_at(side, at), value, (size_t)side->width);
    side->count++;
    return 0;
}

static int is_crossed(const Side *sides) {
    const Side *bids = &sides[0], *asks = &sides[1];
    return bids->count && asks->count && bids->keys[bids->count - 1] >= -asks->keys[asks->count - 1];
}

/* Prices come ascending: those of asks, negated, go in from the last to the first. */
static Py_ssize_t turn(int is_ask, Py_ssize_t count, Py_ssize_t i) { return is_ask ? count - 1 - i : i; }

static int fill_keys(Side *side, int is_ask, const Py_buffer *prices) {
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

static PyObject *give_prices(const Side *side, int is_ask) {
    PyObject *prices = PyByteArray_FromStringAndSize(NULL, side->count * (Py_ssize_t)sizeof(double));
    if (prices == NULL) return NULL;
    double *given = (double *)(void *)PyByteArray_AsString(prices);
    for (Py_ssize_t i = 0; i < side->count; i++) {
        double key = side->keys[turn(is_ask, side->count, i)];
        given[i] = is_ask ? -key : key;
    }
    return prices;
}

/* -- sizes as numbers ---------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Side sides[2];
    Heap undo; /* how to take back the changes of one frame */
} NumberLadder;

typedef struct {
    double key, size;
    int side;
} Undo;

/* Levels are filled in by `new`, for good: there is no ladder without. */
static PyObject *make_ladder(PyTypeObject *type) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return allocate(type, 0);
}

static void free_number_ladder(PyObject *self) {
    NumberLadder *ladder = (NumberLadder *)self;
    for (int i = 0; i < 2; i++) {
        PyMem_Free(ladder->sides[i].keys);
        PyMem_Free(ladder->sides[i].values);
    }
    PyMem_Free(ladder->undo.data);
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
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
    Py_ssize_t at = find(side, key);
    int is_there = is_at(side, at, key);
    if (!is_there && size == 0) return 0;
    if (heap_reserve(&ladder->undo, (Py_ssize_t)sizeof(Undo))) return -1;
    Undo undo = {key, 0, number};
    if (is_there) memcpy(&undo.size, value_at(side, at), sizeof(double));
    memcpy(ladder->undo.data + ladder->undo.used, &undo, sizeof undo);
    ladder->undo.used += (Py_ssize_t)sizeof undo;
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

/* Return how many levels sides have in all, -1 where their counts do not fit what there is. */
static Py_ssize_t add_counts(const Py_buffer *counts, const Py_buffer *flat) {
    Py_ssize_t sides = counts->len / (Py_ssize_t)sizeof(int64_t), levels = 0;
    Py_ssize_t most = flat->len / (Py_ssize_t)(2 * sizeof(double));
    for (Py_ssize_t i = 0; i < sides; i++) {
        int64_t count = ((const int64_t *)counts->buf)[i];
        if (count < 0 || count > most - levels) return -1;
        levels += (Py_ssize_t)count;
    }
    return sides % 2 ? -1 : levels;
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

/* -- sizes as text, proven by checksums ----------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Side sides[2];
    Py_ssize_t depth_max; /* levels that a side may have; 0: no bound */
    Heap proof;           /* the text that a checksum is of */
} TextLadder;

static uint32_t crc_tables[8][256];

static void fill_crc_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t sum = i;
        for (int bit = 0; bit < 8; bit++) sum = sum & 1 ? 0xEDB88320U ^ (sum >> 1) : sum >> 1;
        crc_tables[0][i] = sum;
    }
    for (int table = 1; table < 8; table++)
        for (int i = 0; i < 256; i++) {
            uint32_t last = crc_tables[table - 1][i];
            crc_tables[table][i] = crc_tables[0][last & 0xFF] ^ (last >> 8);
        }
}

static uint32_t add_crc(const unsigned char *data, Py_ssize_t size) {
    uint32_t sum = 0xFFFFFFFFU;
    for (; size >= 8; size -= 8, data += 8) {
        uint32_t low = sum ^ ((uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24);
        sum = crc_tables[7][low & 0xFF] ^ crc_tables[6][low >> 8 & 0xFF] ^ crc_tables[5][low >> 16 & 0xFF] ^ crc_tables[4][low >> 24] ^
              crc_tables[3][data[4]] ^ crc_tables[2][data[5]] ^ crc_tables[1][data[6]] ^ crc_tables[0][data[7]];
    }
    for (; size > 0; size--, data++) sum = crc_tables[0][(sum ^ *data) & 0xFF] ^ (sum >> 8);
    return sum ^ 0xFFFFFFFFU;
}

static inline Word *word_at(const Side *side, Py_ssize_t at) { return (Word *)(void *)value_at(side, at); }

static void free_text_ladder(PyObject *self) {
    TextLadder *ladder = (TextLadder *)self;
    for (int i = 0; i < 2; i++) {
        Side *side = &ladder->sides[i];
        for (Py_ssize_t j = 0; j < side->count; j++) PyMem_Free(word_at(side, j)->text);
        PyMem_Free(side->keys);
        PyMem_Free(side->values);
    }
    PyMem_Free(ladder->proof.data);
    PyTypeObject *type = Py_TYPE(self);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
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
    Py_ssize_t at = find(side, key);
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
    if (heap_reserve(proof, word->size + 1)) return -1;
    if (proof->used) proof->data[proof->used++] = ':';
    memcpy(proof->data + proof->used, word->text, (size_t)word->size);
    proof->used += word->size;
    return 0;
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

void prepare_ladders(void) { fill_crc_tables(); }
