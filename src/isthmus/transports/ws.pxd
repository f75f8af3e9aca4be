# The C types of ws.py, for Cython; ws.py itself is ordinary Python and runs without them.

cimport cython

from isthmus cimport layer
from isthmus.websocket.connection cimport Connection, Handler

cdef int _LOOKS, _NOT_READING


cdef class WebSocketTransport(Handler):
    cdef object _below
    cdef object _role
    cdef object _receiver
    cdef object _timer
    cdef Connection _connection
    cdef double _close_timeout
    cdef double _inactivity_timeout
    cdef object _inactivity_timer
    cdef object _keep_alive
    cdef int _heard
    cdef int _silent
    cdef Py_ssize_t _progress
    cdef Py_ssize_t _queued
    cdef bint _closing
    cdef bint _eof_sent
    cdef bint _peer_closed
    cdef bint _answered
    cdef bint _below_ended
    cdef list _messages
    cdef object _part
    cdef Py_ssize_t _maximum_message

    cpdef data_received(self, data)
    cpdef message_data(self, data, bint final)

    @cython.locals(buffers=list)
    cpdef write(self, data)

    @cython.locals(part=bytearray)
    cdef _gather(self, data, bint final)

    @cython.locals(messages=list)
    cdef _tell_messages(self)

    @cython.locals(taken=Py_ssize_t, size=Py_ssize_t, buffers=list)
    cpdef Py_ssize_t write_messages(self, list messages) except -1
