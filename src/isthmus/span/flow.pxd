# C types for flow.py, read by Cython only.
cimport cython


@cython.final
cdef class Flow:
    cdef public object owner
    cdef readonly str origin
    cdef public list waiting
    cdef public list arrived
    cdef public Py_ssize_t size
    cdef readonly unsigned int id
    cdef readonly bint ours
    cdef public bint accepted
    cdef public bint over
    cdef public bint queued
