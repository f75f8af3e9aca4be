# The C types of stream.py, for Cython; stream.py itself is ordinary Python and runs without them.
cimport cython

from isthmus cimport layer
from isthmus.layer cimport Layer
from isthmus.span.session cimport Session
from isthmus.span.stream cimport Stream


cdef class SpanStream(Layer):
    cdef object _driver
    cdef Session _session
    cdef Stream _stream
    cdef object _receiver
    cdef object _held
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
    cpdef write(self, data)
    cpdef write_eof(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef _lose(self, error)
