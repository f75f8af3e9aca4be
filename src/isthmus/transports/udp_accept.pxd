# The C types of udp_accept.py, for Cython; udp_accept.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer
from isthmus.transports cimport datagrams
from isthmus.transports.datagram_socket cimport PlainDatagramSocket
from isthmus.transports.datagrams cimport DatagramCounters, DatagramLayer

cdef Py_ssize_t BATCH
cdef int _BATCHES_AT_A_TIME


cdef class UdpAccept(Layer):
    cdef public object address
    cdef public object socket
    cdef public PlainDatagramSocket datagrams
    cdef public DatagramCounters counters
    cdef object _offer
    cdef object _loop
    cdef public dict _peers
    cdef bint _watched
    cdef bint _stopping
    cdef bint _closed

    @cython.locals(_=int)
    cpdef ready(self, int events)

    @cython.locals(found=dict, count=Py_ssize_t, known=UdpPeer, came=list)
    cdef bint _read(self) except -1

    cpdef _pause(self)
    cpdef _resume(self)


cdef class UdpPeer(DatagramLayer):
    cdef UdpAccept _accept
    cdef public bytes key
    cdef public object receiver

    @cython.locals(accept=UdpAccept)
    cpdef send(self, list datagrams)
