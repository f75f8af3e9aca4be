# The C types of accept.py, for Cython; accept.py itself is ordinary Python and runs without them.

cdef class SocketIncoming:
    cdef public object address
    cdef public object gone
    cdef object _loop
    cdef object _origin
    cdef object _rate
    cdef object _socket
