# The C types of datagram_socket.py, for Cython; datagram_socket.py itself is ordinary Python and runs without them.
cimport cython


@cython.locals(start=Py_ssize_t, total=Py_ssize_t, told=bint)
cpdef send_all(sock, list datagrams, counters, peer=*)
