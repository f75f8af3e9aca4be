# The C types of socket_connect.py, for Cython; it is ordinary Python and runs without them.
from isthmus.transports.dial cimport SocketDial
from isthmus.transports.stream_socket cimport PlainStreamSocket
from isthmus.transports.tcp cimport TcpTransport


cdef class SocketConnector:
    cdef readonly object address
    cdef object _at
    cdef object _loop
    cdef object _local
    cdef object _timeout
    cdef tuple _place


cdef class TransportDial(SocketDial):
    cdef public object receiver

    cpdef made(self, PlainStreamSocket connected)
