# The C types of accept.py, for Cython; accept.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.span.stream cimport Stream
from isthmus.transports.listen cimport Quota
from isthmus.transports.span.incoming cimport SpanIncoming
from isthmus.transports.span.session cimport SessionDriver
from isthmus.transports.span.stream cimport SpanStream


cdef class ServerSession(SessionDriver):
    cdef public object identity
    cdef object _accept
    cdef object _login
    cdef Quota _quota

    @cython.locals(quota=Quota)
    cpdef stream_opened(self, Stream stream)

    cpdef stream_over(self, SpanStream stream)
