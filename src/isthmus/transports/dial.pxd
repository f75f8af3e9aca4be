# The C types of dial.py, for Cython; dial.py itself is ordinary Python and runs without them.

cdef class SocketDial:
    cdef object _address
    cdef object _connected
    cdef object _failed
    cdef object _local
    cdef object _loop
    cdef object _retry
    cdef object _socket
    cdef object _task
    cdef object _timeout
    cdef object _timer
    cdef bint _done
    cdef bint _watching

    cpdef _end(self)
    cpdef _succeed(self, connected)
    cpdef _connect_directly(self, int family, target)
    cpdef _unwatch(self)
