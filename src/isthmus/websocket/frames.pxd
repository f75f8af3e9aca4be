# C types for frames.py, read by Cython only.
cimport cython

from isthmus.layer cimport Layer
from isthmus.websocket cimport _buffers as buffers
from isthmus.websocket cimport _octets as octets
from isthmus.websocket._mask cimport apply_mask

cdef object Utf8Validator

cdef int _CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG, _WHOLE
cdef Py_ssize_t _MAXIMUM_HEADER
cdef int _MAXIMUM_CONTROL
cdef bytearray _space

@cython.locals(mask_bit=int, size=Py_ssize_t)
cpdef bytes header(int opcode, unsigned long long length, bint fin=*, bytes mask_key=*)


cdef class MessageSink(Layer):
    cpdef message_data(self, data, bint final)
    cpdef message_part(self, data, Py_ssize_t start, Py_ssize_t size, bint final)


@cython.final
cdef class FrameReader:
    cdef MessageSink _messages
    cdef object _controls
    cdef bint _expect_mask
    cdef bint _stopped
    cdef bint _in_frame
    cdef bint _in_message
    cdef bint _fin
    cdef readonly bint text
    cdef int _opcode
    cdef int _phase
    cdef long long _maximum
    cdef long long _message_size
    cdef long long _left
    cdef bytes _head
    cdef bytes _key
    cdef bytes _control
    cdef object _utf8

    cpdef stop(self)

    @cython.locals(end=Py_ssize_t, position=Py_ssize_t, size=Py_ssize_t, kept=Py_ssize_t, more=bytes)
    cpdef receive(self, data)

    @cython.locals(first=int, second=int, opcode=int, control=bint, size=int, length="long long")
    cdef int _begin(self, data, Py_ssize_t start, Py_ssize_t available) except -1

    @cython.locals(opcode=int)
    cdef _check(self, int first, int second)

    @cython.locals(ended=bint, final=bint, payload=bytes)
    cdef _take(self, data, Py_ssize_t start, Py_ssize_t size)

    @cython.locals(good=Py_ssize_t)
    cdef _check_text(self, piece, Py_ssize_t size, bint final)

    cdef _control_received(self, bytes payload)

    cdef _wrong(self, reason)
