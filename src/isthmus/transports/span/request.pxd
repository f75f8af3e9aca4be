# The C types of request.py, for Cython; request.py itself is ordinary Python and runs without them.

cdef class Request:
    cdef readonly object _connector
    cdef object _how
    cdef object _timer
    cdef public object receiver
    cdef public object failed
    cdef public str origin
    cdef public bint early
    cdef public bint over
    cdef public object dial
    cdef public object transport

    cpdef begin(self, how)
    cpdef limit(self, double seconds)
    cpdef unlimited(self)
    cpdef end(self)
    cpdef answered(self)


cdef class _Unanswered:
    cdef Request _request
