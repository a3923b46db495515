/* Which messages begin how: the text up to a mark, `{"stream":"btcusdt@trade`, looked up in a dictionary. */
#include "core.h"

#include <string.h>

/* Return where the mark begins, the end where there is none. */
static const char *find_mark(const char *at, const char *end, const char *mark, Py_ssize_t size) {
    const char *whole = end;
    while (end - at >= size) {
        at = memchr(at, mark[0], (size_t)(end - at - size + 1));
        if (at == NULL) return whole;
        if (!memcmp(at, mark, (size_t)size)) return at;
        at++;
    }
    return whole;
}

/* Return the number of a head, -1 for none that is known; -2 with an exception. */
static int64_t look_up(PyObject *codes, const char *head, Py_ssize_t size) {
    PyObject *key = PyBytes_FromStringAndSize(head, size);
    if (key == NULL) return -2;
    PyObject *found = PyDict_GetItemWithError(codes, key);
    Py_DECREF(key);
    if (found == NULL) return PyErr_Occurred() ? -2 : -1;
    int64_t code = PyLong_AsLongLong(found);
    return code == -1 && PyErr_Occurred() ? -2 : code;
}

PyObject *sort_heads(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *payloads, *codes;
    const char *mark, *last = NULL;
    Py_ssize_t mark_size, last_size = 0;
    if (!PyArg_ParseTuple(args, "Oy#O", &payloads, &mark, &mark_size, &codes)) return NULL;
    Py_ssize_t frames = PyList_Size(payloads);
    if (frames < 0) return NULL;
    if (mark_size == 0 || !PyDict_Check(codes)) {
        PyErr_SetString(PyExc_ValueError, "heads end with a mark, and a dictionary tells their numbers");
        return NULL;
    }
    PyObject *answer = PyByteArray_FromStringAndSize(NULL, frames * (Py_ssize_t)sizeof(int64_t));
    if (answer == NULL) return NULL;
    int64_t *found = (int64_t *)(void *)PyByteArray_AsString(answer), code = -1;
    for (Py_ssize_t i = 0; i < frames; i++) {
        char *data;
        Py_ssize_t size;
        if (PyBytes_AsStringAndSize(PyList_GetItem(payloads, i), &data, &size)) goto failed;
        if (last == NULL || size < last_size || memcmp(data, last, (size_t)last_size)) { /* nearly all begin as the one before */
            const char *end = find_mark(data, data + size, mark, mark_size);
            code = look_up(codes, data, end - data);
            if (code == -2) goto failed;
            int is_whole = end == data + size; /* another one may go on where this one ends */
            last = is_whole ? NULL : data;
            last_size = is_whole ? 0 : end - data + mark_size;
        }
        found[i] = code;
    }
    return answer;
failed:
    Py_DECREF(answer);
    return NULL;
}
