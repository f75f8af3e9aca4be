# C types for frames.py, read by Cython only.
cimport cython

from isthmus.websocket cimport _buffers as buffers
from isthmus.websocket cimport _octets as octets

cdef bytearray _space
cdef unsigned long long _OPEN, _OPENED, _DATA, _FIN, _RESET, _CLOSED, _ACK, _ORIGIN

cpdef bytes header(unsigned long long kind, unsigned int stream, unsigned long long length)
cpdef bytes data_header(unsigned int stream, unsigned long long offset, unsigned long long length)
cpdef int put_data_header(
    bytearray buffer, Py_ssize_t position, unsigned int stream, unsigned long long offset, unsigned long long length
) except -1
cpdef int put_ack(
    bytearray buffer, Py_ssize_t position, unsigned int stream, unsigned long long received, unsigned long long limit
) except -1
cpdef bytes ack(unsigned int stream, unsigned long long received, unsigned long long limit)
cdef bytes _with_number(unsigned long long kind, unsigned int stream, unsigned long long number)
cpdef bytes frame(unsigned long long kind, unsigned int stream=*, bytes payload=*)

@cython.locals(told=bytes, size="unsigned long long")
cpdef bytes open_stream(unsigned int stream, unsigned long long limit, str origin=*)

cpdef bytes opened(unsigned int stream, unsigned long long limit)
cpdef bytes fin(unsigned int stream, unsigned long long final)
cpdef bytes reset(unsigned int stream, int code, str text=*)
cpdef bytes closed(unsigned int stream)

@cython.locals(encoded=bytes)
cdef bytes _cut(str text, Py_ssize_t maximum=*)

@cython.locals(limit="unsigned long long", size=Py_ssize_t)
cpdef tuple parse_open(bytes payload)

cdef str _text(bytes data)
