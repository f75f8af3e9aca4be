# C types for outbox.py, read by Cython only.
cimport cython

cdef class Outbox

from isthmus.span.carrier cimport Carrier
from isthmus.span.scheduler cimport Scheduler
from isthmus.span.stream cimport Stream

cdef int ANSWERS, NEEDS_ACK
cdef Py_ssize_t ACKNOWLEDGE_EVERY


@cython.final
cdef class Outbox:
    cdef list _in_order
    cdef dict _owing
    cdef readonly dict pending
    cdef readonly Scheduler scheduler
    cdef long long _unacknowledged
    cdef readonly double acknowledge_at
    cdef public bint awake

    @cython.locals(carrier=Carrier)
    cpdef Carrier carrier(self, int slot)

    @cython.locals(carrier=Carrier)
    cpdef ready(self, Stream stream)

    cpdef again(self)
    cpdef unpin(self, Stream stream)

    @cython.locals(carrier=Carrier)
    cpdef say(self, Stream stream, int needs)

    cpdef owe(self, Stream stream, Py_ssize_t size, double now, double within)

    @cython.locals(owing=dict, stream=Stream)
    cpdef flush(self, double now)

    @cython.locals(carrier=Carrier)
    cdef _tell_arrived(self)

    @cython.locals(carrier=Carrier)
    cpdef remove(self, Stream stream)

    @cython.locals(carrier=Carrier)
    cpdef int wake(self) except -1
