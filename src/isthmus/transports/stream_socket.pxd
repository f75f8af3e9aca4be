# The C types of stream_socket.py, for Cython; stream_socket.py itself is ordinary Python and runs without them.

cdef class PlainStreamSocket:
    cdef object _socket
    cdef object _quota

    cpdef take(self, bint keep)
    cpdef receive_bytes(self, Py_ssize_t maximum)
    cpdef Py_ssize_t send(self, data) except -1
    cpdef Py_ssize_t send_parts(self, parts) except -1
