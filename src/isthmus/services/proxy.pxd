# The C types of proxy.py, for Cython; proxy.py itself is ordinary Python and runs without them.
from isthmus cimport access
from isthmus.services.relay cimport Half, Relay

cdef object _is_enabled, _DEBUG


cdef class ProxyRelay(Relay):
    cdef public object service
    cdef object _incoming
    cdef object _dial
    cdef str _client
    cdef str _who
    cdef str _origin
    cdef double _began
    cdef bint _refused

    cpdef begin(self, incoming)
    cdef _connect(self, str origin, bint early)


cdef class PreparedRelay(ProxyRelay):
    cdef object _pool
    cdef public bint taken
