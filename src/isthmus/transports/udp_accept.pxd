# The C types of udp_accept.py, for Cython; udp_accept.py itself is ordinary Python and runs without them.


cdef class UdpPeer:
    cdef object _accept
    cdef public bytes key
    cdef public object receiver

    cpdef send(self, list datagrams)
