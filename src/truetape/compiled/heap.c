/* Memory that grows. */
#include "core.h"

#include <string.h>

int heap_reserve(Heap *heap, Py_ssize_t more) {
    if (heap->room - heap->used >= more) return 0;
    Py_ssize_t room = heap->room ? heap->room : 4096;
    while (room - heap->used < more) {
        if (room > PY_SSIZE_T_MAX / 2) {
            PyErr_NoMemory();
            return -1;
        }
        room *= 2;
    }
    char *data = PyMem_Realloc(heap->data, (size_t)room);
    if (data == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    heap->data = data;
    heap->room = room;
    return 0;
}

int heap_append(Heap *heap, const void *data, Py_ssize_t size) {
    if (size == 0) return 0;
    if (heap_reserve(heap, size)) return -1;
    memcpy(heap->data + heap->used, data, (size_t)size);
    heap->used += size;
    return 0;
}
