"""The inline C twin of `octets.py`: the contracts are written there.

A module that has `from isthmus.websocket import octets` in its `.py` has this in its `.pxd`:
`from isthmus.websocket cimport _octets as octets`.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize


cdef extern from *:
    """
    #if defined(__GNUC__)
    #define ISTHMUS_APART __attribute__((noinline, cold))
    #else
    #define ISTHMUS_APART
    #endif

    /* What lies in a memoryview is in the headers of CPython: no call is needed to reach it. */
    #define ISTHMUS_VIEW(data) (((PyMemoryViewObject *) (data))->view)
    #define ISTHMUS_VIEW_READONLY(data) (ISTHMUS_VIEW(data).readonly)
    #define ISTHMUS_VIEW_FLAGS(data) (((PyMemoryViewObject *) (data))->flags)

    /* For all that isthmus_start_of does not see at once: `bytes`, views of another form, and what is wrong. */
    CYTHON_UNUSED static ISTHMUS_APART unsigned char *isthmus_find_start_of(
            PyObject *data, Py_ssize_t position, Py_ssize_t size) {
        unsigned char *start;
        Py_ssize_t end;
        if (PyMemoryView_Check(data)) {
            if (ISTHMUS_VIEW_FLAGS(data) & _Py_MEMORYVIEW_RELEASED) {
                PyErr_SetString(PyExc_ValueError, "the buffer was released");
                return NULL;
            }
            if (ISTHMUS_VIEW(data).ndim != 1 || ISTHMUS_VIEW(data).itemsize != 1 ||
                    ISTHMUS_VIEW(data).suboffsets != NULL ||
                    (ISTHMUS_VIEW(data).strides != NULL && ISTHMUS_VIEW(data).strides[0] != 1)) {
                PyErr_SetString(PyExc_ValueError, "the buffer is not one of bytes, one behind the other");
                return NULL;
            }
            start = (unsigned char *) ISTHMUS_VIEW(data).buf;
            end = ISTHMUS_VIEW(data).len;
        } else if (PyBytes_Check(data)) {
            start = (unsigned char *) PyBytes_AS_STRING(data);
            end = PyBytes_GET_SIZE(data);
        } else {
            PyErr_SetString(PyExc_TypeError, "neither bytes nor a memoryview");
            return NULL;
        }
        if (position < 0 || size < 0 || position > end - size) {
            PyErr_SetString(PyExc_IndexError, "outside of the buffer");
            return NULL;
        }
        return start + position;
    }

    /* So small that it stands wherever a number is read: that is done for each frame, of a view of bytes. */
    CYTHON_UNUSED static inline unsigned char *isthmus_start_of(
            PyObject *data, Py_ssize_t position, Py_ssize_t size) {
        if (PyMemoryView_Check(data) &&
                (ISTHMUS_VIEW_FLAGS(data) & (_Py_MEMORYVIEW_RELEASED | _Py_MEMORYVIEW_C)) == _Py_MEMORYVIEW_C &&
                ISTHMUS_VIEW(data).ndim == 1 && ISTHMUS_VIEW(data).itemsize == 1 &&
                position >= 0 && size >= 0 && position <= ISTHMUS_VIEW(data).len - size)
            return (unsigned char *) ISTHMUS_VIEW(data).buf + position;
        return isthmus_find_start_of(data, position, size);
    }
    """
    # Where `size` bytes from `position` on lie; valid as long as `data` is there and not released.
    unsigned char *start_of "isthmus_start_of"(object data, Py_ssize_t position, Py_ssize_t size) except NULL
    bint is_readonly "ISTHMUS_VIEW_READONLY"(memoryview view)


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
