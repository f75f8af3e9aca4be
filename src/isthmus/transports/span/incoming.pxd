# The C types of incoming.py, for Cython; incoming.py itself is ordinary Python and runs without them.
from isthmus cimport layer
from isthmus.transports.span.stream cimport SpanStream


cdef class SpanIncoming:
    cdef public object address
    cdef public object identity
    cdef public object gone
    cdef SpanStream _transport
    cdef bint _lost

    cpdef accept(self, receiver)
