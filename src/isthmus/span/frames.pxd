# C types for frames.py, read by Cython only.
from isthmus.websocket cimport _buffers as buffers

cdef bytearray _space
cdef unsigned long long _DATA, _ACK

cpdef bytes header(unsigned long long kind, unsigned int stream, unsigned long long length)
cpdef bytes data_header(unsigned int stream, unsigned long long offset, unsigned long long length)
cpdef put_data_header(bytearray buffer, Py_ssize_t position, unsigned int stream, unsigned long long offset, unsigned long long length)
cpdef bytes ack(unsigned int stream, unsigned long long received, unsigned long long limit)
cpdef bytes frame(unsigned long long kind, unsigned int stream=*, bytes payload=*)
