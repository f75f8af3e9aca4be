# C types for scheduler.py, read by Cython only.
cimport cython

from isthmus.span.stream cimport Stream


@cython.final
cdef class _Queue:
    cdef Stream first
    cdef Stream _last
    cdef Py_ssize_t size

    cdef append(self, Stream stream)

    @cython.locals(stream=Stream)
    cdef Stream popleft(self)

    @cython.locals(each=Stream, before=Stream)
    cdef bint remove(self, Stream stream)

    @cython.locals(stream=Stream)
    cdef list clear(self)


@cython.final
cdef class Scheduler:
    cdef _Queue _again
    cdef _Queue _fresh
    cdef _Queue _waiting

    cpdef add(self, Stream stream)

    @cython.locals(queue=_Queue, stream=Stream)
    cpdef lost(self)

    @cython.locals(stream=Stream)
    cpdef Stream next(self, long long quantum)

    cpdef bint is_fresh(self, Stream stream)
    cpdef bint empty(self)
    cpdef wait(self, Stream stream)
    cpdef settle(self, Stream stream)
    cpdef remove(self, Stream stream)
    cdef _Queue _turn(self)
