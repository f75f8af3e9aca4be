# cython: language_level=3
"""The compiled twin of `stream_socket.py`, which imports it: the contracts are written there."""

import socket as sockets

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_CheckExact, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN, ECONNABORTED, EINTR, errno
from libc.stdint cimport uint16_t, uint32_t
from libc.string cimport memset, strlen
from posix.unistd cimport close as close_descriptor

from isthmus.transports.stream_socket cimport PlainStreamSocket

from isthmus.transports.base import peer_name
from isthmus.transports.stream_socket import UNSENT_IN_KERNEL, shared

cdef extern from "Python.h":
    PyObject *new_bytes "PyBytes_FromStringAndSize" (const char *start, Py_ssize_t size) except NULL
    char *start_of "PyBytes_AS_STRING" (PyObject *data)
    int _PyBytes_Resize(PyObject **data, Py_ssize_t size) except -1
    void release "Py_DECREF" (PyObject *data)
    str PyUnicode_DecodeASCII(const char *start, Py_ssize_t size, const char *errors)

cdef extern from "<sys/socket.h>" nogil:
    ctypedef unsigned int socklen_t
    struct sockaddr:
        pass
    struct sockaddr_storage:
        pass
    struct msghdr:
        iovec *msg_iov
        size_t msg_iovlen
    struct linger:
        int l_onoff
        int l_linger
    int SOCK_STREAM, SOCK_NONBLOCK, SOCK_CLOEXEC, AF_INET, AF_INET6, SHUT_WR
    int SOL_SOCKET, SO_ERROR, SO_KEEPALIVE, SO_LINGER, MSG_NOSIGNAL
    int socket(int family, int kind, int protocol)
    int accept4(int descriptor, sockaddr *address, socklen_t *size, int flags)
    int connect(int descriptor, const sockaddr *address, socklen_t size)
    int getpeername(int descriptor, sockaddr *address, socklen_t *size)
    int getsockname(int descriptor, sockaddr *address, socklen_t *size)
    int getsockopt(int descriptor, int level, int name, void *value, socklen_t *size)
    int setsockopt(int descriptor, int level, int name, const void *value, socklen_t size)
    int shutdown(int descriptor, int how)
    ssize_t recv(int descriptor, void *buffer, size_t size, int flags)
    ssize_t send(int descriptor, const void *buffer, size_t size, int flags)
    ssize_t sendmsg(int descriptor, const msghdr *message, int flags)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len

cdef extern from "<netinet/in.h>" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        int sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        int sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    int IPPROTO_TCP
    uint16_t htons(uint16_t number)
    uint16_t ntohs(uint16_t number)
    uint32_t ntohl(uint32_t number)

cdef extern from "<netinet/tcp.h>" nogil:
    int TCP_NODELAY, TCP_NOTSENT_LOWAT

cdef extern from "<arpa/inet.h>" nogil:
    int inet_pton(int family, const char *text, void *address)
    const char *inet_ntop(int family, const void *address, char *text, socklen_t size)

cdef extern from "<sys/ioctl.h>" nogil:
    int ioctl(int descriptor, unsigned long request, ...)

cdef extern from "<linux/sockios.h>" nogil:
    int SIOCOUTQ

cdef enum:
    PARTS = 256
    HOST = 64
    SMALL = 2 * 1024

MAXIMUM_PARTS = PARTS
cdef int UNSENT = UNSENT_IN_KERNEL

cdef Py_buffer shared_buffer  # never released: the memory stays where it is
PyObject_GetBuffer(shared, &shared_buffer, PyBUF_WRITABLE)
# The views of little, as most reads are, made once each: to make one costs more than to read.
cdef list small_views = [None] * (SMALL + 1)


cdef union internet_address:
    sockaddr_in v4
    sockaddr_in6 v6


cdef class StreamSocket(PlainStreamSocket):
    cdef int _descriptor
    cdef int _family
    cdef sockaddr_in _from  # whom it was accepted from, if that has an IPv4 address

    def __cinit__(self):
        self._descriptor = -1

    def __init__(self, sock):
        self._descriptor = sock.fileno()
        self._family = sock.family
        self._socket = sock

    def __del__(self):
        if self._socket is None:
            self.close()

    cpdef int fileno(self) except? -1:
        return self._descriptor

    @property
    def family(self):
        return self._family

    @cython.boundscheck(False)
    @cython.wraparound(False)
    cpdef take(self, bint keep):
        cdef char *start = <char *> shared_buffer.buf
        cdef ssize_t count = recv(self._descriptor, start, shared_buffer.len, 0)
        if count < 0:
            _nothing_now()
            return None
        if keep:
            return start[:count]
        if count > SMALL:
            return shared[:count]
        view = small_views[count]
        if view is None:
            small_views[count] = view = shared[:count]
        return view

    cpdef receive_bytes(self, Py_ssize_t maximum):
        cdef PyObject *data = new_bytes(NULL, maximum)
        cdef ssize_t count = recv(self._descriptor, start_of(data), maximum, 0)
        if count < 0:
            release(data)
            _nothing_now()
            return None
        if count < maximum:
            _PyBytes_Resize(&data, count)
        received = <object> data
        release(data)
        return received

    cpdef Py_ssize_t send(self, data) except -1:
        cdef Py_buffer view
        cdef ssize_t count
        if PyBytes_CheckExact(data):
            count = send(self._descriptor, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_NOSIGNAL)
            return count if count >= 0 else _nothing_now()
        if PyByteArray_CheckExact(data):
            count = send(
                self._descriptor, PyByteArray_AS_STRING(data), PyByteArray_GET_SIZE(data), MSG_NOSIGNAL
            )
            return count if count >= 0 else _nothing_now()
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        count = send(self._descriptor, view.buf, view.len, MSG_NOSIGNAL)
        PyBuffer_Release(&view)
        return count if count >= 0 else _nothing_now()

    cpdef Py_ssize_t send_parts(self, parts) except -1:
        cdef Py_buffer[PARTS] views
        cdef iovec[PARTS] vectors
        cdef msghdr message
        cdef ssize_t count
        cdef Py_ssize_t place, held = 0
        if len(parts) > PARTS:
            raise ValueError("too many parts")
        try:
            for part in parts:
                PyObject_GetBuffer(part, &views[held], PyBUF_SIMPLE)
                vectors[held].iov_base = views[held].buf
                vectors[held].iov_len = views[held].len
                held += 1
            memset(&message, 0, sizeof(message))
            message.msg_iov = vectors
            message.msg_iovlen = held
            count = sendmsg(self._descriptor, &message, MSG_NOSIGNAL)
            return count if count >= 0 else _nothing_now()
        finally:
            for place in range(held):
                PyBuffer_Release(&views[place])

    cpdef shut_down(self):
        if shutdown(self._descriptor, SHUT_WR) < 0:
            PyErr_SetFromErrno(OSError)

    cpdef int connect(self, target) except -1:
        cdef internet_address address
        cdef socklen_t size
        cdef int outcome = 0
        cdef bytes host
        memset(&address, 0, sizeof(address))
        if self._family == AF_INET or self._family == AF_INET6:
            host = target[0].encode()
            if self._family == AF_INET:
                address.v4.sin_family = AF_INET
                address.v4.sin_port = htons(target[1])
                size = sizeof(sockaddr_in)
                outcome = inet_pton(AF_INET, host, &address.v4.sin_addr)
            else:
                address.v6.sin6_family = AF_INET6
                address.v6.sin6_port = htons(target[1])
                size = sizeof(sockaddr_in6)
                outcome = inet_pton(AF_INET6, host, &address.v6.sin6_addr)
        if outcome != 1:  # a path, or an address with a scope
            return self.object().connect_ex(target)
        if connect(self._descriptor, <sockaddr *> &address, size) == 0:
            return 0
        return errno

    cpdef bint is_connected(self) except -1:
        cdef sockaddr_storage address
        cdef socklen_t size = sizeof(address)
        return getpeername(self._descriptor, <sockaddr *> &address, &size) == 0

    cpdef int error(self) except -1:
        cdef int number = 0
        cdef socklen_t size = sizeof(number)
        if getsockopt(self._descriptor, SOL_SOCKET, SO_ERROR, &number, &size) < 0:
            return errno
        return number

    def in_flight(self):
        cdef int size = 0
        if self._descriptor < 0 or ioctl(self._descriptor, SIOCOUTQ, &size) < 0:
            return 0
        return size

    cpdef reset_on_close(self):
        cdef linger value
        value.l_onoff = 1
        value.l_linger = 0
        if setsockopt(self._descriptor, SOL_SOCKET, SO_LINGER, &value, sizeof(value)) < 0:
            PyErr_SetFromErrno(OSError)

    def object(self):
        if self._socket is None and self._descriptor >= 0:
            self._socket = sockets.socket(self._family, SOCK_STREAM, 0, self._descriptor)
            self._socket.setblocking(False)
        return self._socket

    cdef int _address(self, bint peer, internet_address *address, char *host) except -1:
        """Write an address and its host as text; return whether it is one that needs no more to be told."""
        cdef socklen_t size = sizeof(address[0])
        cdef int outcome
        if self._family != AF_INET and self._family != AF_INET6:
            return False
        if peer and self._from.sin_family == AF_INET:
            address.v4 = self._from
            outcome = 0
        elif peer:
            outcome = getpeername(self._descriptor, <sockaddr *> address, &size)
        else:
            outcome = getsockname(self._descriptor, <sockaddr *> address, &size)
        if outcome < 0:
            PyErr_SetFromErrno(OSError)
        if self._family == AF_INET:
            _write_ipv4(<unsigned char *> &address.v4.sin_addr, host)
            return True
        # The name of a scope is for Python to find out.
        return address.v6.sin6_scope_id == 0 and inet_ntop(AF_INET6, &address.v6.sin6_addr, host, HOST) != NULL

    cpdef str peer_name(self):
        cdef internet_address address
        cdef char[HOST + 8] name
        cdef int size, port
        cdef bint bracketed = self._family == AF_INET6
        if not self._address(True, &address, name + 1):
            return peer_name(self.name(True))
        port = ntohs(address.v6.sin6_port if bracketed else address.v4.sin_port)
        size = 1 + <int> strlen(name + 1)
        if port == 0:
            return PyUnicode_DecodeASCII(name + 1, size - 1, NULL)
        if bracketed:
            name[0] = b"["
            name[size] = b"]"
            size += 1
        name[size] = b":"
        size += 1
        size += _write_number(port, name + size)
        return PyUnicode_DecodeASCII(name + (not bracketed), size - (not bracketed), NULL)

    cpdef name(self, bint peer):
        cdef internet_address address
        cdef char[HOST] host
        if self._address(peer, &address, host):
            text = PyUnicode_DecodeASCII(host, strlen(host), NULL)
            if self._family == AF_INET:
                return text, ntohs(address.v4.sin_port)
            return text, ntohs(address.v6.sin6_port), ntohl(address.v6.sin6_flowinfo), 0
        borrowed = self._socket
        if borrowed is not None:
            return borrowed.getpeername() if peer else borrowed.getsockname()
        borrowed = sockets.socket(self._family, SOCK_STREAM, 0, self._descriptor)
        try:
            return borrowed.getpeername() if peer else borrowed.getsockname()
        finally:
            borrowed.detach()

    def detach(self):
        from isthmus.transports.stream_socket import CountedSocket

        cdef int descriptor = self._descriptor
        quota, held = self._quota, self._socket
        self._descriptor = -1
        self._quota = self._socket = None
        if held is not None:
            held.detach()
        made = CountedSocket(self._family, SOCK_STREAM, 0, descriptor)
        made.quota = quota
        made.setblocking(False)
        return made

    cdef int _switch_on(self, int level, int name) except -1:
        cdef int on = 1
        if setsockopt(self._descriptor, level, name, &on, sizeof(on)) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    cpdef close(self):
        cdef int descriptor = self._descriptor
        quota, held = self._quota, self._socket
        if descriptor < 0:
            return
        self._descriptor = -1
        self._from.sin_family = 0
        self._quota = self._socket = None
        if held is not None:
            held.close()
        else:
            close_descriptor(descriptor)
        if quota is not None:
            quota.release()


def open_stream(int family):
    cdef StreamSocket made = StreamSocket.__new__(StreamSocket)
    made._family = family
    made._descriptor = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if made._descriptor < 0:
        PyErr_SetFromErrno(OSError)
    if family == AF_INET or family == AF_INET6:
        made._switch_on(IPPROTO_TCP, TCP_NODELAY)
        made._switch_on(SOL_SOCKET, SO_KEEPALIVE)
        # As `keep_queue_short`: a kernel that refuses it does without.
        setsockopt(made._descriptor, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &UNSENT, sizeof(UNSENT))
    return made


def accept(listening, int family, quota):
    cdef StreamSocket made
    cdef internet_address address
    cdef socklen_t size = sizeof(address)
    cdef int descriptor
    memset(&address, 0, sizeof(address))
    descriptor = accept4(listening.fileno(), <sockaddr *> &address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC)
    if descriptor < 0:
        if errno == EAGAIN or errno == EINTR or errno == ECONNABORTED:
            return None
        PyErr_SetFromErrno(OSError)
    made = StreamSocket.__new__(StreamSocket)
    made._descriptor = descriptor
    made._family = family
    made._quota = quota
    if family == AF_INET:
        made._from = address.v4
    return made


cdef int _write_number(int number, char *out) noexcept:
    """Write a number below 100,000 in decimal; return how many digits it has."""
    cdef int digits = 1 + (number > 9) + (number > 99) + (number > 999) + (number > 9999)
    cdef int place = digits
    while place:
        place -= 1
        out[place] = <char> (48 + <unsigned int> number % 10)
        number = <unsigned int> number // 10
    return digits


cdef void _write_ipv4(const unsigned char *address, char *out) noexcept:
    """Write an address and a zero: what inet_ntop does, by way of printf."""
    cdef int place
    for place in range(4):
        out += _write_number(address[place], out)
        out[0] = 46 if place < 3 else 0
        out += 1


cdef int _nothing_now() except -1:
    """Return 0 if a call has only to wait; raise what else went wrong."""
    if errno == EAGAIN or errno == EINTR:
        return 0
    PyErr_SetFromErrno(OSError)
