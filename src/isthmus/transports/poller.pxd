# The C types of poller.py, for Cython; poller.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.transports.epoll cimport PlainEpoll
from isthmus.layer cimport Layer

cdef int _PASSES_AT_A_TIME


cdef class BasePoller:
    cdef object _loop
    cdef list _after
    cdef bint _in_round
    cdef bint _ending
    cdef int _large
    cdef int _large_before

    cpdef double now(self) except -1
    cpdef add(self, int descriptor, watcher, int wanted)
    cpdef change(self, int descriptor, int wanted)
    cpdef forget(self, int descriptor)
    cpdef forget_closing(self, int descriptor)
    cpdef int large_read(self) except -1
    cpdef after_round(self, callback)
    cpdef tell_after_round(self, Layer layer)
    cpdef _ask_for_end(self)
    @cython.locals(asked=list, layer=Layer, _=int)
    cpdef end_round(self)


cdef class EpollPoller(BasePoller):
    cdef PlainEpoll _epoll
    cdef list _watchers
    cdef set _fresh
    cdef object _fail

    cpdef watcher(self, int descriptor)
    cpdef poll(self, double seconds)
    cpdef _ready(self)


cdef class LoopPoller(BasePoller):
    cdef dict _watchers
    cdef dict _wanted


cpdef BasePoller poller_of(loop)
