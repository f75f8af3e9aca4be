# The C types of accept.py, for Cython; accept.py itself is ordinary Python and runs without them.
from isthmus.transports.stream_socket cimport PlainStreamSocket
from isthmus.transports.tcp cimport TcpTransport


cdef class SocketIncoming:
    cdef public object address
    cdef public object gone
    cdef object _loop
    cdef object _origin
    cdef object _rate
    cdef PlainStreamSocket _socket
