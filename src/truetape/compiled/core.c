/* The compiled part: scans frames into columns and keeps books. `truetape.compiled` says when it is used. */
#include "core.h"

static PyMethodDef methods[] = {
    {"compile_shape", compile_shape, METH_O, "Return what `scan` goes by, made of nested tuples."},
    {"scan", scan, METH_VARARGS, "Return the columns of frames, None where Python must look itself."},
    {"sort_heads", sort_heads, METH_VARARGS, "Return the number of each message's head, -1 for one that is not known."},
    {NULL, NULL, 0, NULL},
};

static int fill(PyObject *module) {
    fill_crc_tables();
    PyType_Spec *specs[] = {&number_ladder_spec, &text_ladder_spec};
    const char *names[] = {"NumberLadder", "TextLadder"};
    for (int i = 0; i < 2; i++) {
        PyObject *type = PyType_FromSpec(specs[i]);
        if (type == NULL) return -1;
        int failed = PyModule_AddObjectRef(module, names[i], type);
        Py_DECREF(type);
        if (failed) return -1;
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "truetape.compiled._core", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
