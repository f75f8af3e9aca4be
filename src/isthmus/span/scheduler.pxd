# C types for scheduler.py, read by Cython only.
cimport cython

from isthmus.span.stream cimport Stream


@cython.final
cdef class _Queue:
    cdef Stream first
    cdef Stream _last
    cdef Py_ssize_t size

    cdef void append(self, Stream stream) noexcept

    cdef void popleft(self, Stream stream) noexcept

    @cython.locals(each=Stream, before=Stream)
    cdef bint remove(self, Stream stream) noexcept

    @cython.locals(stream=Stream)
    cdef list clear(self)


@cython.final
cdef class Scheduler:
    cdef _Queue _again
    cdef _Queue _fresh
    cdef _Queue _waiting

    cpdef void add(self, Stream stream) noexcept

    @cython.locals(queue=_Queue, stream=Stream)
    cpdef lost(self)

    @cython.locals(stream=Stream)
    cpdef Stream next(self, long long quantum)

    cpdef bint is_fresh(self, Stream stream) noexcept
    cpdef bint empty(self) noexcept
    cpdef void wait(self, Stream stream) noexcept

    @cython.locals(went_first=bint)
    cpdef void settle(self, Stream stream) noexcept

    cpdef remove(self, Stream stream)

    cdef bint _end_turn(self, Stream stream) noexcept
