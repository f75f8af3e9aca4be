# C types for send_side.py, read by Cython only.
cimport cython

from isthmus.span.message cimport Message

cdef list _NONE
cdef int LOST
cdef Py_ssize_t _MAXIMUM_RANGES, _COMPACT_FROM


@cython.final
cdef class SendSide:
    cdef list _chunks
    cdef list _ends
    cdef list _slots
    cdef Py_ssize_t _first
    cdef Py_ssize_t _cursor
    cdef long long _first_at
    cdef long long _cursor_at
    cdef int _slot
    cdef public int fin_slot
    cdef readonly long long lost
    cdef readonly long long acked
    cdef readonly int acked_slot
    cdef readonly long long next
    cdef readonly long long taken_at
    cdef readonly long long end
    cdef public unsigned long long limit
    cdef public bint fin
    cdef public bint fin_sent
    cdef public bint fin_acked

    cpdef int write(self, bytes data) except -1
    cpdef list drop(self)
    cpdef bint sendable(self, unsigned long long limit) noexcept
    cpdef bint fin_due(self) noexcept

    @cython.locals(start="long long", end="long long", slot=int)
    cpdef Py_ssize_t available(self, unsigned long long limit) except -1

    @cython.locals(start="long long", size="long long")
    cpdef Py_ssize_t take(self, long long maximum, unsigned long long limit, int slot) except -1

    @cython.locals(index=Py_ssize_t, start="long long", size="long long", end="long long", ranges=list)
    cdef Py_ssize_t _take_lost(self, long long maximum, int slot) except -1

    @cython.locals(ranges=list)
    cdef list _ranges(self)

    cdef _keep(self, list ranges)

    @cython.locals(index=Py_ssize_t, at="long long", skip=Py_ssize_t, length=Py_ssize_t, chunk=bytes)
    cpdef int gather(self, unsigned int stream, long long offset, Py_ssize_t size, Message message) except -1

    @cython.locals(size="long long", end="long long", slot=int)
    cpdef Py_ssize_t acknowledge(self, unsigned long long received) except -1

    @cython.locals(first=Py_ssize_t, chunks=list, at="long long", chunk=bytes)
    cdef _trim(self)

    @cython.locals(start="long long", end="long long", each=int, ranges=list)
    cpdef long long lose(self, int slot)
