# C types for connection.py, read by Cython only.
cimport cython

from isthmus.websocket cimport _buffers as buffers
from isthmus.websocket._mask cimport masked_start
from isthmus.websocket.frames cimport FrameReader, MessageSink, header

cdef object apply_mask, masked, masked_parts

cdef int _BINARY, _PONG, _MAXIMUM_CONTROL
cdef Py_ssize_t _GATHER_BELOW


cdef class MaskKeys:
    cdef bytearray _pool
    cdef Py_ssize_t _next

    cpdef discard(self)

    @cython.locals(start=Py_ssize_t)
    cpdef bytes take(self)


cdef MaskKeys _keys


cdef class Handler(MessageSink):
    pass


cdef class Connection:
    cdef bint _client
    cdef bint _control_paused
    cdef readonly bint may_send
    cdef Handler _handler
    cdef readonly FrameReader reader
    cdef Py_ssize_t _maximum_frame_size
    cdef bytes _pong
    cdef object _state

    cpdef receive(self, data)

    @cython.locals(size=Py_ssize_t, limit=Py_ssize_t, start=Py_ssize_t, buffers=list)
    cpdef list send_data(self, data)

    @cython.locals(size=Py_ssize_t, start=bytes)
    cpdef list send_message(self, list parts, bytes key=*)

    cpdef bytes send_gathered(self, bytearray buffer, Py_ssize_t size, bytes key=*)

    @cython.locals(key=bytes, start=bytes)
    cdef _add_frame(self, list buffers, int opcode, data, Py_ssize_t size)

    @cython.locals(key=bytes)
    cdef bytes _control_frame(self, int opcode, bytes payload)

    cdef _move(self, event)
