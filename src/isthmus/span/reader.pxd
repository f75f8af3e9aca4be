# C types for reader.py, read by Cython only.
cimport cython

from isthmus.websocket cimport _octets as octets

cdef int _DATA, _ACK, _DATAGRAM, _OPTIONAL, _HEADER, _DATA_HEADER, _MAXIMUM_HANDSHAKE
cdef int _FIRST_OF_STREAMS, _LAST_OF_STREAMS
cdef long long _SHORTEST_DATA
cdef unsigned long long _STREAM
cdef list SHORTEST, LONGEST


cdef class FrameSink:
    cpdef data_received(
        self, unsigned int stream, unsigned long long offset, data, Py_ssize_t start, Py_ssize_t size
    )
    cpdef ack_received(self, unsigned int stream, unsigned long long received, unsigned long long limit)
    cpdef datagram_received(self, unsigned int flow, bytes data)
    cpdef frame_received(self, int kind, unsigned int stream, bytes payload)


@cython.final
cdef class FrameReader:
    cdef FrameSink _sink
    cdef bytes _head
    cdef bytearray _gathered
    cdef unsigned long long _offset
    cdef long long _maximum
    cdef long long _size
    cdef long long _left
    cdef readonly long long skipped
    cdef unsigned int _stream
    cdef int _kind
    cdef bint _stopped
    cdef public bint handshaking

    cpdef stop(self)

    @cython.locals(end=Py_ssize_t, position=Py_ssize_t, kept=Py_ssize_t, offset="unsigned long long")
    cpdef receive(self, data, bint final, Py_ssize_t start=*, Py_ssize_t size=*)

    @cython.locals(word="unsigned long long", kind=int, length="long long", stream="unsigned int", size=int)
    cdef int _begin(self, data, Py_ssize_t start, Py_ssize_t available) except -1

    @cython.locals(shortest="long long", longest="long long")
    cdef _check(self, int kind, long long length, unsigned int stream)

    @cython.locals(kind=int)
    cdef _take(self, view, Py_ssize_t start, Py_ssize_t size)

    cdef _wrong(self, reason)
