# The C types of session.py, for Cython; session.py itself is ordinary Python and runs without them.
cimport cython

cdef class SessionDriver

from isthmus.span.flow cimport Flow
from isthmus.span.session cimport Handler, Session
from isthmus.span.stream cimport Stream
from isthmus.transports.poller cimport BasePoller, poller_of
from isthmus.transports.span.flow cimport SpanFlow
from isthmus.transports.span.stream cimport SpanStream

cdef double _EARLIER


cdef class SessionDriver(Handler):
    cdef public object loop
    cdef public BasePoller poller
    cdef public object address
    cdef public Session session
    cdef public dict websockets
    cdef public str peer
    cdef public object flow_terms
    cdef public object _timer
    cdef public double _due

    @cython.locals(session=Session, due=double)
    cpdef moved(self)

    @cython.locals(owner=SpanStream)
    cpdef data(self, Stream stream, data)

    @cython.locals(owner=SpanStream)
    cpdef eof(self, Stream stream)

    @cython.locals(owner=SpanStream)
    cpdef writable(self, Stream stream)

    @cython.locals(owner=SpanStream)
    cpdef closed(self, Stream stream)

    cpdef stream_over(self, SpanStream stream)

    @cython.locals(owner=SpanFlow)
    cpdef datagrams(self, Flow flow, list datagrams)
