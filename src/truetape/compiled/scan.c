/* Frames to columns: JSON of a known shape, read once from left to right.

   Whatever is not spelled as the shape has it (an escape, a letter beyond ASCII, a field twice, a number out of its
   bounds) is not judged here: `scan` returns None for all the frames, and Python reads them. */
#include "shape.h"

#include <math.h>
#include <string.h>

/* -- one frame ---------------------------------------------------------------------------------------------- */

typedef struct {
    Heap levels; /* doubles: price and size in turn */
    Heap words;  /* `price:size` of each level, one after the other */
    Heap edges;  /* int64: where each word ends */
} Levels;

typedef struct {
    const char *at, *end;
    Py_ssize_t frame;
    char **columns;
    Levels sides[2];
    int has_failed; /* no memory: the exception is set */
} Scan;

static inline void skip_space(Scan *scan) {
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t')) scan->at++;
}

static inline int take(Scan *scan, char wanted) {
    skip_space(scan);
    if (scan->at == scan->end || *scan->at != wanted) return 0;
    scan->at++;
    return 1;
}

static inline int take_text(Scan *scan, const char *text, Py_ssize_t size) {
    if (scan->end - scan->at < size || memcmp(scan->at, text, (size_t)size)) return 0;
    scan->at += size;
    return 1;
}

/* Move behind a string whose opening quote has been taken; its text ends before the closing one. */
static inline int skip_string(Scan *scan) {
    const char *p = scan->at;
    while (p < scan->end && *p != '"') {
        if (*p == '\\' || (signed char)*p < ' ') return 0; /* also what is beyond ASCII */
        p++;
    }
    if (p == scan->end) return 0;
    scan->at = p + 1;
    return 1;
}

static int skip_value(Scan *scan, int depth);

static int skip_object(Scan *scan, int depth) {
    if (take(scan, '}')) return 1;
    do {
        if (!take(scan, '"') || !skip_string(scan) || !take(scan, ':') || !skip_value(scan, depth)) return 0;
    } while (take(scan, ','));
    return take(scan, '}');
}

static int skip_array(Scan *scan, int depth) {
    if (take(scan, ']')) return 1;
    do {
        if (!skip_value(scan, depth)) return 0;
    } while (take(scan, ','));
    return take(scan, ']');
}

static int skip_value(Scan *scan, int depth) {
    double number;
    if (depth == DEPTH_MAX) return 0;
    skip_space(scan);
    if (scan->at == scan->end) return 0;
    switch (*scan->at) {
    case '"': scan->at++; return skip_string(scan);
    case '{': scan->at++; return skip_object(scan, depth + 1);
    case '[': scan->at++; return skip_array(scan, depth + 1);
    case 't': return take_text(scan, "true", 4);
    case 'f': return take_text(scan, "false", 5);
    case 'n': return take_text(scan, "null", 4);
    default: return read_real(&scan->at, scan->end, &number);
    }
}

static inline void write_whole(Scan *scan, const Node *node, int64_t value) {
    ((int64_t *)(void *)scan->columns[node->column])[scan->frame] = value;
}

static inline void write_real(Scan *scan, const Node *node, double value) {
    ((double *)(void *)scan->columns[node->column])[scan->frame] = value;
}

static inline void write_small(Scan *scan, const Node *node, int64_t value) { scan->columns[node->column][scan->frame] = (char)value; }

static int write_fallback(Scan *scan, const Node *node) {
    if (node->is_required) return 0;
    switch (node->type) {
    case WHOLE: write_whole(scan, node, node->fallback); return 1;
    case REAL: write_real(scan, node, node->real_fallback); return 1;
    case FLAG:
    case WORD: write_small(scan, node, node->fallback); return 1;
    default: return 0;
    }
}

static int read_field(Scan *scan, const Node *node);

static int scan_whole(Scan *scan, const Node *node) {
    int64_t value;
    int is_text = take(scan, '"');
    if (!is_text && node->is_nullable && take_text(scan, "null", 4)) {
        write_whole(scan, node, UNKNOWN);
        return 1;
    }
    if (!read_whole(&scan->at, scan->end, &value) || (is_text && !take_text(scan, "\"", 1))) return 0;
    if (value < node->low || value > node->high) return 0;
    write_whole(scan, node, value);
    return 1;
}

static int scan_real(Scan *scan, const Node *node) {
    double value;
    int is_text = take(scan, '"');
    if (!is_text && node->is_nullable && take_text(scan, "null", 4)) {
        write_real(scan, node, NAN);
        return 1;
    }
    if (!read_real(&scan->at, scan->end, &value) || (is_text && !take_text(scan, "\"", 1))) return 0;
    if (!(value >= node->real_low && value <= node->real_high)) return 0;
    write_real(scan, node, value);
    return 1;
}

static int scan_time(Scan *scan, const Node *node) {
    int64_t value;
    if (!take(scan, '"')) return 0;
    const char *first = scan->at;
    if (!skip_string(scan) || !read_time(first, scan->at - 1, &value)) return 0;
    write_whole(scan, node, value);
    return 1;
}

static int scan_flag(Scan *scan, const Node *node) {
    skip_space(scan);
    int is_true = take_text(scan, "true", 4);
    if (!is_true && !take_text(scan, "false", 5)) return 0;
    write_small(scan, node, is_true);
    return 1;
}

/* Return which word comes, -1 for none. */
static int read_word(Scan *scan, const Node *node) {
    if (!take(scan, '"')) return -1;
    for (int i = 0; i < (int)node->words; i++) {
        const Text *word = &node->keys[i];
        if (scan->end - scan->at > word->size && scan->at[word->size] == '"' && !memcmp(scan->at, word->text, (size_t)word->size)) {
            scan->at += word->size + 1;
            return i;
        }
    }
    return -1;
}

static int scan_word(Scan *scan, const Node *node) {
    int word = read_word(scan, node);
    if (word < 0) return 0;
    write_small(scan, node, word);
    return 1;
}

static int read_quoted(Scan *scan, double *value) {
    if (!take(scan, '"') || !read_digits(&scan->at, scan->end, value)) return 0;
    return take_text(scan, "\"", 1) && *value <= 1e300;
}

static int add_level(Scan *scan, Levels *side, double price, double size) {
    double level[2] = {price, size};
    scan->has_failed = heap_append(&side->levels, level, (Py_ssize_t)sizeof level);
    return !scan->has_failed;
}

static int add_word(Scan *scan, Levels *side, const char *price, Py_ssize_t price_size, const char *size, Py_ssize_t size_size) {
    Heap *words = &side->words;
    int64_t edge = words->used + price_size + 1 + size_size;
    scan->has_failed = heap_append(words, price, price_size) || heap_append(words, ":", 1) || heap_append(words, size, size_size) ||
                       heap_append(&side->edges, &edge, (Py_ssize_t)sizeof edge);
    return !scan->has_failed;
}

/* `[["1.5","2"],…]`: levels may have more texts than price and size, all of them numbers. */
static int scan_side(Scan *scan, const Node *node) {
    Levels *side = &scan->sides[node->side];
    if (!take(scan, '[')) return 0;
    if (take(scan, ']')) return 1;
    do {
        double price, size, other;
        if (!take(scan, '[')) return 0;
        skip_space(scan);
        const char *first = scan->at + 1;
        if (!read_quoted(scan, &price)) return 0;
        Py_ssize_t first_size = scan->at - 1 - first;
        if (!take(scan, ',')) return 0;
        skip_space(scan);
        const char *second = scan->at + 1;
        if (!read_quoted(scan, &size)) return 0;
        Py_ssize_t second_size = scan->at - 1 - second;
        for (Py_ssize_t i = 2; i < node->fields; i++)
            if (!take(scan, ',') || !read_quoted(scan, &other)) return 0;
        if (!take(scan, ']') || !add_level(scan, side, price, size)) return 0;
        if (node->is_spelled && !add_word(scan, side, first, first_size, second, second_size)) return 0;
    } while (take(scan, ','));
    return take(scan, ']');
}

/* `[["buy","1.5","2"],…]`: levels of both sides, told apart by a word. */
static int scan_changes(Scan *scan, const Node *node) {
    if (!take(scan, '[')) return 0;
    if (take(scan, ']')) return 1;
    do {
        double price, size;
        if (!take(scan, '[')) return 0;
        int side = read_word(scan, node);
        if (side < 0 || !take(scan, ',') || !read_quoted(scan, &price) || !take(scan, ',') || !read_quoted(scan, &size)) return 0;
        if (!take(scan, ']') || !add_level(scan, &scan->sides[side], price, size)) return 0;
    } while (take(scan, ','));
    return take(scan, ']');
}

/* Return which field's name comes, -2 for an unknown one, -1 for what is no name; the next one is likely. */
static inline int read_key(Scan *scan, const Node *node, Py_ssize_t likely) {
    if (!take(scan, '"')) return -1;
    const char *first = scan->at;
    if (likely < node->fields) {
        const Text *key = &node->keys[likely];
        if (scan->end - first > key->size && first[key->size] == '"' && !memcmp(first, key->text, (size_t)key->size)) {
            scan->at += key->size + 1;
            return (int)likely;
        }
    }
    if (!skip_string(scan)) return -1;
    Py_ssize_t size = scan->at - 1 - first;
    for (Py_ssize_t i = 0; i < node->fields; i++)
        if (node->keys[i].size == size && !memcmp(first, node->keys[i].text, (size_t)size)) return (int)i;
    return -2;
}

static int scan_object(Scan *scan, const Node *node) {
    uint64_t met = 0;
    Py_ssize_t likely = 0;
    if (!take(scan, '{')) return 0;
    if (!take(scan, '}')) {
        do {
            int field = read_key(scan, node, likely);
            if (field == -1 || !take(scan, ':')) return 0;
            if (field == -2) {
                if (!skip_value(scan, 0)) return 0;
                continue;
            }
            if (met >> field & 1) return 0;
            met |= 1ULL << field;
            likely = field + 1;
            if (!read_field(scan, node->nodes[field])) return 0;
        } while (take(scan, ','));
        if (!take(scan, '}')) return 0;
    }
    for (Py_ssize_t i = 0; i < node->fields; i++)
        if (!(met >> i & 1) && !write_fallback(scan, node->nodes[i])) return 0;
    return 1;
}

static int read_field(Scan *scan, const Node *node) {
    switch (node->type) {
    case OBJECT: return scan_object(scan, node);
    case WHOLE: return scan_whole(scan, node);
    case REAL: return scan_real(scan, node);
    case TIME: return scan_time(scan, node);
    case FLAG: return scan_flag(scan, node);
    case WORD: return scan_word(scan, node);
    case SIDE: return scan_side(scan, node);
    case CHANGES: return scan_changes(scan, node);
    case ONLY: return take(scan, '[') && read_field(scan, node->nodes[0]) && take(scan, ']');
    }
    return 0;
}

/* -- many frames -------------------------------------------------------------------------------------------- */

typedef struct {
    Heap counts, levels, words, edges;
} Books;

/* Put a frame's levels behind those of the frames before it, bids first. */
static int append_sides(Books *books, Levels *sides) {
    for (int i = 0; i < 2; i++) {
        Levels *side = &sides[i];
        int64_t count = side->levels.used / (2 * (Py_ssize_t)sizeof(double));
        int64_t *edges = (int64_t *)(void *)side->edges.data;
        for (Py_ssize_t j = 0; j < side->edges.used / (Py_ssize_t)sizeof(int64_t); j++) edges[j] += books->words.used;
        if (heap_append(&books->counts, &count, (Py_ssize_t)sizeof count) || heap_append(&books->levels, side->levels.data, side->levels.used) ||
            heap_append(&books->words, side->words.data, side->words.used) || heap_append(&books->edges, side->edges.data, side->edges.used))
            return -1;
        side->levels.used = side->words.used = side->edges.used = 0;
    }
    return 0;
}

/* 1: all frames are in the columns; 0: Python must look; -1: an exception is set. */
static int scan_frames(const Shape *shape, PyObject *payloads, Scan *scan, Books *books) {
    Py_ssize_t frames = PyList_Size(payloads);
    for (scan->frame = 0; scan->frame < frames; scan->frame++) {
        char *data;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(payloads, scan->frame), &data, &size)) return -1;
        scan->at = data;
        scan->end = data + size;
        if (!read_field(scan, shape->root)) return scan->has_failed ? -1 : 0;
        skip_space(scan);
        if (scan->at != scan->end) return 0;
        if (shape->has_levels && append_sides(books, scan->sides)) return -1;
    }
    return 1;
}

static PyObject *give(const Heap *heap) { return PyByteArray_FromStringAndSize(heap->data, heap->used); }

PyObject *scan(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *capsule, *payloads, *answer = NULL, *columns = NULL;
    if (!PyArg_ParseTuple(args, "OO", &capsule, &payloads)) return NULL;
    const Shape *shape = open_shape(capsule);
    if (shape == NULL) return NULL;
    Py_ssize_t frames = PyList_Size(payloads);
    if (frames < 0) return NULL;
    char *places[FIELDS_MAX];
    Scan state = {.columns = places};
    Books books = {0};
    columns = PyTuple_New(shape->columns);
    if (columns == NULL) return NULL;
    for (int i = 0; i < shape->columns; i++) {
        PyObject *column = PyByteArray_FromStringAndSize(NULL, frames * shape->widths[i]);
        if (column == NULL || PyTuple_SetItem(columns, i, column)) goto done;
        places[i] = PyByteArray_AsString(column);
    }
    int found = scan_frames(shape, payloads, &state, &books);
    if (found == 0) answer = Py_NewRef(Py_None);
    if (found == 1)
        answer = Py_BuildValue("(ONNNN)", columns, give(&books.counts), give(&books.levels), give(&books.words), give(&books.edges));
done:
    Py_DECREF(columns);
    for (int i = 0; i < 2; i++) {
        PyMem_Free(state.sides[i].levels.data);
        PyMem_Free(state.sides[i].words.data);
        PyMem_Free(state.sides[i].edges.data);
    }
    PyMem_Free(books.counts.data);
    PyMem_Free(books.levels.data);
    PyMem_Free(books.words.data);
    PyMem_Free(books.edges.data);
    return answer;
}
