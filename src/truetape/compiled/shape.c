/* Nested tuples to shapes. */
#include "shape.h"

#include <string.h>

#define WORDS_MAX 16
#define CAPSULE "truetape.compiled.shape"

static const char *const NAMES[] = {"object", "whole", "real", "flag", "word", "time", "side", "changes", "only"};

static void free_node(Node *node) {
    if (node == NULL) return;
    Py_ssize_t texts = node->type == OBJECT ? node->fields : node->words;
    for (Py_ssize_t i = 0; node->keys != NULL && i < texts; i++) PyMem_Free(node->keys[i].text);
    Py_ssize_t nodes = node->type == OBJECT ? node->fields : 1;
    for (Py_ssize_t i = 0; node->nodes != NULL && i < nodes; i++) free_node(node->nodes[i]);
    PyMem_Free(node->keys);
    PyMem_Free(node->nodes);
    PyMem_Free(node);
}

static int copy_text(PyObject *bytes, Text *text) {
    char *data;
    if (PyBytes_AsStringAndSize(bytes, &data, &text->size)) return -1;
    text->text = PyMem_Malloc((size_t)text->size + 1);
    if (text->text == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memcpy(text->text, data, (size_t)text->size + 1);
    return 0;
}

static int copy_texts(PyObject *tuple, Node *node) {
    Py_ssize_t size = PyTuple_Size(tuple);
    if (size < 0) return -1;
    if (size > WORDS_MAX) {
        PyErr_SetString(PyExc_ValueError, "a shape has too many words");
        return -1;
    }
    node->keys = PyMem_Calloc((size_t)size + 1, sizeof(Text));
    if (node->keys == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->words = size;
    for (Py_ssize_t i = 0; i < size; i++)
        if (copy_text(PyTuple_GetItem(tuple, i), &node->keys[i])) return -1;
    return 0;
}

static Node *make_node(Shape *shape, PyObject *spec, int depth);

static int fill_object(Shape *shape, Node *node, PyObject *fields, int depth) {
    Py_ssize_t size = PyTuple_Size(fields);
    if (size < 0) return -1;
    if (size > FIELDS_MAX) {
        PyErr_SetString(PyExc_ValueError, "a shape has too many fields");
        return -1;
    }
    node->keys = PyMem_Calloc((size_t)size + 1, sizeof(Text));
    node->nodes = PyMem_Calloc((size_t)size + 1, sizeof(Node *));
    if (node->keys == NULL || node->nodes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->fields = size;
    for (Py_ssize_t i = 0; i < size; i++) {
        PyObject *key, *inner;
        if (!PyArg_ParseTuple(PyTuple_GetItem(fields, i), "SO", &key, &inner)) return -1;
        if (copy_text(key, &node->keys[i])) return -1;
        node->nodes[i] = make_node(shape, inner, depth + 1);
        if (node->nodes[i] == NULL) return -1;
    }
    return 0;
}

static int add_column(Shape *shape, Node *node, char width) {
    if (shape->columns == FIELDS_MAX) {
        PyErr_SetString(PyExc_ValueError, "a shape has too many columns");
        return -1;
    }
    shape->widths[shape->columns] = width;
    node->column = shape->columns++;
    return 0;
}

static int fill_node(Shape *shape, Node *node, PyObject *spec, int depth) {
    long long low, high, fallback;
    const char *name;
    PyObject *inner;
    switch (node->type) {
    case OBJECT:
        if (!PyArg_ParseTuple(spec, "sO", &name, &inner)) return -1;
        node->is_required = 1;
        return fill_object(shape, node, inner, depth);
    case WHOLE:
        if (!PyArg_ParseTuple(spec, "sppLLL", &name, &node->is_required, &node->is_nullable, &fallback, &low, &high)) return -1;
        node->fallback = fallback, node->low = low, node->high = high;
        return add_column(shape, node, 8);
    case REAL:
        if (!PyArg_ParseTuple(spec, "sppddd", &name, &node->is_required, &node->is_nullable, &node->real_fallback, &node->real_low, &node->real_high))
            return -1;
        return add_column(shape, node, 8);
    case TIME:
        node->is_required = 1;
        return add_column(shape, node, 8);
    case FLAG:
        if (!PyArg_ParseTuple(spec, "spL", &name, &node->is_required, &fallback)) return -1;
        node->fallback = fallback;
        return add_column(shape, node, 1);
    case WORD:
        if (!PyArg_ParseTuple(spec, "spLO", &name, &node->is_required, &fallback, &inner)) return -1;
        node->fallback = fallback;
        return copy_texts(inner, node) ? -1 : add_column(shape, node, 1);
    case SIDE:
        if (!PyArg_ParseTuple(spec, "sinp", &name, &node->side, &node->fields, &node->is_spelled)) return -1;
        if (node->side < 0 || node->side > 1 || node->fields < 2) {
            PyErr_SetString(PyExc_ValueError, "a side is 0 or 1, and its levels have two texts or more");
            return -1;
        }
        node->is_required = 1;
        shape->has_levels = 1;
        shape->is_spelled |= node->is_spelled;
        return 0;
    case CHANGES:
        if (!PyArg_ParseTuple(spec, "sO", &name, &inner) || copy_texts(inner, node)) return -1;
        if (node->words != 2) {
            PyErr_SetString(PyExc_ValueError, "there are two sides");
            return -1;
        }
        node->is_required = 1;
        shape->has_levels = 1;
        return 0;
    case ONLY:
        if (!PyArg_ParseTuple(spec, "sO", &name, &inner)) return -1;
        node->is_required = 1;
        node->nodes = PyMem_Calloc(1, sizeof(Node *));
        if (node->nodes == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        node->nodes[0] = make_node(shape, inner, depth + 1);
        return node->nodes[0] == NULL ? -1 : 0;
    }
    return -1;
}

static Node *make_node(Shape *shape, PyObject *spec, int depth) {
    if (!PyTuple_Check(spec) || PyTuple_Size(spec) < 1 || depth > DEPTH_MAX) {
        PyErr_SetString(PyExc_ValueError, "a shape is made of tuples that begin with a name");
        return NULL;
    }
    Py_ssize_t size;
    const char *name = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(spec, 0), &size);
    if (name == NULL) return NULL;
    int type = OBJECT;
    while (type <= ONLY && strcmp(name, NAMES[type])) type++;
    if (type > ONLY) {
        PyErr_Format(PyExc_ValueError, "a shape has no type %s", name);
        return NULL;
    }
    Node *node = PyMem_Calloc(1, sizeof(Node));
    if (node == NULL) return (Node *)PyErr_NoMemory();
    node->type = (Type)type;
    if (fill_node(shape, node, spec, depth)) {
        free_node(node);
        return NULL;
    }
    return node;
}

static void free_shape(PyObject *capsule) {
    Shape *shape = PyCapsule_GetPointer(capsule, CAPSULE);
    if (shape == NULL) return;
    free_node(shape->root);
    PyMem_Free(shape);
}

PyObject *compile_shape(PyObject *Py_UNUSED(module), PyObject *spec) {
    Shape *shape = PyMem_Calloc(1, sizeof(Shape));
    if (shape == NULL) return PyErr_NoMemory();
    shape->root = make_node(shape, spec, 0);
    PyObject *capsule = shape->root == NULL ? NULL : PyCapsule_New(shape, CAPSULE, free_shape);
    if (capsule == NULL) {
        free_node(shape->root);
        PyMem_Free(shape);
    }
    return capsule;
}

const Shape *open_shape(PyObject *capsule) { return PyCapsule_GetPointer(capsule, CAPSULE); }
