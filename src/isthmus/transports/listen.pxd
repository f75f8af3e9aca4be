# The C types of listen.py, for Cython; listen.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer


cdef class Quota:
    cdef public Py_ssize_t maximum
    cdef public Py_ssize_t used
    cdef public Py_ssize_t times_reached
    cdef list _waiting

    cpdef bint take(self) except -1
    cpdef release(self)


cdef class Listening(Layer):
    cdef object _socket
    cdef public object _accepted
    cdef object _loop
    cdef readonly object _retry
    cdef Quota _quota
    cdef int _family
    cdef int _backlog
    cdef bint _stopping

    @cython.locals(_=int)
    cpdef ready(self, int events)
    cpdef bint _accept_one(self) except -1
