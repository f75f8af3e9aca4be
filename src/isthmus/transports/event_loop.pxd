# The C types of event_loop.py, for Cython; event_loop.py itself is ordinary Python and runs without them.
from isthmus.transports.poller cimport EpollPoller

cdef int READ, WRITE, _LONGEST_WAIT, _CANCELLED_TIMERS


cdef class _Round:
    cdef object _loop
    cdef EpollPoller _poller
    cdef object _ready
    cdef list _scheduled
    cdef double _resolution

    cpdef run(self)
    cpdef int _until_the_next_timer(self) except? -1
    cpdef _take_due_timers(self)
    cpdef _drop_cancelled(self)


cdef class _Registered:
    cdef object _loop
    cdef object _ready
    cdef public object key

    cpdef ready(self, int events)
