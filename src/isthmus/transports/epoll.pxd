# The C types of epoll.py, for Cython; epoll.py itself is ordinary Python and runs without them.

from isthmus.transports.spinning cimport Spinning


cdef class PlainEpoll:
    cdef object _epoll
    cdef Spinning _spinning

    cpdef register(self, int descriptor, int wanted)
    cpdef modify(self, int descriptor, int wanted)
    cpdef unregister(self, int descriptor)
    cpdef tell(self, double seconds, list watchers, set fresh, failed)
    cpdef double now(self) except -1
