# C types for send_side.py, read by Cython only.
cimport cython

cdef list _NONE
cdef Py_ssize_t _MAXIMUM_RANGES, _COMPACT_FROM


@cython.final
cdef class SendSide:
    cdef list _chunks
    cdef list _starts
    cdef list _ends
    cdef list _slots
    cdef int _first
    cdef public int fin_slot
    cdef long long _lost
    cdef readonly long long acked
    cdef readonly long long next
    cdef readonly long long end
    cdef public unsigned long long limit
    cdef public bint fin
    cdef public bint fin_sent
    cdef public bint fin_acked

    cpdef write(self, bytes data)
    cpdef list drop(self)
    cpdef bint sendable(self, unsigned long long limit)
    cpdef bint fin_due(self)
    cpdef bint lost(self)
    cpdef long long available(self, unsigned long long limit)

    @cython.locals(start="long long", size="long long")
    cpdef tuple take(self, long long maximum, unsigned long long limit, int slot)

    @cython.locals(index=Py_ssize_t, start="long long", size="long long")
    cdef tuple _take_lost(self, long long maximum, int slot)

    @cython.locals(index=Py_ssize_t, skip="long long", length="long long", chunk=bytes, buffers=list)
    cpdef list gather(self, long long offset, long long size)

    @cython.locals(index=Py_ssize_t, start="long long", size="long long", end="long long", done=list, upto="long long")
    cpdef list acknowledge(self, unsigned long long received)

    @cython.locals(first=Py_ssize_t, chunks=list, starts=list)
    cdef _trim(self)

    cpdef long long lose(self, int slot)
