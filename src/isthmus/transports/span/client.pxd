# The C types of client.py, for Cython; client.py itself is ordinary Python and runs without them.
cimport cython

cdef class ClientSession

from isthmus.span.flows cimport Flows
from isthmus.span.session cimport Session
from isthmus.span.stream cimport Stream
from isthmus.transports.span.connect cimport SpanConnector
from isthmus.transports.span.session cimport SessionDriver
from isthmus.transports.span.stream cimport SpanStream


cdef class ClientSession(SessionDriver):
    cdef SpanConnector _connector
    cdef readonly object offer
    cdef object _climb
    cdef object _dial
    cdef double _dialled_at
    cdef object _retry
    cdef long long _unheard
    cdef long long _failures
    cdef object _refused
    cdef long long _elsewhere
    cdef double _denied_since
    cdef double _retry_after
    cdef long long _more
    cdef double _saturated_since
    cdef double _judged_at
    cdef double _rate_before
    cdef bint _enough
    cdef int _one_for_flows

    @cython.locals(session=Session)
    cpdef bint is_ready(self)

    cpdef SpanStream open(self, str origin)

    @cython.locals(owner=SpanStream)
    cpdef opened(self, Stream stream)
