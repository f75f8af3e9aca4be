# The C types of event_loop.py, for Cython; event_loop.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer
from isthmus.transports.poller cimport EpollPoller

cdef int READ, WRITE, _CANCELLED_TIMERS
cdef double _LONGEST_WAIT


cdef class _Rounds:
    cdef object _loop
    cdef EpollPoller _poller
    cdef object _ready
    cdef list _scheduled
    cdef double _resolution
    cdef object _first
    cdef double _first_due
    cdef bint _stopping

    @cython.locals(wait=double)
    cpdef run(self)
    cpdef stop(self)
    cpdef timer_cancelled(self, timer)
    @cython.locals(_=Py_ssize_t)
    cpdef _run_ready(self)
    @cython.locals(left=double)
    cpdef double _until_first_timer(self) except? -2
    @cython.locals(scheduled=list)
    cpdef bint _look_at_timers(self) except -1
    @cython.locals(due=double)
    cpdef _take_due_timers(self)
    cpdef _drop_cancelled(self)


cdef class _Registered(Layer):
    cdef object _loop
    cdef object _ready
    cdef public object key

    cpdef ready(self, int events)
