# The C types of tcp.py, for Cython; tcp.py itself is ordinary Python and runs without them.
cimport cython

from isthmus cimport layer
from isthmus.layer cimport Layer
from isthmus.transports.poller cimport BasePoller, poller_of
from isthmus.transports.stream_socket cimport PlainStreamSocket

cdef int ERROR, HANG_UP, READ, WRITE, _NOT_WATCHED, _LARGE


cdef class TcpTransport(Layer):
    cdef PlainStreamSocket _socket
    cdef BasePoller _poller
    cdef object _receiver
    cdef object _backlog
    cdef object _linger
    cdef object _error
    cdef int _descriptor
    cdef int _wanted
    cdef int _room
    cdef Py_ssize_t _unsent
    cdef Py_ssize_t _high
    # As small as they can be: there is one of these for each side of each connection.
    cdef unsigned char _paused
    cdef unsigned char _pause_told
    cdef unsigned char _eof_received
    cdef unsigned char _eof_sent
    cdef unsigned char _closing
    cdef unsigned char _lost
    cdef unsigned char _keeping

    cpdef start(self, receiver)
    cpdef ready(self, int events)
    cpdef round_over(self)
    cpdef _watch(self)
    cpdef pause_reading(self)
    cpdef resume_reading(self)
    cpdef read_for_keeping(self, bint keep)
    @cython.locals(count=Py_ssize_t)
    cpdef _read_ready(self)
    @cython.locals(size=Py_ssize_t, sent=Py_ssize_t)
    cpdef write(self, data)
    cpdef writelines(self, parts)
    cpdef _keep(self, data)
    cpdef write_eof(self)
    cpdef set_write_limit(self, Py_ssize_t high)
    cpdef close(self)
    cpdef abort(self)
    cpdef _write_ready(self)
    cpdef _shutdown(self)
    cpdef _finish(self)
    cpdef _lose(self, error)
