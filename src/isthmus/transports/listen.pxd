# The C types of listen.py, for Cython; listen.py itself is ordinary Python and runs without them.

cdef class Quota:
    cdef public Py_ssize_t maximum
    cdef public Py_ssize_t used
    cdef public Py_ssize_t times_reached
    cdef list _waiting

    cpdef bint take(self) except -1
    cpdef release(self)
