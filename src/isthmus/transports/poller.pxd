# The C types of poller.py, for Cython; poller.py itself is ordinary Python and runs without them.
cimport cython


cdef class EpollPoller:
    cdef object _epoll
    cdef dict _watchers

    cpdef add(self, int descriptor, watcher, int wanted)
    cpdef change(self, int descriptor, int wanted)
    cpdef forget(self, int descriptor)

    @cython.locals(watchers=dict)
    cpdef _ready(self)
