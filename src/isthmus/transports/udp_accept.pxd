# The C types of udp_accept.py, for Cython; udp_accept.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.layer cimport Layer


cdef class UdpAccept(Layer):
    cdef public object address
    cdef public object socket
    cdef public object counters
    cdef object _offer
    cdef object _loop
    cdef public dict _peers
    cdef bint _watched
    cdef bint _stopping
    cdef bint _closed

    cpdef ready(self, int events)

    @cython.locals(found=dict, count=Py_ssize_t, known=UdpPeer, datagrams=list)
    cdef bint _read(self)

    cpdef _pause(self)
    cpdef _resume(self)


cdef class UdpPeer:
    cdef UdpAccept _accept
    cdef public bytes key
    cdef public object receiver

    cpdef send(self, list datagrams)
