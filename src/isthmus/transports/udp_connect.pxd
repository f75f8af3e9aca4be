# The C types of udp_connect.py, for Cython; udp_connect.py itself is ordinary Python and runs without them.
from isthmus.layer cimport Layer


cdef class UdpTransport(Layer):
    cdef object _loop
    cdef object _socket
    cdef object _receiver
    cdef object _counters
    cdef object _group

    cpdef ready(self, int events)
    cpdef send(self, list datagrams)
