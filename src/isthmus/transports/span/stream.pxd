# The C types of stream.py, for Cython; stream.py itself is ordinary Python and runs without them.
cimport cython

cdef class SpanStream

from isthmus cimport layer
from isthmus.layer cimport Layer
from isthmus.span.session cimport Session
from isthmus.span.stream cimport Stream
from isthmus.transports.span.session cimport SessionDriver


cdef class SpanStream(Layer):
    cdef SessionDriver _driver
    cdef Session _session
    cdef Stream _stream
    cdef object _receiver
    cdef list _held
    cdef public object incoming
    cdef public object request
    cdef bint _paused
    cdef bint _eof_waits
    cdef bint _flush_asked
    cdef bint _pause_told
    cdef bint _closing
    cdef bint _whole
    cdef bint _lost

    cpdef begin(self, receiver)

    @cython.locals(size=Py_ssize_t)
    cpdef deliver(self, data)

    cpdef end_input(self)
    cpdef may_write(self)
    cpdef was_closed(self)
    cpdef write(self, data)
    cpdef write_eof(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef set_write_limit(self, Py_ssize_t high)
    cpdef close(self)
    cpdef accept(self, receiver)
    cpdef _linger(self)
    cpdef _ask_flush(self)
    @cython.locals(held=list, taken=Py_ssize_t)
    cpdef round_over(self)
    cpdef _lose(self, error)
