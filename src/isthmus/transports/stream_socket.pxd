# The C types of stream_socket.py, for Cython; stream_socket.py itself is ordinary Python and runs without them.

cdef class PlainStreamSocket:
    cdef object _socket
    cdef object _quota

    cpdef int fileno(self) except? -1
    cpdef take(self, bint keep)
    cpdef receive_bytes(self, Py_ssize_t maximum)
    cpdef Py_ssize_t send(self, data) except -1
    cpdef Py_ssize_t send_parts(self, parts) except -1
    cpdef shut_down(self)
    cpdef int connect(self, target) except -1
    cpdef bint is_connected(self) except -1
    cpdef int error(self) except -1
    cpdef reset_on_close(self)
    cpdef name(self, bint peer)
    cpdef str peer_name(self)
    cpdef close(self)
