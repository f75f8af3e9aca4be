# The C types of connect.py, for Cython; connect.py itself is ordinary Python and runs without them.
cimport cython

cdef class SpanConnector

from isthmus.transports.poller cimport BasePoller, poller_of
from isthmus.transports.span.client cimport ClientSession
from isthmus.transports.span.request cimport Request


cdef class SpanConnector:
    cdef readonly object address
    cdef readonly object loop
    cdef readonly BasePoller poller
    cdef public object options
    cdef readonly object budgets
    cdef readonly object offer
    cdef readonly object idle
    cdef public object peer
    cdef public long long downgrades
    cdef public object flow_terms
    cdef readonly ClientSession _session
    cdef set _going
    cdef dict _waiting
    cdef bint _closed

    cpdef Request begin(self, Request request)

    @cython.locals(session=ClientSession)
    cpdef start(self, Request request)

    cpdef forget(self, Request request)
