# C types for receive_side.py, read by Cython only.
cimport cython

from isthmus.span.limits cimport Budget

from isthmus.websocket cimport _octets as octets

cdef list _NONE
cdef long long _UNKNOWN, FIRST_WINDOW, GUARANTEED_WINDOW
cdef double _LEAST_ROUND_TRIP
cdef Py_ssize_t _COPIED


@cython.final
cdef class ReceiveSide:
    cdef Budget _budget
    cdef list _starts
    cdef list _parts
    cdef long long _borrowed
    cdef long long _largest
    cdef long long _mark
    cdef double _mark_time
    cdef readonly long long received
    cdef readonly long long consumed
    cdef readonly long long highest
    cdef readonly long long limit
    cdef readonly long long final
    cdef readonly long long window
    cdef readonly Py_ssize_t pieces
    cdef bint _admitted

    cpdef bint complete(self) noexcept
    cpdef bint done(self) noexcept
    cpdef long long acknowledged(self) noexcept

    @cython.locals(end="unsigned long long", received="unsigned long long")
    cpdef take(self, unsigned long long offset, data, Py_ssize_t start, Py_ssize_t size)

    cpdef follow(self)
    cpdef finish(self, unsigned long long final)
    cpdef drop(self)
    cpdef admit(self, double now)
    @cython.locals(elapsed=double)
    cpdef bint consume(self, long long size, double now, double round_trip) except -1
    cpdef long long renewed_limit(self)

    @cython.locals(limit="long long", above="long long")
    cdef bint _raise_limit(self) except -1

    @cython.locals(over="long long")
    cdef _give_back(self)
