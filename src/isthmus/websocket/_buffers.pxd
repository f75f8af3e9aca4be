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


cdef extern from *:
    """
    #include <string.h>

    /* Of two numbers, byte by byte, GCC makes a hundred instructions for its vectors. */
    static inline void spread(char *out, unsigned long long number) {
    #if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        number = __builtin_bswap64(number);
        memcpy(out, &number, 8);
    #else
        for (int index = 0; index < 8; index++)
            out[index] = (char) (number >> (56 - 8 * index));
    #endif
    }
    """
    void spread(char *out, unsigned long long number) noexcept


cdef inline int put_number(bytearray buffer, Py_ssize_t position, unsigned long long number) except -1:
    spread(place(buffer, position, 8), number)
    return 0


cdef inline int put_numbers(
    bytearray buffer, Py_ssize_t position, unsigned long long first, unsigned long long second
) except -1:
    cdef char *out = place(buffer, position, 16)
    spread(out, first)
    spread(out + 8, second)
    return 0


cdef inline bytes cut(bytearray buffer, Py_ssize_t position, Py_ssize_t size):
    return PyBytes_FromStringAndSize(place(buffer, position, size), size)
