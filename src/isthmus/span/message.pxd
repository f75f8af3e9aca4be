# C types for message.py, read by Cython only.
cimport cython

from isthmus.websocket cimport _buffers as buffers
from isthmus.span cimport frames

cdef list _NONE
cdef Py_ssize_t _GATHER_BELOW, _GATHERED, _DATA_HEADER, _HEADER, _ACK


@cython.final
cdef class Message:
    cdef list _parts
    cdef readonly bytearray gathered
    cdef readonly Py_ssize_t used
    cdef readonly Py_ssize_t room
    cdef readonly Py_ssize_t size
    cdef public bint growing

    cpdef begin(self, Py_ssize_t room)

    @cython.locals(size=Py_ssize_t)
    cpdef bint add(self, bytes frame) except -1

    cpdef bint add_ack(self, unsigned int stream, unsigned long long received, unsigned long long limit) except -1
    cpdef int add_data_header(self, unsigned int stream, unsigned long long offset, Py_ssize_t size) except -1

    @cython.locals(whole=Py_ssize_t)
    cpdef int add_data(
        self, unsigned int stream, unsigned long long offset, bytes data, Py_ssize_t start, Py_ssize_t size
    ) except -1

    cpdef int add_frame(self, unsigned long long word, bytes payload) except -1
    cpdef int put(self, bytes data, Py_ssize_t start, Py_ssize_t size) except -1
    cdef int _spill(self) except -1
    cpdef bint is_gathered(self) noexcept
    cpdef list buffers(self)
