# C types for scheduler.py, read by Cython only.
cimport cython

from isthmus.span.stream cimport Stream


@cython.final
cdef class Scheduler:
    cdef object _again
    cdef object _fresh
    cdef object _waiting

    cpdef add(self, Stream stream)

    @cython.locals(stream=Stream)
    cpdef lost(self)

    @cython.locals(stream=Stream)
    cpdef Stream next(self, long long quantum)

    cpdef bint is_fresh(self, Stream stream)
    cpdef wait(self, Stream stream)
    cpdef settle(self, Stream stream)
    cpdef remove(self, Stream stream)
