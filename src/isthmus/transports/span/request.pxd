# The C types of request.py, for Cython; request.py itself is ordinary Python and runs without them.
cimport cython

cdef class Request

from isthmus.layer cimport Layer
from isthmus.transports.span.client cimport ClientSession
from isthmus.transports.span.connect cimport SpanConnector
from isthmus.transports.span.stream cimport SpanStream


cdef class Request(Layer):
    cdef readonly SpanConnector _connector
    cdef bint _begins
    cdef object _timer
    cdef public object receiver
    cdef public object failed
    cdef public str origin
    cdef public bint early
    cdef public bint over
    cdef public object dial
    cdef public object transport

    cpdef begin(self)
    cpdef round_over(self)
    cpdef limit(self, double seconds)
    cpdef unlimited(self)
    cpdef end(self)

    @cython.locals(transport=SpanStream)
    cpdef open(self, ClientSession session)

    cpdef answered(self)


cdef class _Unanswered:
    cdef Request _request
