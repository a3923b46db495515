/* What the files of the compiled part share. Each function here has a twin in Python that says the same. */
#ifndef TRUETAPE_CORE_H
#define TRUETAPE_CORE_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define UNKNOWN INT64_MIN /* events.run.UNKNOWN */

/* heap.c: memory that grows. */
typedef struct {
    char *data;
    Py_ssize_t used, room;
} Heap;

int heap_reserve(Heap *heap, Py_ssize_t more); /* 0; -1: no memory, with the exception set */
int heap_append(Heap *heap, const void *data, Py_ssize_t size); /* the same */

/* number.c: each moves *at behind what it read and returns 1; 0: not this, or not to be decided here. */
int read_whole(const char **at, const char *end, int64_t *value);
int read_real(const char **at, const char *end, double *value);
int read_digits(const char **at, const char *end, double *value); /* no sign, no exponent */
int read_time(const char *at, const char *end, int64_t *microseconds);

/* shape.c, scan.c */
PyObject *compile_shape(PyObject *module, PyObject *spec);
PyObject *scan(PyObject *module, PyObject *args);

/* heads.c */
PyObject *sort_heads(PyObject *module, PyObject *args);

/* crc.c */
void fill_crc_tables(void); /* before the first sum */
uint32_t add_crc(const unsigned char *data, Py_ssize_t size);

/* number_ladder.c, text_ladder.c */
extern PyType_Spec number_ladder_spec;
extern PyType_Spec text_ladder_spec;

#endif
