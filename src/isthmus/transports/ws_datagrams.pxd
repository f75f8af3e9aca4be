# The C types of ws_datagrams.py, for Cython; ws_datagrams.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.transports cimport datagrams as sides
from isthmus.transports.datagrams cimport DatagramCounters, DatagramLayer
from isthmus.transports.ws cimport WebSocketTransport


cdef Py_ssize_t MAXIMUM_DATAGRAM


cdef class WebSocketDatagrams(DatagramLayer):
    cdef object _receiver
    cdef object _freshness
    cdef DatagramCounters _counters
    cdef object _loop
    cdef object _waiting
    cdef WebSocketTransport _below
    cdef Py_ssize_t _size
    cdef bint _blocked

    @cython.locals(data=bytes)
    cpdef messages_received(self, list messages)

    @cython.locals(below=WebSocketTransport, taken=Py_ssize_t)
    cpdef send(self, list datagrams)
