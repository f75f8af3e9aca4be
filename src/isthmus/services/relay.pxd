# The C types of relay.py, for Cython; relay.py itself is ordinary Python and runs without them.
cimport cython

from isthmus cimport layer
from isthmus.layer cimport Layer


cdef class Relay

cdef Relay _OVER


cdef class Half(Layer):
    cdef public Relay relay
    cdef public Half other
    cdef public object transport
    cdef public object first_event
    cdef public object held
    cdef public Py_ssize_t received
    cdef public bint ended
    cdef public bint blocked
    cdef public bint lost

    cpdef connection_made(self, transport)
    cpdef data_received(self, data)
    cpdef eof_received(self)
    @cython.locals(relay=Relay)
    cpdef connection_lost(self, error)
    cpdef pause_writing(self)
    cpdef resume_writing(self)
    cpdef flush(self)
    cpdef leave(self)
    cpdef _hold(self)
    cpdef _tell_first_event(self)


cdef class Relay:
    cdef public Py_ssize_t pending_limit
    cdef public bint joined
    cdef public bint closing
    cdef public bint over
    cdef public object error
    cdef public Half accepted
    cdef public Half connected

    cpdef first_made(self, Half half)
    cpdef finished(self)
    cpdef half_made(self, Half half)
    cpdef _resume(self, Half half)
    cpdef half_ended(self, Half half)
    cpdef half_lost(self, Half half, error)
    cpdef close(self)
    cpdef abort(self)
    cpdef finish_if_over(self)


cdef _read_for(source, target)
