# The C types of dial.py, for Cython; dial.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer
from isthmus.transports.poller cimport poller_of
from isthmus.transports.stream_socket cimport PlainStreamSocket

cdef int _AGAIN, _IN_PROGRESS, _UNIX, _WOULD_BLOCK


cdef class SocketDial(Layer):
    cdef object _address
    cdef object _connected
    cdef object _failed
    cdef object _local
    cdef object _loop
    cdef object _retry
    cdef tuple _place
    cdef PlainStreamSocket _socket
    cdef object _task
    cdef object _timeout
    cdef object _timer
    cdef bint _done
    cdef bint _watching

    cpdef start(self)
    cpdef ready(self, int events)
    cpdef round_over(self)
    cpdef _end(self)
    cpdef _succeed(self, PlainStreamSocket connected)
    cpdef made(self, PlainStreamSocket connected)
    @cython.locals(outcome=int)
    cpdef _connect_directly(self, int family, target)
    cpdef _unwatch(self)
