"""The inline C twin of `octets.py`: the contracts are written there.

A module that has `from isthmus.websocket import octets` in its `.py` has this in its `.pxd`:
`from isthmus.websocket cimport _octets as octets`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_Check, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_Check


cdef extern from "Python.h":
    # What lies in a memoryview, in the headers of CPython: no call is needed to reach it.
    ctypedef struct PyMemoryViewObject:
        int flags
        Py_buffer view
    int _Py_MEMORYVIEW_RELEASED, _Py_MEMORYVIEW_C


cdef inline unsigned char *start_of(data, Py_ssize_t position, Py_ssize_t size) except NULL:
    """Return where `size` bytes from `position` on lie; valid as long as `data` is there and not released."""
    cdef PyMemoryViewObject *view
    if PyMemoryView_Check(data):  # so few checks that they stand wherever a number is read, if all is as usual
        view = <PyMemoryViewObject *> <void *> data
        if (
            view.flags & (_Py_MEMORYVIEW_RELEASED | _Py_MEMORYVIEW_C) == _Py_MEMORYVIEW_C
            and view.view.ndim == 1 and view.view.itemsize == 1
            and position >= 0 and size >= 0 and position <= view.view.len - size
        ):
            return <unsigned char *> view.view.buf + position
    return find_start_of(data, position, size)


cdef inline unsigned char *find_start_of(data, Py_ssize_t position, Py_ssize_t size) except NULL:
    """Do what `start_of` does, for all that it does not see at once."""
    cdef PyMemoryViewObject *view
    cdef unsigned char *start
    cdef Py_ssize_t end
    if PyMemoryView_Check(data):
        view = <PyMemoryViewObject *> <void *> data
        if view.flags & _Py_MEMORYVIEW_RELEASED:
            raise ValueError("the buffer was released")
        if view.view.ndim != 1 or view.view.itemsize != 1 or view.view.suboffsets != NULL or (
            view.view.strides != NULL and view.view.strides[0] != 1
        ):
            raise ValueError("the buffer is not one of bytes, one behind the other")
        start = <unsigned char *> view.view.buf
        end = view.view.len
    elif PyBytes_Check(data):
        start = <unsigned char *> PyBytes_AS_STRING(data)
        end = PyBytes_GET_SIZE(data)
    else:
        raise TypeError("neither bytes nor a memoryview")
    if position < 0 or size < 0 or position > end - size:
        raise IndexError("outside of the buffer")
    return start + position


cdef inline bint is_readonly(memoryview view):
    return (<PyMemoryViewObject *> <void *> view).view.readonly


cdef inline int octet(data, Py_ssize_t position) except -1:
    return start_of(data, position, 1)[0]


cdef inline unsigned long long uint64(data, Py_ssize_t position) except? 0xFFFFFFFFFFFFFFFF:
    cdef unsigned char *start = start_of(data, position, 8)
    return (
        <unsigned long long> start[0] << 56
        | <unsigned long long> start[1] << 48
        | <unsigned long long> start[2] << 40
        | <unsigned long long> start[3] << 32
        | <unsigned long long> start[4] << 24
        | <unsigned long long> start[5] << 16
        | <unsigned long long> start[6] << 8
        | <unsigned long long> start[7]
    )


cdef inline bytes copied(data, Py_ssize_t position, Py_ssize_t size):
    return PyBytes_FromStringAndSize(<char *> start_of(data, position, size), size)
