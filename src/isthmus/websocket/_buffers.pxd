"""The inline C twin of `buffers.py`: the contracts are written there.

A module that has `from isthmus.websocket import buffers` in its `.py` has this in its `.pxd`:
`from isthmus.websocket cimport _buffers as buffers`.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy


cdef inline char *place(bytearray buffer, Py_ssize_t position, Py_ssize_t size) except NULL:
    """Return where `size` bytes from `position` on lie; valid as long as `buffer` keeps its size."""
    if buffer is None or position < 0 or size < 0 or position > PyByteArray_GET_SIZE(buffer) - size:
        raise IndexError("outside of the buffer")
    return PyByteArray_AS_STRING(buffer) + position


cdef inline int put(bytearray buffer, Py_ssize_t position, bytes data, Py_ssize_t start, Py_ssize_t size) except -1:
    cdef char *out = place(buffer, position, size)
    if data is None or start < 0 or start > PyBytes_GET_SIZE(data) - size:
        raise IndexError("outside of the data")
    memcpy(out, PyBytes_AS_STRING(data) + start, size)
    return 0


cdef inline int put_number(bytearray buffer, Py_ssize_t position, unsigned long long number) except -1:
    cdef char *out = place(buffer, position, 8)
    cdef int index
    for index in range(8):
        out[index] = <char> (number >> (56 - 8 * index))
    return 0


cdef inline bytes cut(bytearray buffer, Py_ssize_t position, Py_ssize_t size):
    return PyBytes_FromStringAndSize(place(buffer, position, size), size)
