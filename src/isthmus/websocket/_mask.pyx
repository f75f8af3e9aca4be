# cython: language_level=3
"""The compiled twin of `mask.py`: the contracts are written there."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from isthmus.websocket cimport _octets as octets


cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    /* For the widest registers of the processor it runs on, where the compiler can choose at run time. */
    #if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
    #define FOR_EACH_PROCESSOR __attribute__((target_clones("avx2", "default")))
    #else
    #define FOR_EACH_PROCESSOR
    #endif

    FOR_EACH_PROCESSOR
    static void xor_words(uint8_t *out, const uint8_t *data, size_t words, uint64_t mask) {
        for (size_t i = 0; i < words; i++) {
            uint64_t word;  /* through memcpy, because nothing here is aligned */
            memcpy(&word, data + 8 * i, 8);
            word ^= mask;
            memcpy(out + 8 * i, &word, 8);
        }
    }
    """
    void xor_words(uint8_t *out, const uint8_t *data, size_t words, uint64_t mask) noexcept nogil


cdef void xor(uint8_t *out, const uint8_t *data, Py_ssize_t size, const uint8_t *key, int phase) noexcept nogil:
    # `out` may be `data` itself.
    cdef uint8_t[8] turned
    cdef uint64_t mask
    cdef Py_ssize_t i
    if key[0] == 0 and key[1] == 0 and key[2] == 0 and key[3] == 0:
        if out != data:
            memcpy(out, data, size)
        return
    for i in range(8):
        turned[i] = key[(i + phase) & 3]
    memcpy(&mask, turned, 8)
    xor_words(out, data, size >> 3, mask)
    for i in range(size & ~7, size):
        out[i] = data[i] ^ turned[i & 7]


cpdef apply_mask(buffer, bytes key, int phase=0, Py_ssize_t start=0, Py_ssize_t size=-1):
    cdef Py_buffer view
    cdef uint8_t *part
    if key is None or len(key) != 4 or phase < 0 or phase > 3:
        raise ValueError("a mask key has 4 bytes and a phase of 0 to 3")
    if type(buffer) is memoryview:
        if octets.is_readonly(<memoryview> buffer):
            raise TypeError("cannot mask a read-only buffer in place")
        if size >= 0:  # what a reader does with each frame
            part = octets.start_of(buffer, start, size)
            xor(part, part, size, <const uint8_t *> PyBytes_AS_STRING(key), phase)
            return
    PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)
    try:
        if size < 0:
            size = view.len - start
        if start < 0 or size < 0 or start > view.len - size:
            raise IndexError("outside of the buffer")
        part = <uint8_t *> view.buf + start
        xor(part, part, size, <const uint8_t *> PyBytes_AS_STRING(key), phase)
    finally:
        PyBuffer_Release(&view)


def masked(bytes header not None, data, bytes key not None):
    cdef Py_buffer view
    cdef Py_ssize_t start = len(header)
    cdef bytes frame
    cdef uint8_t *out
    if len(key) != 4:
        raise ValueError("a mask key has 4 bytes")
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        frame = PyBytes_FromStringAndSize(NULL, start + view.len)
        out = <uint8_t *> PyBytes_AS_STRING(frame)
        memcpy(out, PyBytes_AS_STRING(header), start)
        xor(out + start, <const uint8_t *> view.buf, view.len, <const uint8_t *> PyBytes_AS_STRING(key), 0)
    finally:
        PyBuffer_Release(&view)
    return frame


def masked_parts(bytes header not None, parts, bytes key not None):
    cdef Py_buffer view
    cdef Py_ssize_t start = len(header), total = start, position = start
    cdef bytes frame
    cdef uint8_t *out
    if len(key) != 4:
        raise ValueError("a mask key has 4 bytes")
    for part in parts:
        total += len(part)
    frame = PyBytes_FromStringAndSize(NULL, total)
    out = <uint8_t *> PyBytes_AS_STRING(frame)
    memcpy(out, PyBytes_AS_STRING(header), start)
    for part in parts:
        PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
        if view.len > total - position:  # not a buffer of bytes, so that its length said something else
            PyBuffer_Release(&view)
            raise ValueError("a part is larger than its length says")
        xor(out + position, <const uint8_t *> view.buf, view.len,
            <const uint8_t *> PyBytes_AS_STRING(key), (position - start) & 3)
        position += view.len
        PyBuffer_Release(&view)
    return frame


cpdef bytes masked_start(bytes header, bytearray data, Py_ssize_t size, bytes key):
    cdef Py_ssize_t start
    cdef bytes frame
    cdef uint8_t *out
    if header is None or key is None or len(key) != 4:
        raise ValueError("a mask key has 4 bytes")
    if data is None or size < 0 or size > PyByteArray_GET_SIZE(data):
        raise ValueError("there are not so many bytes")
    start = len(header)
    frame = PyBytes_FromStringAndSize(NULL, start + size)
    out = <uint8_t *> PyBytes_AS_STRING(frame)
    memcpy(out, PyBytes_AS_STRING(header), start)
    xor(out + start, <const uint8_t *> PyByteArray_AS_STRING(data), size,
        <const uint8_t *> PyBytes_AS_STRING(key), 0)
    return frame
