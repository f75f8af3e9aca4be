# C types for message.py, read by Cython only.
cimport cython

cdef Py_ssize_t _GATHER_BELOW


@cython.final
cdef class Message:
    cdef list _buffers
    cdef list _small
    cdef readonly Py_ssize_t room
    cdef readonly Py_ssize_t size

    @cython.locals(size=Py_ssize_t)
    cpdef bint add(self, bytes frame)

    @cython.locals(small=list)
    cpdef add_data(self, bytes header, list payload, Py_ssize_t size)

    cpdef list buffers(self)
