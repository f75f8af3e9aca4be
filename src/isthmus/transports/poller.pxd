# The C types of poller.py, for Cython; poller.py itself is ordinary Python and runs without them.
cimport cython


cdef class _Rounds:
    cdef object _loop
    cdef list _after
    cdef bint _in_round
    cdef bint _ending
    cdef int _large
    cdef int _large_before

    cpdef int large_read(self)
    cpdef after_round(self, callback)
    @cython.locals(callbacks=list)
    cpdef end_round(self)


cdef class EpollPoller(_Rounds):
    cdef object _epoll
    cdef list _watchers
    cdef set _fresh

    cpdef add(self, int descriptor, watcher, int wanted)
    cpdef change(self, int descriptor, int wanted)
    cpdef forget(self, int descriptor)
    cpdef watcher(self, int descriptor)
    cpdef poll(self, int milliseconds)
    cpdef _ready(self)


cdef class LoopPoller(_Rounds):
    cdef dict _watchers
    cdef dict _wanted
