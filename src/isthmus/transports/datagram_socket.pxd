# The C types of datagram_socket.py, for Cython; datagram_socket.py itself is ordinary Python and runs without them.
cimport cython

from isthmus.transports.datagrams cimport DatagramCounters


cdef class PlainDatagramSocket:
    cdef object _socket

    cpdef close(self)
    cpdef list receive(self)
    cpdef dict receive_from(self)
    cpdef Py_ssize_t send(self, list datagrams, Py_ssize_t start, bytes peer=*) except -1

    @cython.locals(start=Py_ssize_t, total=Py_ssize_t, told=bint)
    cpdef send_all(self, list datagrams, DatagramCounters counters, bytes peer=*)
