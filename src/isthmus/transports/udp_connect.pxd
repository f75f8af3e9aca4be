# The C types of udp_connect.py, for Cython; udp_connect.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.transports cimport datagrams
from isthmus.transports.datagram_socket cimport PlainDatagramSocket
from isthmus.transports.datagrams cimport DatagramCounters, DatagramLayer

cdef Py_ssize_t BATCH
cdef int _BATCHES_AT_A_TIME


cdef class UdpTransport(DatagramLayer):
    cdef object _loop
    cdef object _socket
    cdef PlainDatagramSocket _datagrams
    cdef object _receiver
    cdef DatagramCounters _counters
    cdef bytes _group

    @cython.locals(_=int, found=list)
    cpdef ready(self, int events)
    cpdef send(self, list datagrams)
